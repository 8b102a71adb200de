/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/orders.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "server/admin/report_quota.h"
#include "server/admin/view.h"
#include "server/audit/auditor.h"
#include "server/grant/access.h"
#include "server/lease/reclaim.h"
#include "server/lease/session.h"
#include "server/ledger/quotas.h"
#include "server/memory/growth.h"

#define IN_THE_WAY_MAX 4096 /* blocks of a segment whose holders are named */

struct order {
	struct wait ended;  /* first; hangs on what ends with the last access */
	struct wait *asker; /* the question */
	struct orders *orders;
	struct report *report;
	struct order *prev, *next;
};

static struct report *refuse(int err, const char *message)
{
	return report_of(report_error(err, message));
}

/* ---- later ---- */

static void drop(struct orders *o, struct order *order)
{
	DL_DELETE(o->open, order);
	wait_cancel(&order->ended);
	report_end(order->report);
	free(order);
}

static void ended(struct wait *w, int result)
{
	struct order *order = (struct order *)w;
	struct question *q = (struct question *)order->asker;
	struct report *report = order->report;

	auditor_forget(order->orders->from->auditor);
	order->report = NULL;
	if (result) {
		report_end(report);
		report = refuse(result, "the device does not confirm that access has ended: the "
					"block is a zombie, and is "
					"never lent again by this rmemd");
	}
	if (q) {
		wait_cancel(&q->wait);
		order->orders->deliver(order->orders->context, report, q);
	} else {
		report_end(report);
	}
	drop(order->orders, order);
}

/* Takes over the report. NULL, and the report is gone: out of memory. */
static struct order *begin(struct orders *o, struct report *report, struct question *q)
{
	struct order *order = report ? calloc(1, sizeof(*order)) : NULL;

	if (!order) {
		report_end(report);
		return NULL;
	}
	order->orders = o;
	order->report = report;
	DL_APPEND(o->open, order);
	wait_on(&order->asker, &q->wait, NULL);
	return order;
}

void orders_drop(struct orders *o)
{
	while (o->open)
		drop(o, o->open);
}

/* ---- what is lost ---- */

static struct ledger_share live_of(const struct orders *o, uint32_t slot)
{
	const struct pool *pool = o->from->leases->pool;
	struct ledger_share all = { .blocks = 0 };

	for (unsigned i = 0; i < pool->nnodes; i++) {
		const struct ledger_share here =
			ledger_session_live(pool->ledger, slot, pool->nodes[i].node);

		all.blocks += here.blocks;
		all.bytes += here.bytes;
		all.block_bytes += here.block_bytes;
		all.slabs += here.slabs;
	}
	return all;
}

static void add_loser(struct report_loss *loss, uint32_t slot, struct ledger_share share)
{
	if (loss->nlosers < REPORT_LOSERS_MAX) {
		loss->losers[loss->nlosers].slot = slot;
		loss->losers[loss->nlosers++].share = share;
	}
	loss->sessions++;
	loss->all.blocks += share.blocks;
	loss->all.bytes += share.bytes;
	loss->all.block_bytes += share.block_bytes;
	loss->all.slabs += share.slabs;
}

static bool wants_preview(const json_t *request)
{
	return json_is_true(json_object_get(request, "preview"));
}

static struct report *make_report(
	struct orders *o, const char *name, const json_t *request, const struct report_loss *loss)
{
	view_fill(o->view, o->from);
	return report_of(report_loss(&o->view->report, name, wants_preview(request), loss));
}

/*
 * ---- evict ----
 *
 * Until access has ended, evict() and revoke() return NULL with *out_later; NULL without it: out of memory.
 */

/* Does the number begin with these hexadecimal digits? Plain: there may be 65536 sessions. */
static bool begins(const uint8_t id[ID_SIZE], const uint8_t *digits, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((i % 2 ? id[i / 2] & 15 : id[i / 2] >> 4) != digits[i])
			return false;
	return true;
}

/* The session whose number begins with this text, up to 2 * ID_SIZE hexadecimal digits. -ENOENT, -ENOTUNIQ. */
static int find_session(const struct sessions *records, const char *text, uint32_t *out_slot)
{
	const struct session_record *r;
	const size_t n = strlen(text);
	uint8_t digits[2 * ID_SIZE];
	uint32_t cursor = 0, slot;
	unsigned found = 0;

	for (size_t i = 0; i < n; i++)
		digits[i] = (uint8_t)(text[i] <= '9' ? text[i] - '0' : (text[i] | 32) - 'a' + 10);
	while ((r = sessions_next(records, &cursor, &slot)) != NULL) {
		if (!begins(r->id, digits, n))
			continue;
		*out_slot = slot;
		found++;
	}
	return found == 0 ? -ENOENT : found > 1 ? -ENOTUNIQ : 0;
}

static struct report *evict(struct orders *o, const json_t *request, const struct rights *rights,
	struct question *q, bool *out_later)
{
	const struct leases *l = o->from->leases;
	const char *digits = json_string_value(json_object_get(request, "session"));
	const size_t n = digits ? strspn(digits, "0123456789abcdefABCDEF") : 0;
	struct report_loss loss = { .sessions = 0 };
	struct report *report;
	struct session *session;
	struct order *order;
	uint32_t slot = 0;
	bool connected;
	int err;

	if (n == 0 || n > (size_t)2 * ID_SIZE || digits[n])
		return refuse(EINVAL,
			"session is the first digits of a session's number, in hexadecimal");
	err = find_session(l->records, digits, &slot);
	if (err)
		return refuse(err, err == -ENOENT
					   ? "there is no session whose number begins so"
					   : "several sessions' numbers begin so: say more digits");
	session = &l->sessions[slot];
	if (session->reclaiming)
		return refuse(EALREADY, "that session's memory is being taken back already");
	add_loser(&loss, slot, live_of(o, slot));
	report = make_report(o, "evict", request, &loss);
	if (!report || wants_preview(request))
		return report;
	order = begin(o, report, q);
	if (!order)
		return NULL;
	*out_later = true;
	log_warn("uid %u evicts session %s", rights->uid, digits);
	connected = session->nconnections > 0;
	/* Until the last is torn down its client may still reach something. */
	if (connected)
		wait_on(&session->drained, &order->ended, ended);
	(void)reclaim_evict(o->from->reclaim, session);
	if (!connected)
		ended(&order->ended, 0);
	return NULL;
}

/* ---- revoke ---- */

static int read_addr(const json_t *request, uint64_t *out)
{
	const char *text = json_string_value(json_object_get(request, "addr"));
	char *end;

	errno = 0;
	*out = text ? strtoull(text, &end, 0) : 0;
	return !text || *text < '0' || *text > '9' || *end || errno ? -EINVAL : 0;
}

/* The allocation that contains the address, if it is the one that the request means; or NULL and the refusal. */
static const struct allocation *find_allocation(
	const struct orders *o, const json_t *request, struct report **out_refusal)
{
	const json_t *id = json_object_get(request, "id");
	const struct session_record *r;
	const struct allocation *a;
	uint64_t addr;

	*out_refusal = NULL;
	if (read_addr(request, &addr) || (id && !json_is_integer(id))) {
		*out_refusal = refuse(EINVAL,
			"addr is a remote address such as \"0x9e00000000001000\", and id, if it "
			"is there, the number of the allocation");
		return NULL;
	}
	a = ledger_find_containing(o->from->leases->pool->ledger, addr);
	if (!a || (id && (uint64_t)json_integer_value(id) != a->serial)) {
		*out_refusal = refuse(ENOENT, id && a ? "another allocation is there by now"
						      : "nobody holds that address: it is free");
		return NULL;
	}
	r = sessions_get(o->from->leases->records, a->session);
	if (!r || r->serial != a->session_serial)
		*out_refusal = refuse(ENOENT, "the session that holds it is not known: a fault in "
					      "rmemd, please report it");
	else if (a->state != ALLOCATION_LIVE || o->from->leases->sessions[a->session].reclaiming)
		*out_refusal =
			refuse(EALREADY, "that memory is on its way back already, or is a zombie");
	return *out_refusal ? NULL : a;
}

static struct report *revoke(struct orders *o, const json_t *request, const struct rights *rights,
	struct question *q, bool *out_later)
{
	struct report *report;
	const struct allocation *a = find_allocation(o, request, &report);
	struct report_loss loss = { .allocation = a };
	struct order *order;

	if (!a)
		return report;
	add_loser(&loss, a->session,
		(struct ledger_share){
			1, a->bytes, allocation_block_bytes(a), a->size_class != 0 });
	report = make_report(o, "revoke", request, &loss);
	if (!report || wants_preview(request))
		return report;
	order = begin(o, report, q);
	if (!order)
		return NULL;
	*out_later = true;
	log_warn("uid %u revokes 0x%" PRIx64, rights->uid, a->addr);
	(void)reclaim_revoke(
		o->from->reclaim, &o->from->leases->sessions[a->session], a, &order->ended, ended);
	return NULL;
}

/* ---- reclaim ---- */

static void add_losers(const struct orders *o, enum session_list list, struct report_loss *loss)
{
	const struct session *session;

	DL_FOREACH (o->from->leases->lists[list], session) {
		const struct ledger_share share = live_of(o, session->grantee.slot);

		if (share.blocks)
			add_loser(loss, session->grantee.slot, share);
	}
}

static struct report *reclaim(struct orders *o, const json_t *request, const struct rights *rights)
{
	struct report_loss loss = { .sessions = 0 };
	struct report *report;

	/* A session that has just died is listed too. */
	session_check_liveness(o->from->leases);
	add_losers(o, LISTED_GONE, &loss);
	add_losers(o, LISTED_EXPIRED, &loss);
	report = make_report(o, "reclaim", request, &loss);
	if (!report || wants_preview(request))
		return report;
	log_warn("uid %u orders to take back %" PRIu64 " blocks of %" PRIu64 " sessions",
		rights->uid, (uint64_t)loss.all.blocks, loss.sessions);
	reclaim_all(o->from->reclaim);
	auditor_forget(o->from->auditor);
	return report;
}

/* ---- resize ---- */

static void add_in_the_way(struct report_loss *loss, const struct allocation *a)
{
	size_t i = 0;

	while (i < loss->nlosers && loss->losers[i].slot != a->session)
		i++;
	if (i == REPORT_LOSERS_MAX)
		return;
	if (i == loss->nlosers) {
		loss->losers[i].slot = a->session;
		loss->nlosers++;
		loss->sessions++;
	}
	ledger_share_add(&loss->losers[i].share, a);
}

/* Of the first blocks only: there may be millions. */
static void find_in_the_way(const struct orders *o, unsigned number, struct report_loss *loss)
{
	const struct pool *pool = o->from->leases->pool;
	struct buddy_range block = { .end = 0 };

	for (unsigned n = 0; n < IN_THE_WAY_MAX; n++) {
		const struct allocation *a;

		if (!buddy_next_taken(pool->segments[number]->buddy, block.end, &block))
			return;
		a = ledger_find(pool->ledger, addr_make(number, block.start));
		if (a)
			add_in_the_way(loss, a);
	}
}

/* "4G" of the request is for all nodes, and with a node for that one; else a size per node, such as "0:4G,1:2G". */
static int read_sizes(
	struct growth *g, const json_t *request, struct sizes *out, struct errinfo *errinfo)
{
	const char *size = json_string_value(json_object_get(request, "size"));
	const json_t *node = json_object_get(request, "node");
	struct limits limits;
	char text[64];
	int err;

	if (!size || (node && !json_is_integer(node)) || (node && strchr(size, ':')))
		return errinfo_set(errinfo, -EINVAL,
			"size is text such as \"4G\" or, without a node, \"0:4G,1:2G\"; node is a "
			"number");
	err = limits_read(g->data->arenas, &limits, errinfo);
	if (err)
		return err;
	if (!node)
		return sizes_parse(size, g->topology, limits.page_bytes, out, errinfo);
	snprintf(text, sizeof(text), "%lld:%.32s", (long long)json_integer_value(node), size);
	return sizes_parse(text, g->topology, limits.page_bytes, out, errinfo);
}

static struct report *resize(struct orders *o, const json_t *request, const struct rights *rights)
{
	struct report_loss in_the_way = { .sessions = 0 };
	struct growth *g = o->from->growth;
	struct growth_outcome outcome;
	struct errinfo errinfo = { "" };
	struct sizes sizes;
	int err = read_sizes(g, request, &sizes, &errinfo);

	if (!err)
		err = growth_resize(g, &sizes, &outcome, &errinfo);
	if (err)
		return refuse(err, errinfo.text);
	log_info("uid %u resizes the pool to %s", rights->uid,
		json_string_value(json_object_get(request, "size")));
	for (size_t i = 0; i < outcome.count; i++) {
		if (outcome.nodes[i].in_the_way >= 0)
			find_in_the_way(o, (unsigned)outcome.nodes[i].in_the_way, &in_the_way);
	}
	auditor_forget(o->from->auditor);
	view_fill(o->view, o->from);
	return report_of(report_resize(&o->view->report, &outcome, &in_the_way));
}

/* ---- quotas ---- */

static int read_quotas(const json_t *request, struct quota_rules *rules, struct errinfo *errinfo)
{
	const json_t *session = json_object_get(request, "session");
	const json_t *job = json_object_get(request, "job");
	int err = 0;

	if ((session && !json_is_string(session)) || (job && !json_is_string(job)))
		return errinfo_set(errinfo, -EINVAL,
			"session and job are text such as \"bytes=8G,blocks=100000\"");
	if (session)
		err = quota_set_session(rules, json_string_value(session), errinfo);
	if (!err && job)
		err = quota_set_job(rules, json_string_value(job), errinfo);
	return err;
}

/* Both or none. A holder that has more than its new quota keeps what it has. */
static struct report *set_quotas(
	struct orders *o, const json_t *request, const struct rights *rights)
{
	struct ledger *ledger = o->from->leases->pool->ledger;
	struct quota_rules rules = ledger_quotas(ledger)->rules;
	const char *session = json_string_value(json_object_get(request, "session"));
	const char *job = json_string_value(json_object_get(request, "job"));
	struct errinfo errinfo = { "" };
	int err = read_quotas(request, &rules, &errinfo);

	if (err)
		return refuse(err, errinfo.text);
	ledger_set_quotas(ledger, &rules);
	log_info("uid %u sets quotas%s%s%s%s", rights->uid, session ? ", of sessions: " : "",
		session ? session : "", job ? ", of jobs: " : "", job ? job : "");
	view_fill(o->view, o->from);
	return report_of(report_quota(&o->view->report));
}

/* ---- log level ---- */

static struct report *set_log_level(
	struct orders *o, const json_t *request, const struct rights *rights)
{
	const char *text = json_string_value(json_object_get(request, "level"));
	const enum log_level was = log_threshold;
	enum log_level level;

	if (!text || log_parse_level(text, &level) || level == LOG_LEVEL_OFF)
		return refuse(EINVAL, "level is error, warn, info or debug");
	view_fill(o->view, o->from);
	/* The change is logged unless both levels leave it out. */
	log_set_threshold(level > was ? level : was);
	log_info("uid %u sets the log level to %s; it was %s", rights->uid, text,
		log_level_name(was));
	log_set_threshold(level);
	return report_of(report_log_level(&o->view->report, text, log_level_name(was)));
}

/* ---- all ---- */

bool orders_know(const char *cmd, const json_t *request)
{
	/* Without a limit it only asks. */
	if (strcmp(cmd, "quota") == 0)
		return json_object_get(request, "session") || json_object_get(request, "job");
	return strcmp(cmd, "evict") == 0 || strcmp(cmd, "revoke") == 0 ||
	       strcmp(cmd, "reclaim") == 0 || strcmp(cmd, "resize") == 0 ||
	       strcmp(cmd, "log-level") == 0;
}

void orders_take(struct orders *o, const char *cmd, const json_t *request,
	const struct rights *rights, struct question *q)
{
	const json_t *preview = json_object_get(request, "preview");
	struct report *report;
	bool later = false;

	if (!rights->order)
		report = refuse(EPERM,
			rights->acknowledge
				? "only root and the user that rmemd runs as may order that"
				: "only on the admin socket of the server's host: nothing is "
				  "ordered over RDMA");
	else if (preview && !json_is_boolean(preview))
		report = refuse(EINVAL, "preview is true or false");
	else if (strcmp(cmd, "evict") == 0)
		report = evict(o, request, rights, q, &later);
	else if (strcmp(cmd, "revoke") == 0)
		report = revoke(o, request, rights, q, &later);
	else if (strcmp(cmd, "reclaim") == 0)
		report = reclaim(o, request, rights);
	else if (strcmp(cmd, "resize") == 0)
		report = resize(o, request, rights);
	else if (strcmp(cmd, "quota") == 0)
		report = set_quotas(o, request, rights);
	else
		report = set_log_level(o, request, rights);
	if (!later)
		o->deliver(o->context, report, q);
}
