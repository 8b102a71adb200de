/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/answer.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/units.h"
#include "server/auditor.h"
#include "server/view.h"

/* Somebody who waits for an audit. */
struct question {
	struct answerer *answerer;
	admin_answer_fn answer;
	void *arg;
	struct question *prev, *next;
};

struct answerer {
	struct server *server;
	struct question *questions;
	struct view view; /* large, and used by one answer at a time */
};

/* Takes the report. The text goes to whoever asked, on one line. */
static void deliver(json_t *report, admin_answer_fn answer, void *arg)
{
	char *text = report ? json_dumps(report, JSON_COMPACT) : NULL;

	json_decref(report);
	answer(arg, text);
}

static void on_audit(void *arg, const struct audit_result *result)
{
	struct question *q = arg;
	struct answerer *a = q->answerer;
	json_t *report;

	view_fill(&a->view, a->server);
	report = result ? report_leaks(&a->view.report, result)
			: report_error(ENOMEM, "no memory for an audit");
	DL_DELETE(a->questions, q);
	deliver(report, q->answer, q->arg);
	free(q);
}

static int ask_leaks(struct answerer *a, admin_answer_fn answer, void *arg)
{
	struct question *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	*q = (struct question){ .answerer = a, .answer = answer, .arg = arg };
	if (auditor_ask(a->server->auditor, on_audit, q)) {
		free(q);
		return -ENOMEM;
	}
	DL_APPEND(a->questions, q);
	return 0;
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

/* Everything that can be answered at once. */
static json_t *answer_now(struct answerer *a, const char *cmd, const json_t *request)
{
	view_fill(&a->view, a->server);
	if (strcmp(cmd, "status") == 0)
		return report_status(&a->view.report);
	if (strcmp(cmd, "sessions") == 0)
		return report_sessions(&a->view.report);
	if (strcmp(cmd, "map") == 0)
		return answer_map(a, request);
	if (strcmp(cmd, "who-holds") == 0)
		return answer_who_holds(a, request);
	return report_error(EOPNOTSUPP, "no such command: status, leaks, sessions, map, who-holds");
}

int answerer_ask(struct answerer *a, const char *text, admin_answer_fn answer, void *arg)
{
	json_t *request = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *cmd = json_string_value(json_object_get(request, "cmd"));
	int err = 0;

	if (!cmd)
		deliver(report_error(EINVAL,
				"a request is one line of JSON such as {\"cmd\":\"status\"}"),
			answer, arg);
	else if (strcmp(cmd, "leaks") == 0)
		err = ask_leaks(a, answer, arg);
	else
		deliver(answer_now(a, cmd, request), answer, arg);
	json_decref(request);
	if (err)
		answer(arg, NULL);
	return 0;
}

void answerer_cancel(struct answerer *a, void *arg)
{
	struct question *q, *tmp;

	DL_FOREACH_SAFE (a->questions, q, tmp) {
		if (q->arg != arg)
			continue;
		auditor_cancel(a->server->auditor, q);
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the list */
		DL_DELETE(a->questions, q);
		free(q);
	}
}

int answerer_create(struct server *s, struct answerer **out)
{
	struct answerer *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->server = s;
	*out = a;
	return 0;
}

void answerer_destroy(struct answerer *a)
{
	struct question *q, *tmp;

	if (!a)
		return;
	DL_FOREACH_SAFE (a->questions, q, tmp) {
		auditor_cancel(a->server->auditor, q);
		free(q);
	}
	free(a);
}
