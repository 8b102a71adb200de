/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/commands.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "server/audit/auditor.h"
#include "server/admin/snapshot.h"

struct answerer {
	const struct sources *from;
	struct view view; /* large, and used by one answer at a time */
};

/* Takes the report. The text goes to who asked, on one line. */
static void deliver(json_t *report, struct question *q)
{
	char *text = report ? json_dumps(report, JSON_COMPACT) : NULL;

	json_decref(report);
	q->answer(q, text);
}

static void audited(struct wait *w, int result)
{
	struct question *q = (struct question *)w;
	struct answerer *a = q->answerer;

	view_fill(&a->view, a->from);
	deliver(result ? report_error(ENOMEM, "no memory for an audit")
		       : report_leaks(&a->view.report, auditor_result(a->from->auditor)),
		q);
}

static json_t *answer_map(struct answerer *a, const json_t *request)
{
	const json_t *limit = json_object_get(request, "limit");
	const json_t *node = json_object_get(request, "node");
	uint64_t blocks = limit ? (uint64_t)json_integer_value(limit) : REPORT_MAP_LIMIT;

	if ((limit && (!json_is_integer(limit) || json_integer_value(limit) < 0)) ||
		(node && (!json_is_integer(node) || json_integer_value(node) < 0 ||
				 json_integer_value(node) >= ADDR_MAX_NODES)))
		return report_error(EINVAL, "limit and node are numbers, 0 or more");
	return report_map(&a->view.report, blocks < REPORT_MAP_MAX ? blocks : REPORT_MAP_MAX,
		node ? (int)json_integer_value(node) : -1);
}

static json_t *answer_who_holds(struct answerer *a, const json_t *request)
{
	const char *text = json_string_value(json_object_get(request, "addr"));
	unsigned long long addr;
	char *end;

	errno = 0;
	addr = text ? strtoull(text, &end, 0) : 0;
	if (!text || *text < '0' || *text > '9' || *end || errno)
		return report_error(
			EINVAL, "addr is a remote address such as \"0x9e00000000001000\"");
	return report_who_holds(&a->view.report, addr);
}

static json_t *answer_reclaimed(struct answerer *a, const json_t *request)
{
	const json_t *limit = json_object_get(request, "limit");

	if (limit && (!json_is_integer(limit) || json_integer_value(limit) < 0))
		return report_error(EINVAL, "limit is a number, 0 or more");
	return report_reclaimed(&a->view.report,
		limit ? (uint64_t)json_integer_value(limit) : REPORT_RECLAIMED_LIMIT);
}

static json_t *answer_acknowledge(struct answerer *a, const json_t *request, bool may_change)
{
	const json_t *id = json_object_get(request, "id");
	const char *text = json_string_value(id);
	const bool all = text && strcmp(text, "all") == 0;

	if (!may_change)
		return report_error(EPERM,
			"only on the admin socket of the server's host: history is not "
			"acknowledged over RDMA");
	if (!all && (!json_is_integer(id) || json_integer_value(id) <= 0))
		return report_error(EINVAL, "id is the number of a line of history, or \"all\"");
	if (history_acknowledge(
		    a->from->history, all ? HISTORY_ALL : (uint64_t)json_integer_value(id)))
		return report_error(ENOENT, "there is no such line of history (any more)");
	return report_reclaimed(&a->view.report, 0);
}

/* Everything that can be answered at once. */
static json_t *answer_now(
	struct answerer *a, const char *cmd, const json_t *request, bool may_change)
{
	view_fill(&a->view, a->from);
	if (strcmp(cmd, "reclaimed") == 0)
		return answer_reclaimed(a, request);
	if (strcmp(cmd, "acknowledge") == 0)
		return answer_acknowledge(a, request, may_change);
	if (strcmp(cmd, "status") == 0)
		return report_status(&a->view.report);
	if (strcmp(cmd, "sessions") == 0)
		return report_sessions(&a->view.report);
	if (strcmp(cmd, "map") == 0)
		return answer_map(a, request);
	if (strcmp(cmd, "who-holds") == 0)
		return answer_who_holds(a, request);
	return report_error(EOPNOTSUPP,
		"no such command: status, leaks, reclaimed, acknowledge, sessions, map, who-holds");
}

void answerer_ask(struct answerer *a, const char *text, bool may_change, struct question *q,
	void (*answer)(struct question *q, char *text))
{
	json_t *request = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *cmd = json_string_value(json_object_get(request, "cmd"));

	q->answerer = a;
	q->answer = answer;
	if (!cmd)
		deliver(report_error(EINVAL,
				"a request is one line of JSON such as {\"cmd\":\"status\"}"),
			q);
	else if (strcmp(cmd, "leaks") == 0)
		auditor_wait(a->from->auditor, &q->wait, audited);
	else
		deliver(answer_now(a, cmd, request, may_change), q);
	json_decref(request);
}

int answerer_create(const struct sources *from, struct answerer **out)
{
	struct answerer *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->from = from;
	*out = a;
	return 0;
}

void answerer_destroy(struct answerer *a)
{
	free(a);
}
