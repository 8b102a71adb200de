/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/base/quota.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"

static const char *const names[QUOTA_KINDS] = { "bytes", "blocks", "objects", "windows" };

const char *quota_kind_name(enum quota_kind kind)
{
	return names[kind];
}

/* ---- text ---- */

static int parse_most(enum quota_kind kind, const char *text, uint64_t *out)
{
	char *end;

	if (strcmp(text, "none") == 0 || strcmp(text, "default") == 0) {
		*out = *text == 'n' ? QUOTA_NONE : QUOTA_UNSAID;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	if (kind == QUOTA_BYTES) {
		if (units_parse_bytes(text, out))
			return -EINVAL;
	} else {
		*out = strtoull(text, &end, 10);
		if (*end || errno)
			return -EINVAL;
	}
	return *out == 0 || *out > INT64_MAX ? -EINVAL : 0;
}

/* "bytes=8G" */
static int parse_item(struct quota *quota, const char *item, struct errinfo *errinfo)
{
	const char *value = strchr(item, '=');

	for (unsigned kind = 0; kind < QUOTA_KINDS && value; kind++) {
		if (strlen(names[kind]) != (size_t)(value - item) ||
			memcmp(names[kind], item, (size_t)(value - item)) != 0)
			continue;
		if (parse_most((enum quota_kind)kind, value + 1, &quota->most[kind]) == 0)
			return 0;
		return errinfo_set(errinfo, -EINVAL, "quota %s: want a %s from 1, none or default",
			item, kind == QUOTA_BYTES ? "size such as 8G" : "number");
	}
	return errinfo_set(errinfo, -EINVAL,
		"quota \"%s\": want a list such as "
		"bytes=8G,blocks=100000,objects=1000000,windows=50000",
		item);
}

static int parse_quota(struct quota *quota, const char *text, struct errinfo *errinfo)
{
	struct quota parsed = *quota;
	char item[64];
	int err;

	for (const char *at = text;; at++) {
		const size_t len = strcspn(at, ",");

		snprintf(item, sizeof(item), "%.*s", (int)(len < sizeof(item) ? len : sizeof(item)),
			at);
		err = parse_item(&parsed, item, errinfo);
		if (err)
			return err;
		at += len;
		if (!*at)
			break;
	}
	*quota = parsed;
	return 0;
}

/* ---- rules ---- */

static const struct quota_named *find_named(const struct quota_rules *rules, const char *label)
{
	for (unsigned i = 0; i < rules->nnamed; i++)
		if (strcmp(rules->named[i].job, label) == 0)
			return &rules->named[i];
	return NULL;
}

static bool says_nothing(const struct quota *quota)
{
	for (unsigned kind = 0; kind < QUOTA_KINDS; kind++)
		if (quota->most[kind] != QUOTA_UNSAID)
			return false;
	return true;
}

/* A name of which nothing is said any more is forgotten. */
static int set_named(struct quota_rules *rules, const char *label, const struct quota *quota,
	struct errinfo *errinfo)
{
	const struct quota_named *known = find_named(rules, label);
	const unsigned i = known ? (unsigned)(known - rules->named) : rules->nnamed;

	if (says_nothing(quota)) {
		if (known)
			rules->named[i] = rules->named[--rules->nnamed];
		return 0;
	}
	if (i == QUOTA_NAMED_MAX)
		return errinfo_set(errinfo, -ENOSPC,
			"%d jobs have quotas of their own already: give one back with "
			"NAME:bytes=default,blocks=default,objects=default",
			QUOTA_NAMED_MAX);
	rules->nnamed += !known;
	snprintf(rules->named[i].job, QUOTA_JOB_SIZE, "%s", label);
	rules->named[i].quota = *quota;
	return 0;
}

int quota_set_session(struct quota_rules *rules, const char *text, struct errinfo *errinfo)
{
	return parse_quota(&rules->session, text, errinfo);
}

static bool is_label(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return len > 0 && len < QUOTA_JOB_SIZE;
}

/* A job's label may have colons, its limits have none. */
int quota_set_job(struct quota_rules *rules, const char *text, struct errinfo *errinfo)
{
	const char *colon = strrchr(text, ':');
	const size_t len = colon ? (size_t)(colon - text) : 0;
	const struct quota_named *known;
	struct quota quota = rules->job;
	char label[QUOTA_JOB_SIZE];
	int err;

	if (colon && !is_label(text, len))
		return errinfo_set(errinfo, -EINVAL,
			"quota: a job's name has 1 to %zu bytes, and no control characters",
			QUOTA_JOB_SIZE - 1);
	snprintf(label, sizeof(label), "%.*s", (int)len, text);
	if (colon) {
		known = find_named(rules, label);
		quota = known ? known->quota : (struct quota){ { 0 } };
	}
	err = parse_quota(&quota, colon ? colon + 1 : text, errinfo);
	if (err)
		return err;
	if (quota.most[QUOTA_WINDOWS] != QUOTA_UNSAID)
		return errinfo_set(errinfo, -EINVAL,
			"quota %s: windows are limited per session, not per job", text);
	if (colon)
		return set_named(rules, label, &quota, errinfo);
	rules->job = quota;
	return 0;
}

struct quota quota_of_job(const struct quota_rules *rules, const char *label)
{
	const struct quota_named *named = find_named(rules, label);
	struct quota quota = rules->job;

	for (unsigned kind = 0; named && kind < QUOTA_KINDS; kind++)
		if (named->quota.most[kind] != QUOTA_UNSAID)
			quota.most[kind] = named->quota.most[kind];
	return quota;
}
