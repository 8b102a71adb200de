/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ALLOC, FREE, ATTACH. ALLOC and FREE come on the session's control connection; ATTACH gives access on the connection
 * on which it comes.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/size_class.h"
#include "common/units.h"
#include "server/grant/access.h"
#include "server/ledger/quotas.h"
#include "server/ledger/sites.h"
#include "server/rpc/handlers.h"
#include "server/base/work.h"
#include "server/lease/reclaim.h"

#define COMING_WAIT_NS \
	(30 * NSEC_PER_SEC) /* as long as for memory of others (server/lease/reclaim.h) */

/* ---- ALLOC ---- */

static struct wish wish_of(struct connection *c, const struct alloc_request *q, uint64_t since_ns)
{
	return (struct wish){ .bytes = q->bytes,
		.placement = q->placement,
		.nic = c->device->node,
		.turns = &session_of(c)->turns,
		.since_ns = since_ns,
		.avoid = q->avoid,
		.navoid = q->navoid };
}

static int refuse_full(struct connection *c, const struct header *h, const struct alloc_request *q)
{
	const struct wish wish = wish_of(c, q, 0);
	struct errinfo errinfo;
	int err = pool_explain_full(rpc_of(c)->pool, &wish, c->grantee->slot, &errinfo);

	return handler_refuse(c, h, err, "%s", errinfo.text);
}

/* Where it is wanted makes no sense here. */
static int refuse_placement(
	struct connection *c, const struct header *h, const struct alloc_request *q, int err)
{
	const struct wish wish = wish_of(c, q, 0);
	struct errinfo errinfo = { "" };
	struct ranking ranking;

	(void)pool_rank(rpc_of(c)->pool, &wish, &ranking, &errinfo);
	return handler_refuse(c, h, err, "%s", errinfo.text);
}

static int refuse_large(struct connection *c, const struct header *h, const struct alloc_request *q)
{
	const struct wish wish = wish_of(c, q, 0);
	struct pool *pool = rpc_of(c)->pool;
	char max[UNITS_TEXT_SIZE];

	units_format_bytes(
		pool_max_alloc_bytes(pool, pool_rank_mask(pool, &wish)), max, sizeof(max));
	return handler_refuse(c, h, -EFBIG, "one allocation can hold at most %s here", max);
}

/* when_back: it would, if all were back that is on its way. */
static bool is_over_quota(struct connection *c, const struct alloc_request *q, bool when_back,
	struct quota_excess *out)
{
	const struct allocation wanted = { .bytes = q->bytes, .size_class = q->size_class };

	return !quotas_allow(ledger_quotas(rpc_of(c)->pool->ledger), c->grantee->slot, &wanted,
		SLOT_NONE, when_back, out);
}

/* The session's quota, or its job's, is used up; or the ledger is full. */
static int refuse_one_more(
	struct connection *c, const struct header *h, const struct alloc_request *q, int err)
{
	struct quota_excess excess;
	struct errinfo errinfo;

	if (!is_over_quota(c, q, false, &excess))
		return handler_refuse(c, h, err, "the ledger is full: %u allocations",
			ledger_max(rpc_of(c)->pool->ledger));
	quotas_explain(&excess, &errinfo);
	return handler_refuse(c, h, err, "%s", errinfo.text);
}

static int refuse_alloc(
	struct connection *c, const struct header *h, const struct alloc_request *q, int err)
{
	switch (err) {
	case -ENOSPC:
		return refuse_full(c, h, q);
	case -EFBIG:
		return refuse_large(c, h, q);
	case -EINVAL:
		if (q->bytes == 0)
			return handler_refuse(
				c, h, err, "an allocation of 0 bytes is not possible");
		return refuse_placement(c, h, q, err);
	case -ENODEV:
		return refuse_placement(c, h, q, err);
	case -ENOMEM:
		return handler_refuse(c, h, -ENOSPC,
			"the server cannot keep a record of it: the file system of %s, with its "
			"tables, is full; free some of it",
			rpc_of(c)->options->data_dir);
	default:
		return refuse_one_more(c, h, q, err);
	}
}

/* The allocation that an ALLOC of this number made, if its answer was lost with a connection; or NULL. */
static const struct allocation *made_by(struct connection *c, uint32_t seq)
{
	const struct allocation *a =
		ledger_next_of_session(rpc_of(c)->pool->ledger, c->grantee->slot, NULL);

	if (!a || a->seq != seq || a->state != ALLOCATION_LIVE ||
		a->session_serial != handler_record(c)->serial)
		return NULL;
	return a;
}

static int reply_alloc(struct connection *c, const struct header *h, const struct allocation *a)
{
	const struct alloc_reply body = { .addr = a->addr,
		.bytes = a->bytes,
		.serial = a->serial,
		.node = (uint8_t)allocation_node(a) };
	struct reply r;

	connection_reply_begin(c, h->type, h->seq, 0, &r);
	alloc_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

/* A slab has the sites of its objects. */
static uint32_t site_of(struct connection *c, const struct alloc_request *q)
{
	const bool known = sites_knows(rpc_of(c)->sites, &session_of(c)->sites, q->site);

	return known && !q->size_class ? q->site : 0;
}

static int try_alloc(struct connection *c, const struct header *h, const struct alloc_request *q)
{
	struct rpc *rpc = rpc_of(c);
	const struct allocation draft = { .session = c->grantee->slot,
		.session_serial = handler_record(c)->serial,
		.birth_ns = leases_time_ns(rpc->leases),
		.site = site_of(c, q),
		.size_class = q->size_class,
		.seq = h->seq };
	const struct wish wish = wish_of(c, q, 0);
	const struct allocation *a;
	struct quota_excess excess;
	int err;

	if (is_over_quota(c, q, false, &excess))
		return -EDQUOT;
	err = pool_alloc(rpc->pool, &wish, &draft, &a);
	if (err)
		return err;
	rpc->allocs++;
	/* The block is lent: if the reply fails, only the connection ends. */
	if (reply_alloc(c, h, a))
		connection_abort(c, "cannot answer its allocation");
	return 0;
}

/* A session over its quota takes from nobody, and waits only for what it, or its job, has given back. */
static bool may_come_back(struct connection *c, const struct alloc_request *q, uint64_t since_ns)
{
	struct quota_excess excess;

	return !is_over_quota(c, q, true, &excess) && clock_boot_ns() - since_ns < COMING_WAIT_NS;
}

/* -EDQUOT, and not the quota: the ledger is full. Any block given back frees a record, so seek the smallest. */
static bool may_have_room(
	struct connection *c, const struct alloc_request *q, uint64_t since_ns, int err)
{
	struct wish wish = wish_of(c, q, since_ns);
	struct quota_excess excess;

	if (err == -EDQUOT && is_over_quota(c, q, false, &excess))
		return may_come_back(c, q, since_ns);
	wish.taken = &c->pending.taken;
	if (err == -EDQUOT) {
		wish.bytes = 1;
		wish.placement = (struct placement){ 0 };
	}
	return (err == -ENOSPC || err == -EDQUOT) && reclaim_seek(rpc_of(c)->reclaim, &wish);
}

static void room_may_have_come(struct wait *w, int result);

static void await_room(struct connection *c, const struct header *h, const struct alloc_request *q,
	uint64_t since_ns)
{
	c->pending.alloc = *q;
	c->pending.since_ns = since_ns;
	connection_wait(c, h, &rpc_of(c)->reclaim->room, room_may_have_come);
}

/* Called in order of arrival: an allocation that waits again keeps its place. */
static void room_may_have_come(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);
	const struct alloc_request q = c->pending.alloc;
	const uint64_t since_ns = c->pending.since_ns;
	int err = try_alloc(c, &h, &q);

	(void)result;
	if (may_have_room(c, &q, since_ns, err))
		await_room(c, &h, &q, since_ns);
	else if (err && refuse_alloc(c, &h, &q, err))
		connection_abort(c, "cannot refuse its allocation");
}

/* Lend now, refuse now, or wait for room behind earlier requests. */
static int lend_or_wait(struct connection *c, const struct header *h, const struct alloc_request *q)
{
	const uint64_t now_ns = clock_boot_ns();
	int err = try_alloc(c, h, q);

	if (!err)
		return 0;
	c->pending.taken = false;
	if (!may_have_room(c, q, now_ns, err))
		return refuse_alloc(c, h, q, err);
	await_room(c, h, q, now_ns);
	work_wake(rpc_of(c)->work);
	return 0;
}

int handle_alloc(struct connection *c, const struct header *h, struct wire *in)
{
	const struct allocation *a;
	struct alloc_request q;

	alloc_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	if (q.size_class && !slab_slots(q.size_class, q.bytes))
		return handler_refuse(c, h, -EINVAL,
			"%" PRIu64 " bytes are no slab of size class %u", q.bytes, q.size_class);
	a = made_by(c, h->seq);
	if (a)
		return reply_alloc(c, h, a);
	return lend_or_wait(c, h, &q);
}

/* ---- FREE ---- */

/* The session's allocation, in any state, that a request names; or NULL. */
static const struct allocation *named(const struct connection *c, uint64_t addr, uint64_t serial)
{
	const struct allocation *a = ledger_find(rpc_of(c)->pool->ledger, addr);

	if (!a || a->serial != serial || a->session != c->grantee->slot ||
		a->session_serial != handler_record(c)->serial)
		return NULL;
	return a;
}

const struct allocation *handler_own(const struct connection *c, uint64_t addr, uint64_t serial)
{
	const struct allocation *a = named(c, addr, serial);

	return a && a->state == ALLOCATION_LIVE ? a : NULL;
}

static void revoked(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);

	if (result)
		connection_abort(c, "the device does not confirm the end of what it frees");
	else if (connection_reply_status(c, h.type, h.seq, 0, ""))
		connection_abort(c, "cannot answer");
}

void handler_await_revoking(
	struct connection *c, const struct header *h, const struct allocation *a)
{
	connection_wait(c, h, access_revoked(rpc_of(c)->access, a), revoked);
}

/* Not by this request, in whatever state it is by now. */
static int refuse_freed(struct connection *c, const struct header *h, const struct free_request *q,
	const struct allocation *a)
{
	const struct freed *freed = frees_find(rpc_of(c)->freed, q->serial, q->addr, NULL);
	char told[WHY_SIZE];

	if (freed && freed->owner == handler_record(c)->serial) {
		handler_tell_freed(c, freed, told);
		return handler_refuse(c, h, -EALREADY, "%s", told);
	}
	if (a)
		return handler_refuse(c, h, -EALREADY,
			"by a session that is not remembered, or it was taken back");
	return handler_refuse(c, h, -EINVAL,
		"0x%" PRIx64 " is not the start of the allocation of this session that is meant",
		q->addr);
}

/* FREE of an allocation that is not LIVE: repeated because the answer was lost with a connection, or it was freed before. */
static int free_again(struct connection *c, const struct header *h, const struct free_request *q)
{
	const struct allocation *a = named(c, q->addr, q->serial);

	if (a && a->state == ALLOCATION_ZOMBIE)
		return handler_refuse(c, h, -EIO,
			"the device does not confirm that 0x%" PRIx64 " cannot be reached any more",
			q->addr);
	if (handler_record(c)->last_seq != h->seq)
		return refuse_freed(c, h, q, a);
	if (a && a->state == ALLOCATION_REVOKING) {
		handler_await_revoking(c, h, a);
		return 0;
	}
	return connection_reply_status(c, h->type, h->seq, 0, "");
}

int handler_free(struct connection *c, const struct header *h, const struct free_request *q)
{
	const struct allocation *a = handler_own(c, q->addr, q->serial);

	if (!a)
		return free_again(c, h, q);
	/* Recorded first: if rmemd dies after either step, the repeated FREE still succeeds. */
	handler_note_seq(c, h);
	ledger_set_state(rpc_of(c)->pool->ledger, a, ALLOCATION_REVOKING);
	rpc_of(c)->frees++;
	handler_await_revoking(c, h, a);
	access_end_all(rpc_of(c)->access, a);
	return 0;
}

int handle_free(struct connection *c, const struct header *h, struct wire *in)
{
	struct free_request q;

	free_request_get(in, &q);
	return wire_finish(in) ? -EBADMSG : handler_free(c, h, &q);
}

/* ---- ATTACH ---- */

/* Bind and reply in one post: the window is bound before the peer has the key. */
static int reply_grant(struct connection *c, const struct header *h, struct grant *g)
{
	const struct grant_reply body = { .addr = g->allocation->addr + g->offset,
		.bytes = g->bytes,
		.serial = g->allocation->serial,
		.rkey = g->rkey };
	struct ibv_send_wr bind;
	struct reply r;
	int err;

	connection_reply_begin(c, h->type, h->seq, 0, &r);
	grant_reply_put(&r.body, &body);
	if (g->bound)
		return connection_reply_send(c, &r, NULL);
	access_bind_request(g->access, g, &bind);
	err = connection_reply_send(c, &r, &bind);
	if (!err)
		grant_posted(g);
	return err;
}

int handle_attach(struct connection *c, const struct header *h, struct wire *in)
{
	struct reached what;
	struct attach_request q;
	struct quota_excess excess;
	struct errinfo errinfo;
	struct grant *g;
	bool read_only;
	int err;

	attach_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	if (!handler_reachable(c, q.addr, q.serial, q.key, &what, &read_only))
		return handler_refuse(c, h, -ESTALE,
			"0x%" PRIx64 " is not held by this session, nor shared with it (any more)",
			q.addr);
	if (q.offset >= what.bytes)
		return handler_refuse(c, h, -EINVAL,
			"byte %" PRIu64 " is beyond the end of the allocation at 0x%" PRIx64,
			q.offset, q.addr);
	g = access_find(rpc_of(c)->access, c, &what, q.offset);
	/* No new grant during a DETACH either: the DETACH would wait for it, but nothing would end it. */
	if ((g && g->end != GRANT_GIVEN) || handler_is_detaching(c, &what))
		return handler_refuse(c, h, -ESTALE, "0x%" PRIx64 " is being detached", q.addr);
	if (g && g->read_only != read_only)
		return handler_refuse(c, h, -EINVAL,
			"this connection reaches 0x%" PRIx64
			" with another key's rights: DETACH it",
			q.addr);
	if (!g && !quotas_allow_window(
			  ledger_quotas(rpc_of(c)->pool->ledger), c->grantee->nwindows, &excess)) {
		err = quotas_explain(&excess, &errinfo);
		return handler_refuse(c, h, err, "%s", errinfo.text);
	}
	err = g ? 0 : access_make(rpc_of(c)->access, c, &what, q.offset, read_only, &g);
	if (err)
		return handler_refuse_grant(c, h, err);
	rpc_of(c)->keys_given++;
	return reply_grant(c, h, g);
}
