/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"
#include "rmem/rmem.h"
#include "server/admin.h"
#include "server/connection.h"
#include "server/reaper.h"
#include "server/session.h"

#define WINDOW_ACCESS (IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)
#define BOARD_NODE (ADDR_MAX_NODES - 1) /* the lease board's addresses: no arena has this node */

static int refuse(struct connection *c, const struct header *h, int status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int refuse(struct connection *c, const struct header *h, int status, const char *fmt, ...)
{
	char why[WHY_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	c->server->counters.refused_requests++;
	log_debug("%s from %s refused: %s", message_name(h->type), c->peer, why);
	return connection_reply_status(c, h->type, h->seq, status, why);
}

static struct session_record *record_of(const struct connection *c)
{
	return session_record(c->server, c->session);
}

/* ---- grants ---- */

static struct ibv_mr *chunk_for(const struct connection *c, const struct allocation *a)
{
	return c->device->protection == PROTECTION_WINDOW ? device_chunk(c->device, a->addr) : NULL;
}

static struct extent extent_of(struct server *s, const struct allocation *a)
{
	return (struct extent){ .memory = pool_pointer(&s->pool, a),
		.addr = a->addr,
		.bytes = a->bytes,
		.access = WINDOW_ACCESS };
}

static struct grant *grant_of(struct server *s, const struct allocation *a)
{
	return s->grants[ledger_slot(s->pool.ledger, a)];
}

/* A window for this allocation on this connection, not bound yet. */
static int make_grant(struct connection *c, const struct allocation *a, struct grant **out)
{
	const struct extent e = extent_of(c->server, a);
	struct ibv_mw *spare = c->nspares ? c->spares[c->nspares - 1] : NULL;
	int err = grant_create(c->device->pd, &e, chunk_for(c, a), spare, out);

	if (err)
		return err;
	c->nspares -= spare != NULL;
	(*out)->allocation = a;
	c->server->grants[ledger_slot(c->server->pool.ledger, a)] = *out;
	DL_APPEND(c->grants, *out);
	return 0;
}

/* Bind and tell in one post: the peer's next access finds the window. */
static int reply_grant(struct connection *c, uint8_t type, uint32_t seq, struct grant *g)
{
	const struct allocation *a = g->allocation;
	const struct grant_reply body = { .addr = a->addr, .bytes = a->bytes, .rkey = g->rkey };
	const struct extent e = extent_of(c->server, a);
	struct ibv_send_wr bind;
	struct reply r;
	int err;

	connection_reply_begin(c, type, seq, 0, &r);
	grant_reply_put(&r.body, &body);
	if (g->bound)
		return connection_reply_send(c, &r, NULL);
	grant_bind_request(g, &e, chunk_for(c, a), &bind);
	err = connection_reply_send(c, &r, &bind);
	if (!err)
		grant_posted(g);
	return err;
}

static int refuse_grant(struct connection *c, const struct header *h, int err)
{
	return refuse(c, h, err == -ENOMEM ? -EDQUOT : err,
		"%s gives no more windows or regions (%s): it allows %d windows and %d regions",
		device_name(c->device), strerror(-err), c->device->attr.max_mw,
		c->device->attr.max_mr);
}

/* ---- HELLO, BYE, RENEW ---- */

static int make_board_grant(struct connection *c, struct extent *e)
{
	int err;

	*e = (struct extent){ .memory = (void *)session_board(c->server, c->session),
		.addr = addr_make(0, BOARD_NODE, (uint64_t)c->session->slot * BOARD_LINE_BYTES),
		.bytes = sizeof(uint64_t),
		.access = IBV_ACCESS_REMOTE_WRITE };
	err = grant_create(c->device->pd, e, NULL, NULL, &c->board);
	if (!err)
		DL_APPEND(c->grants, c->board);
	return err;
}

static int handle_hello(struct connection *c, const struct header *h, struct wire *in)
{
	struct hello_request hello;
	struct hello_reply body;
	struct ibv_send_wr bind;
	struct why why = { "" };
	struct extent e;
	struct reply r;
	int err;

	hello_request_get(in, &hello);
	if (wire_finish(in) || c->session)
		return -EBADMSG;
	err = session_begin(c, &hello, &why);
	if (err)
		return refuse(c, h, err, "%s", why.text);
	err = make_board_grant(c, &e);
	if (err)
		return refuse_grant(c, h, err);
	body = (struct hello_reply){ .ttl_ms = (uint32_t)c->server->options.ttl_ms,
		.board_addr = e.addr,
		.board_rkey = c->board->rkey,
		.nodes = (uint8_t)c->server->pool.nnodes,
		.max_alloc_bytes = pool_max_alloc_bytes(&c->server->pool, RMEM_NODE_ANY) };
	memcpy(body.secret, record_of(c)->secret, ID_SIZE);
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	hello_reply_put(&r.body, &body);
	grant_bind_request(c->board, &e, NULL, &bind);
	err = connection_reply_send(c, &r, &bind);
	if (!err)
		grant_posted(c->board);
	return err;
}

static int handle_bye(struct connection *c, const struct header *h, struct wire *in)
{
	if (wire_finish(in))
		return -EBADMSG;
	session_close(c->server, c->session);
	return connection_reply_status(c, h->type, h->seq, 0, "");
}

static int handle_renew(struct connection *c, const struct header *h, struct wire *in)
{
	const struct renew_reply body = { .ttl_ms = (uint32_t)c->server->options.ttl_ms };
	struct reply r;

	if (wire_finish(in))
		return -EBADMSG;
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	renew_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

/* ---- ALLOC ---- */

/* Who holds most: what an operator, or the user of a full pool, wants to know first. */
static void describe_top_holder(struct server *s, char *buf, size_t size)
{
	char bytes[UNITS_TEXT_SIZE], age[UNITS_TEXT_SIZE];
	uint32_t cursor = 0, slot, top = 0;
	const struct session_record *r;
	uint64_t most = 0;

	while (sessions_next(s->records, &cursor, &slot)) {
		if (ledger_session_bytes(s->pool.ledger, slot) > most) {
			most = ledger_session_bytes(s->pool.ledger, slot);
			top = slot;
		}
	}
	r = most ? sessions_get(s->records, top) : NULL;
	if (!r) {
		snprintf(buf, size, "nobody holds anything");
		return;
	}
	snprintf(buf, size, "top holder %s[%u] on %s with %s in %u blocks, %s, open since %s",
		r->identity.exe, r->identity.pid, r->identity.host,
		units_format_bytes(most, bytes, sizeof(bytes)),
		ledger_session_count(s->pool.ledger, top), session_state_name(r->state),
		units_format_duration(
			(clock_real_ns() - r->opened_ns) / NSEC_PER_MSEC, age, sizeof(age)));
}

static int refuse_full(struct connection *c, const struct header *h, const struct alloc_request *q)
{
	char asked[UNITS_TEXT_SIZE], largest_text[UNITS_TEXT_SIZE], holder[384], where[24] = "pool";
	struct pool *p = &c->server->pool;
	uint64_t largest = 0;

	for (unsigned i = 0; i < p->nnodes; i++) {
		uint64_t here = buddy_largest_free_bytes(p->nodes[i].buddy);

		if ((q->node == RMEM_NODE_ANY || q->node == (int)p->nodes[i].node) &&
			here > largest)
			largest = here;
	}
	if (q->node != RMEM_NODE_ANY)
		snprintf(where, sizeof(where), "node %d", q->node);
	describe_top_holder(c->server, holder, sizeof(holder));
	return refuse(c, h, -ENOSPC, "the %s is full: %s asked for, largest free block %s; %s",
		where, units_format_bytes(q->bytes, asked, sizeof(asked)),
		units_format_bytes(largest, largest_text, sizeof(largest_text)), holder);
}

static int refuse_alloc(
	struct connection *c, const struct header *h, const struct alloc_request *q, int err)
{
	char max[UNITS_TEXT_SIZE];

	switch (err) {
	case -ENOSPC:
		return refuse_full(c, h, q);
	case -EFBIG:
		return refuse(c, h, err, "one allocation can hold at most %s here",
			units_format_bytes(
				pool_max_alloc_bytes(&c->server->pool, q->node), max, sizeof(max)));
	case -EINVAL:
		if (q->bytes == 0)
			return refuse(c, h, err, "an allocation of 0 bytes is not possible");
		return refuse(c, h, err, "the server has no NUMA node %d", q->node);
	default:
		return refuse(c, h, err, "the ledger is full: %u allocations",
			ledger_max(c->server->pool.ledger));
	}
}

/* A repeated ALLOC (its answer was lost with a connection) gets what the first one made. */
static const struct allocation *made_by(struct connection *c, uint32_t seq)
{
	const struct allocation *a =
		ledger_next_of_session(c->server->pool.ledger, c->session->slot, NULL);

	if (!a || a->seq != seq || a->state != ALLOCATION_LIVE ||
		a->session_serial != record_of(c)->serial)
		return NULL;
	return a;
}

static int grant_and_reply(
	struct connection *c, const struct header *h, const struct allocation *a, bool fresh)
{
	struct grant *g = grant_of(c->server, a);
	int err = g ? 0 : make_grant(c, a, &g);

	if (err) {
		if (fresh)
			pool_unalloc(&c->server->pool, a);
		return refuse_grant(c, h, err);
	}
	return reply_grant(c, h->type, h->seq, g);
}

static int try_alloc(struct connection *c, const struct header *h, const struct alloc_request *q)
{
	struct server *s = c->server;
	const struct allocation draft = { .session = c->session->slot,
		.session_serial = record_of(c)->serial,
		.site = sites_get(s->sites, q->site) ? q->site : 0,
		.seq = h->seq };
	const struct allocation *a;
	int err;

	if (q->node != RMEM_NODE_ANY && (q->node < 0 || q->node >= ADDR_MAX_NODES))
		return -EINVAL;
	err = pool_alloc(&s->pool, q->bytes, q->node, &draft, &a);
	if (err)
		return err;
	s->counters.allocs++;
	/* From here the request is answered: what follows is the reply's own trouble. */
	if (grant_and_reply(c, h, a, true))
		connection_abort(c, "cannot answer its allocation");
	return 0;
}

static int handle_alloc(struct connection *c, const struct header *h, struct wire *in)
{
	const struct allocation *a;
	struct alloc_request q;
	int err;

	alloc_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	a = made_by(c, h->seq);
	if (a)
		return grant_and_reply(c, h, a, false);
	err = try_alloc(c, h, &q);
	if (err == -ENOSPC && reaper_relieve(c->server, q.node)) {
		c->deferred = (struct deferred){
			.active = true, .type = h->type, .seq = h->seq, .alloc = q
		};
		c->server->nwaiting++;
		reaper_wake(c->server);
		return 0;
	}
	return err ? refuse_alloc(c, h, &q, err) : 0;
}

void service_retry_waiting(struct server *s, bool final)
{
	struct connection *c, *tmp;

	if (!s->nwaiting)
		return;
	DL_FOREACH_SAFE (s->connections, c, tmp) {
		const struct header h = { .type = c->deferred.type, .seq = c->deferred.seq };
		struct alloc_request q = c->deferred.alloc;
		int err;

		if (!c->deferred.active || c->deferred.type != MESSAGE_ALLOC)
			continue;
		err = try_alloc(c, &h, &q);
		if (err == -ENOSPC && !final && reaper_relieve(s, q.node))
			continue;
		if (c->state == CONNECTION_CLOSING)
			continue; /* it went while being answered, and is counted off already */
		c->deferred.active = false;
		s->nwaiting--;
		if (err && refuse_alloc(c, &h, &q, err))
			connection_abort(c, "cannot refuse its allocation");
	}
}

/* ---- FREE, ATTACH ---- */

/* The caller's own allocation that starts at addr, LIVE; NULL if it has none there. */
static const struct allocation *own(const struct connection *c, uint64_t addr)
{
	const struct allocation *a = ledger_find(c->server->pool.ledger, addr);

	if (!a || a->state != ALLOCATION_LIVE || a->session != c->session->slot ||
		a->session_serial != record_of(c)->serial)
		return NULL;
	return a;
}

/* The old holder is out. */
static void freed(struct connection *c, struct grant *g, const struct allocation *a)
{
	struct server *s = c->server;

	if (g) {
		s->grants[ledger_slot(s->pool.ledger, a)] = NULL;
		DL_DELETE(c->grants, g);
		grant_free(g);
	}
	pool_quarantine(&s->pool, a);
	s->counters.frees++;
	reaper_wake(s);
}

static int handle_free(struct connection *c, const struct header *h, struct wire *in)
{
	struct session_record *r = record_of(c);
	const struct allocation *a;
	struct free_request q;
	struct grant *g;

	free_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	a = own(c, q.addr);
	if (!a && r->last_seq == h->seq)
		return connection_reply_status(c, h->type, h->seq, 0, ""); /* done the first time */
	if (!a)
		return refuse(c, h, -EINVAL,
			"0x%" PRIx64 " is not the start of an allocation of this session", q.addr);
	/* The intent first: if rmemd dies in between, the repeated request finds one or the other. */
	r->last_seq = h->seq;
	ledger_set_state(c->server->pool.ledger, a, ALLOCATION_REVOKING);
	g = grant_of(c->server, a);
	if (g && g->bound && !g->own_region) {
		c->deferred = (struct deferred){ .active = true, .type = h->type, .seq = h->seq };
		return connection_post_invalidate(c, g);
	}
	if (g && grant_revoke(g))
		return -EIO; /* the connection's end tries again, and buries what stays */
	freed(c, g, a);
	return connection_reply_status(c, h->type, h->seq, 0, "");
}

void service_invalidated(struct connection *c, struct grant *g)
{
	const struct header h = { .type = c->deferred.type, .seq = c->deferred.seq };
	const struct allocation *a = g->allocation;

	if (grant_revoke(g)) { /* a window that did not become a spare */
		connection_abort(c, "a window cannot be destroyed");
		return;
	}
	freed(c, g, a);
	c->deferred.active = false;
	if (connection_reply_status(c, h.type, h.seq, 0, ""))
		connection_abort(c, "cannot answer");
}

static int handle_attach(struct connection *c, const struct header *h, struct wire *in)
{
	const struct allocation *a;
	struct attach_request q;

	attach_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	a = own(c, q.addr);
	if (!a)
		return refuse(c, h, -ESTALE, "0x%" PRIx64 " is not held by this session (any more)",
			q.addr);
	c->server->counters.attaches++;
	return grant_and_reply(c, h, a, false);
}

/* ---- SITE, SITE_NAMES ---- */

/* One that nobody knew: a session can bring only so many. */
static int add_site(struct connection *c, const struct site_request *q, uint32_t *out)
{
	int err;

	if (c->session->new_sites >= SESSION_SITES_MAX)
		return -EDQUOT;
	err = sites_intern(c->server->sites, q, out);
	c->session->new_sites += !err;
	return err;
}

static int handle_site(struct connection *c, const struct header *h, struct wire *in)
{
	struct site_reply body = { 0 };
	struct site_request q;
	struct reply r;
	int err;

	site_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	err = sites_lookup(c->server->sites, &q, &body.site);
	if (err == -ENOENT)
		err = add_site(c, &q, &body.site);
	if (err)
		return refuse(c, h, err, "the server cannot keep this call site: %s",
			err == -ENOSPC   ? "its table is full"
			: err == -EDQUOT ? "this session has brought too many"
					 : strerror(-err));
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	site_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

static int handle_site_names(struct connection *c, const struct header *h, struct wire *in)
{
	struct site_names_request q;
	int err;

	site_names_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	err = sites_set_names(c->server->sites, &q);
	if (err)
		return refuse(c, h, err, "these names fit no call site: %s", strerror(-err));
	return connection_reply_status(c, h->type, h->seq, 0, "");
}

/* ---- REPORT, REPORT_READ ---- */

static void report_ready(void *arg, char *text)
{
	struct connection *c = arg;
	const uint32_t seq = c->deferred.seq;
	struct report_reply body;
	struct reply r;

	free(c->report);
	c->report = text;
	c->report_bytes = text ? strlen(text) : 0;
	c->deferred.active = false;
	body.total_bytes = c->report_bytes;
	if (!text) {
		connection_abort(c, "no report can be made");
		return;
	}
	connection_reply_begin(c, MESSAGE_REPORT, seq, 0, &r);
	report_reply_put(&r.body, &body);
	if (connection_reply_send(c, &r, NULL))
		connection_abort(c, "cannot answer");
}

static int handle_report(struct connection *c, const struct header *h, struct wire *in)
{
	struct report_request q;

	report_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	c->deferred = (struct deferred){ .active = true, .type = h->type, .seq = h->seq };
	return admin_ask(c->server->admin, q.request, report_ready, c);
}

static int handle_report_read(struct connection *c, const struct header *h, struct wire *in)
{
	static struct report_read_reply body; /* 4 KB, and one loop */
	struct report_read_request q;
	struct reply r;
	uint64_t left;

	report_read_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	if (!c->report || q.offset > c->report_bytes)
		return refuse(
			c, h, -EINVAL, "there is no report, or none so long: ask for one first");
	left = c->report_bytes - q.offset;
	body.chunk_bytes = left < REPORT_CHUNK_MAX ? (uint16_t)left : REPORT_CHUNK_MAX;
	memcpy(body.chunk, c->report + q.offset, body.chunk_bytes);
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	report_read_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

/* ---- dispatch ---- */

/* Which handler, and what must be there first. */
static const struct {
	int (*handle)(struct connection *c, const struct header *h, struct wire *in);
	bool needs_session;
	bool for_observers;
} handlers[] = {
	[MESSAGE_HELLO] = { handle_hello, false, false },
	[MESSAGE_BYE] = { handle_bye, true, false },
	[MESSAGE_ALLOC] = { handle_alloc, true, false },
	[MESSAGE_FREE] = { handle_free, true, false },
	[MESSAGE_ATTACH] = { handle_attach, true, false },
	[MESSAGE_RENEW] = { handle_renew, true, false },
	[MESSAGE_SITE] = { handle_site, true, false },
	[MESSAGE_SITE_NAMES] = { handle_site_names, true, false },
	[MESSAGE_REPORT] = { handle_report, false, true },
	[MESSAGE_REPORT_READ] = { handle_report_read, false, true },
};

/* A message this peer may send now? */
static bool acceptable(const struct connection *c, const struct header *h)
{
	if (h->type >= sizeof(handlers) / sizeof(handlers[0]) || !handlers[h->type].handle)
		return false;
	if (h->status != 0 || c->deferred.active)
		return false;
	if ((c->purpose == PURPOSE_OBSERVER) != handlers[h->type].for_observers)
		return false; /* there are few observers, and a report may be large */
	if (handlers[h->type].needs_session && !c->session)
		return false;
	/* After BYE there is nothing left to ask for. */
	return !c->session || (record_of(c) && record_of(c)->state == SESSION_CONNECTED);
}

void service_handle(struct connection *c, uint8_t *message, size_t bytes)
{
	struct wire in = wire_over(message, bytes);
	struct header h;
	int err;

	header_get(&in, &h);
	if (in.failed || !acceptable(c, &h)) {
		c->server->counters.refused_requests++;
		connection_abort(c, "a message of %zu bytes (%s) that is not allowed here", bytes,
			message_name(h.type));
		return;
	}
	if (c->session && !lease_renew(&c->session->lease, clock_boot_ns())) {
		connection_abort(c, "its lease expired");
		return;
	}
	err = handlers[h.type].handle(c, &h, &in);
	if (err) {
		c->server->counters.refused_requests += err == -EBADMSG;
		connection_abort(c, "%s request: %s", message_name(h.type), strerror(-err));
	}
}
