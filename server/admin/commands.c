/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/commands.h"

#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "server/admin/orders.h"
#include "server/admin/report.h"
#include "server/admin/report_quota.h"
#include "server/admin/view.h"
#include "server/audit/auditor.h"
#include "server/base/work.h"

#define SLICE_NS (1 * NSEC_PER_MSEC)

/* A report in progress, and the question that waits for it. */
struct making {
	struct report *report;
	struct audit_result *result; /* held for a leaks report; or NULL */
	struct text text;
	struct wait *asker; /* NULL once the question was cancelled */
	struct making *prev, *next;
};

struct commands {
	const struct sources *from;
	struct view view;      /* shared because it is large; refilled by each slice */
	struct making *making; /* the first gets the next slice */
	struct orders orders;
	struct work work;
};

static void drop(struct commands *c, struct making *m)
{
	DL_DELETE(c->making, m);
	report_end(m->report);
	audit_result_release(m->result);
	free(m->text.at);
	free(m);
}

/* Write pieces for one slice. 1: more to write, 0: complete, or a negative errno. */
static int write_some(struct commands *c, struct making *m)
{
	const uint64_t until_ns = clock_boot_ns() + SLICE_NS;
	int more;

	view_fill(&c->view, c->from);
	do
		more = report_write(m->report, &c->view.report, &m->text);
	while (more > 0 && clock_boot_ns() < until_ns);
	return more;
}

static void work_on(struct commands *c, struct making *m)
{
	const int more = m->asker ? write_some(c, m) : -ECANCELED;

	if (more > 0) {
		/* Round robin. */
		DL_DELETE(c->making, m);
		DL_APPEND(c->making, m);
		work_wake(&c->work);
		return;
	}
	if (m->asker) {
		struct question *q = (struct question *)m->asker;

		wait_cancel(&q->wait);
		q->answer(q, more ? NULL : m->text.at);
		if (!more)
			m->text.at = NULL; /* the asker frees it */
	}
	drop(c, m);
}

static void on_slice(evutil_socket_t fd, short what, void *arg)
{
	struct commands *c = arg;

	(void)fd;
	(void)what;
	if (c->making)
		work_on(c, c->making);
	if (c->making)
		work_wake(&c->work);
}

/* Takes over report (NULL: out of memory), holds result. A short report is answered before this returns. */
static void deliver(
	struct commands *c, struct report *report, struct audit_result *result, struct question *q)
{
	struct making *m = report ? calloc(1, sizeof(*m)) : NULL;

	if (!m) {
		report_end(report);
		q->answer(q, NULL);
		return;
	}
	m->report = report;
	m->result = result ? audit_result_hold(result) : NULL;
	DL_APPEND(c->making, m);
	wait_on(&m->asker, &q->wait, NULL);
	work_on(c, m);
}

/* A report of an audit that was made for it. */
typedef struct report *make_fn(const struct report_view *view, const struct audit_result *found);

static struct report *make_leaks(const struct report_view *view, const struct audit_result *found)
{
	return report_leaks(view, found, true);
}

static struct report *make_sum(const struct report_view *view, const struct audit_result *found)
{
	return report_of(report_audit(view, found));
}

static struct report *make_slabinfo(
	const struct report_view *view, const struct audit_result *found)
{
	return report_of(report_slabinfo(view, found));
}

static void deliver_audit(struct wait *w, int result, make_fn *make)
{
	struct question *q = (struct question *)w;
	struct commands *c = q->commands;
	struct audit_result *found = result ? NULL : auditor_result(c->from->auditor);
	struct report *report;

	view_fill(&c->view, c->from);
	if (found)
		report = make(&c->view.report, found);
	else
		report = report_of(report_error(result, "rmemd has no memory or no thread for an "
							"audit; its log has the reason"));
	deliver(c, report, found, q);
}

static void audited(struct wait *w, int result)
{
	deliver_audit(w, result, make_leaks);
}

static void audited_in_sum(struct wait *w, int result)
{
	deliver_audit(w, result, make_sum);
}

static void audited_slabs(struct wait *w, int result)
{
	deliver_audit(w, result, make_slabinfo);
}

static void deliver_order(void *context, struct report *report, struct question *q)
{
	deliver(context, report, NULL, q);
}

static struct report *refuse(int err, const char *message)
{
	return report_of(report_error(err, message));
}

/* A number of the request, 0 or more; as it was if there is none. false: something else. */
static bool read_number(const json_t *request, const char *key, json_int_t *number)
{
	const json_t *value = json_object_get(request, key);

	if (value)
		*number = json_integer_value(value);
	return !value || (json_is_integer(value) && *number >= 0);
}

static struct report *answer_map(struct commands *c, const json_t *request)
{
	json_int_t limit = REPORT_MAP_LIMIT, node = ADDR_MAX_NODES;

	if (!read_number(request, "limit", &limit) || !read_number(request, "node", &node) ||
		(json_object_get(request, "node") && node >= ADDR_MAX_NODES))
		return refuse(EINVAL, "limit and node are numbers, 0 or more");
	return report_map(&c->view.report,
		limit < REPORT_MAP_MAX ? (uint64_t)limit : REPORT_MAP_MAX,
		node < ADDR_MAX_NODES ? (int)node : -1);
}

static struct report *answer_who_holds(struct commands *c, const json_t *request)
{
	const char *text = json_string_value(json_object_get(request, "addr"));
	unsigned long long addr;
	char *end;

	errno = 0;
	addr = text ? strtoull(text, &end, 0) : 0;
	if (!text || *text < '0' || *text > '9' || *end || errno)
		return refuse(EINVAL, "addr is a remote address such as \"0x9e00000000001000\"");
	return report_of(report_who_holds(&c->view.report, addr));
}

static struct report *answer_reclaimed(struct commands *c, const json_t *request)
{
	json_int_t limit = REPORT_RECLAIMED_LIMIT;

	if (!read_number(request, "limit", &limit))
		return refuse(EINVAL, "limit is a number, 0 or more");
	return report_reclaimed(&c->view.report, (uint64_t)limit);
}

static struct report *answer_acknowledge(
	struct commands *c, const json_t *request, const struct rights *rights)
{
	const json_t *id = json_object_get(request, "id");
	const char *text = json_string_value(id);
	const bool all = text && strcmp(text, "all") == 0;

	if (!rights->acknowledge)
		return refuse(EPERM,
			"only on the admin socket of the server's host: history is not "
			"acknowledged over RDMA");
	if (!all && (!json_is_integer(id) || json_integer_value(id) <= 0))
		return refuse(EINVAL, "id is the number of a line of history, or \"all\"");
	if (history_acknowledge(
		    c->from->history, all ? HISTORY_ALL : (uint64_t)json_integer_value(id)))
		return refuse(ENOENT, "there is no line of history with that id (any more): "
				      "rmemctl leaks --reclaimed "
				      "lists them");
	return report_reclaimed(&c->view.report, 0);
}

/* The requests that need no audit. */
static struct report *answer_now(
	struct commands *c, const char *cmd, const json_t *request, const struct rights *rights)
{
	view_fill(&c->view, c->from);
	if (strcmp(cmd, "reclaimed") == 0)
		return answer_reclaimed(c, request);
	if (strcmp(cmd, "acknowledge") == 0)
		return answer_acknowledge(c, request, rights);
	if (strcmp(cmd, "status") == 0)
		return report_of(report_status(&c->view.report));
	if (strcmp(cmd, "numastat") == 0)
		return report_of(report_numastat(&c->view.report));
	if (strcmp(cmd, "buddyinfo") == 0)
		return report_of(report_buddyinfo(&c->view.report));
	if (strcmp(cmd, "quota") == 0)
		return report_of(report_quota(&c->view.report));
	if (strcmp(cmd, "sessions") == 0)
		return report_sessions(&c->view.report);
	if (strcmp(cmd, "map") == 0)
		return answer_map(c, request);
	if (strcmp(cmd, "who-holds") == 0)
		return answer_who_holds(c, request);
	return refuse(EOPNOTSUPP,
		"no such command: status, leaks, reclaimed, acknowledge, sessions, map, who-holds, "
		"numastat, buddyinfo, slabinfo, audit, evict, revoke, reclaim, resize, quota, "
		"log-level");
}

/* Of the last audit if that is asked for and there is one; else of one that is made now. */
static void answer_leaks(struct commands *c, const json_t *request, struct question *q)
{
	const json_t *which = json_object_get(request, "audit");
	const char *text = json_string_value(which);
	const bool old = text && strcmp(text, "last") == 0;
	struct audit_result *last = old ? auditor_last(c->from->auditor) : NULL;

	if (which && !old && (!text || strcmp(text, "new") != 0)) {
		deliver(c, refuse(EINVAL, "audit is \"last\" or \"new\""), NULL, q);
	} else if (last) {
		view_fill(&c->view, c->from);
		deliver(c, report_leaks(&c->view.report, last, false), last, q);
	} else {
		auditor_wait(c->from->auditor, &q->wait, audited);
	}
}

void commands_ask(struct commands *c, const char *text, const struct rights *rights,
	struct question *q, void (*answer)(struct question *q, char *text))
{
	json_t *request = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *cmd = json_string_value(json_object_get(request, "cmd"));

	q->commands = c;
	q->answer = answer;
	if (!cmd)
		deliver(c,
			refuse(EINVAL,
				"a request is one line of JSON such as {\"cmd\":\"status\"}"),
			NULL, q);
	else if (strcmp(cmd, "leaks") == 0)
		answer_leaks(c, request, q);
	else if (strcmp(cmd, "audit") == 0)
		auditor_wait(c->from->auditor, &q->wait, audited_in_sum);
	else if (strcmp(cmd, "slabinfo") == 0)
		auditor_wait(c->from->auditor, &q->wait, audited_slabs);
	else if (orders_know(cmd, request))
		orders_take(&c->orders, cmd, request, rights, q);
	else
		deliver(c, answer_now(c, cmd, request, rights), NULL, q);
	json_decref(request);
}

int commands_start(struct event_base *base, const struct sources *from, struct commands **out)
{
	struct commands *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->from = from;
	c->orders = (struct orders){
		.from = from, .view = &c->view, .deliver = deliver_order, .context = c
	};
	c->work.event = evtimer_new(base, on_slice, c);
	if (!c->work.event) {
		commands_stop(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void commands_stop(struct commands *c)
{
	if (!c)
		return;
	while (c->making)
		drop(c, c->making);
	orders_drop(&c->orders);
	if (c->work.event)
		event_free(c->work.event);
	free(c);
}
