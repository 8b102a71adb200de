/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/select.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/field.h"

/* ---- which ---- */

static bool begins(const char *text, const char *with)
{
	return strncasecmp(text, with, strlen(with)) == 0;
}

/* For all that has a job, a uid and a host: sessions and lines of history. */
static bool is_of(const json_t *who, const struct view *view, struct check *c)
{
	if (view->job && strcmp(field_text(c, who, "job"), view->job) != 0)
		return false;
	if (view->host && strcmp(field_text(c, who, "host"), view->host) != 0)
		return false;
	return !view->has_uid || field_uint(c, who, "uid") == view->uid;
}

static bool is_holder(const json_t *holder, const struct view *view, struct check *c)
{
	return (!view->session || begins(field_text(c, holder, "session"), view->session)) &&
	       is_of(holder, view, c);
}

/* Of those who hold a record, not all may be listed: then it may be anybody. */
static bool has_holder(const json_t *record, const struct view *view, struct check *c)
{
	const json_t *holders = field_list(c, record, "holders");
	json_t *holder;
	size_t i;

	if (!view->session && !view->job && !view->host && !view->has_uid)
		return true;
	json_array_foreach(holders, i, holder)
	{
		if (is_holder(holder, view, c))
			return true;
	}
	return field_uint(c, record, "holders_total") > i;
}

/* "loader.c" or "loader.c:211", of a frame in that line. */
static bool is_place(const char *place, const char *file, int64_t line)
{
	const size_t n = strlen(file);
	char number[24];

	snprintf(number, sizeof(number), ":%lld", (long long)line);
	return n > 0 && strncmp(place, file, n) == 0 &&
	       (place[n] == '\0' || strcmp(place + n, number) == 0);
}

/* The beginning of its number, a function, or a place in its stack. */
static bool has_site(const json_t *item, const struct view *view, struct check *c)
{
	const json_t *stack = field_list(c, item, "stack");
	const char *number = field_text_or_null(c, item, "site"); /* an older rmemd says none */
	json_t *frame;
	size_t i;

	if (!view->site)
		return true;
	if (number && number[0] && begins(number, view->site))
		return true;
	json_array_foreach(stack, i, frame)
	{
		const char *function = field_text_or_null(c, frame, "function");
		const char *file = field_text_or_null(c, frame, "file");

		if ((function && function[0] && strcmp(function, view->site) == 0) ||
			(file && is_place(view->site, file, field_int_or_null(c, frame, "line"))))
			return true;
	}
	return false;
}

static bool is_on_node(const json_t *record, const struct view *view, struct check *c)
{
	const json_t *nodes = field_list(c, record, "nodes");
	json_t *node;
	size_t i;

	if (view->node < 0)
		return true;
	json_array_foreach(nodes, i, node)
	{
		if (item_int(c, node, "nodes") == view->node)
			return true;
	}
	return false;
}

static bool is_big(const json_t *item, const struct view *view, struct check *c)
{
	return field_uint(c, item, "bytes") >= view->min_bytes;
}

static bool shows_record(const json_t *record, const struct view *view, struct check *c)
{
	return field_uint(c, record, "age_max_ms") >= view->older_ms && is_big(record, view, c) &&
	       is_on_node(record, view, c) && has_holder(record, view, c) &&
	       has_site(record, view, c);
}

static bool shows_session(const json_t *session, const struct view *view, struct check *c)
{
	return field_uint(c, session, "state_for_ms") >= view->older_ms &&
	       is_big(session, view, c) && is_holder(session, view, c);
}

/* The session of a block may be forgotten. */
static bool shows_block(const json_t *block, const struct view *view, struct check *c)
{
	const char *session = field_text_or_null(c, block, "session");

	return is_big(block, view, c) && field_uint(c, block, "age_ms") >= view->older_ms &&
	       (!view->session || (session && begins(session, view->session)));
}

static bool shows_line(const json_t *line, const struct view *view, struct check *c)
{
	return is_big(line, view, c) && is_of(line, view, c) && has_site(line, view, c);
}

/* A kind that schema 1 does not have is a bad field: to leave out such a record would hide something. */
static bool is_of_kind(const json_t *record, const struct view *view, struct check *c)
{
	const enum kind kind = field_kind(c, record);

	return !c->what[0] && (view->kinds & KIND_BIT(kind));
}

bool select_shows_record(const json_t *record, const struct view *view, struct check *c)
{
	return is_of_kind(record, view, c) && shows_record(record, view, c);
}

/* What a report is a list of. */
struct subject {
	const char *list, *hidden;
	bool (*shows)(const json_t *item, const struct view *view, struct check *c);
	const struct sort_key *keys;
};

/* ---- in which order ---- */

struct sort_key {
	const char *name, *field;
	bool text; /* ascending; numbers descend */
};

static const struct sort_key record_keys[] = { { "bytes", "bytes", false },
	{ "lent", "block_bytes", false }, { "blocks", "blocks", false },
	{ "age", "age_max_ms", false }, { NULL, NULL, false } };
static const struct sort_key session_keys[] = { { "bytes", "bytes", false },
	{ "lent", "block_bytes", false }, { "blocks", "blocks", false },
	{ "channels", "channels", false }, { "for", "state_for_ms", false },
	{ "seen", "seen_ago_ms", false }, { "state", "state", true }, { "host", "host", true },
	{ "uid", "uid", false }, { "pid", "pid", false }, { "job", "job", true },
	{ "exe", "exe", true }, { NULL, NULL, false } };
static const struct sort_key block_keys[] = { { "bytes", "bytes", false },
	{ "lent", "block_bytes", false }, { "age", "age_ms", false }, { NULL, NULL, false } };
static const struct sort_key line_keys[] = { { "bytes", "bytes", false },
	{ "lent", "block_bytes", false }, { "blocks", "blocks", false },
	{ "ago", "taken_ago_ms", false }, { NULL, NULL, false } };

static const struct subject subjects[REPORTS] = {
	[REPORT_LEAKS] = { "records", "records_hidden", shows_record, record_keys },
	[REPORT_SESSIONS] = { "sessions", "sessions_hidden", shows_session, session_keys },
	[REPORT_MAP] = { "blocks", "blocks_hidden", shows_block, block_keys },
	[REPORT_RECLAIMED] = { "lines", "lines_hidden", shows_line, line_keys },
};

const char *select_hidden(enum report report)
{
	return subjects[report].hidden;
}

bool select_is_choosy(const struct view *view)
{
	return view->session || view->job || view->host || view->has_uid || view->site ||
	       view->min_bytes || view->older_ms || view->sort;
}

static const struct sort_key *find_key(enum report report, const char *name)
{
	const struct sort_key *key = subjects[report].keys;

	while (key && key->name && strcmp(key->name, name) != 0)
		key++;
	return key && key->name ? key : NULL;
}

bool select_can_sort(enum report report, const char *key)
{
	return find_key(report, key) != NULL;
}

struct ranked {
	json_t *item;
	const char *text;
	uint64_t number;
	size_t place; /* as it came: what decides among equals */
};

static int by_rank(const void *left, const void *right)
{
	const struct ranked *l = left, *r = right;
	const int order = strcmp(l->text, r->text);

	if (order)
		return order;
	if (l->number != r->number)
		return l->number > r->number ? -1 : 1;
	return l->place < r->place ? -1 : 1;
}

/* A list of the same items, sorted; or NULL. */
static json_t *sort(const json_t *items, const struct sort_key *key, struct check *c)
{
	const size_t n = json_array_size(items);
	struct ranked *ranked = calloc(n + 1, sizeof(*ranked));
	json_t *sorted = json_array();
	bool failed = !ranked || !sorted;

	for (size_t i = 0; i < n && !failed; i++) {
		json_t *item = json_array_get(items, i);

		ranked[i] = (struct ranked){ .item = item,
			.text = key->text ? field_text(c, item, key->field) : "",
			.number = key->text ? 0 : field_uint(c, item, key->field),
			.place = i };
	}
	if (!failed)
		qsort(ranked, n, sizeof(*ranked), by_rank);
	for (size_t i = 0; i < n && !failed; i++)
		failed = json_array_append(sorted, ranked[i].item) != 0;
	free(ranked);
	if (!failed)
		return sorted;
	json_decref(sorted);
	return NULL;
}

/* ---- together ---- */

/* Append the items that are shown to out, and count the others. 0 or -ENOMEM. */
static int sort_out(enum report report, const json_t *items, const struct view *view, json_t *out,
	uint64_t *hidden, struct check *c)
{
	json_t *item;
	size_t i;

	*hidden = 0;
	json_array_foreach(items, i, item)
	{
		if (report == REPORT_LEAKS && !is_of_kind(item, view, c))
			continue;
		if (!subjects[report].shows(item, view, c))
			(*hidden)++;
		else if (json_array_append(out, item) != 0)
			return -ENOMEM;
		if (c->what[0])
			return 0;
	}
	return 0;
}

static void cut(json_t *items, uint64_t limit, uint64_t *hidden)
{
	while (limit && json_array_size(items) > limit) {
		json_array_remove(items, json_array_size(items) - 1);
		(*hidden)++;
	}
}

/* Nothing is changed unless all is. */
static int replace(json_t *answer, const struct subject *s, json_t *items, uint64_t hidden)
{
	json_t *number = hidden ? json_integer((json_int_t)hidden) : NULL;

	if (hidden && json_object_set_new(answer, s->hidden, number) != 0)
		return -ENOMEM;
	if (!hidden)
		json_object_del(answer, s->hidden);
	/* the key is there already: this needs no memory */
	return json_object_set(answer, s->list, items) == 0 ? 0 : -ENOMEM;
}

int select_items(
	enum report report, json_t *answer, const struct view *view, struct errinfo *errinfo)
{
	const struct subject *s = &subjects[report];
	const struct sort_key *key = view->sort ? find_key(report, view->sort) : NULL;
	struct check c = { "" };
	json_t *shown, *sorted;
	uint64_t hidden = 0;
	int err;

	if (!s->list)
		return 0;
	shown = json_array();
	err = shown ? sort_out(report, field_list(&c, answer, s->list), view, shown, &hidden, &c)
		    : -ENOMEM;
	if (err == 0 && key) {
		sorted = sort(shown, key, &c);
		json_decref(shown);
		shown = sorted;
		err = sorted ? 0 : -ENOMEM;
	}
	if (err == 0)
		cut(shown, view->limit, &hidden);
	if (c.what[0])
		err = errinfo_set(
			errinfo, -EBADMSG, "the answer %s: this is not what an rmemd says", c.what);
	else if (err || replace(answer, s, shown, hidden))
		err = errinfo_set(errinfo, -ENOMEM, "out of memory");
	json_decref(shown);
	return err;
}
