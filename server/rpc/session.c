/* SPDX-License-Identifier: BSD-3-Clause */
/* HELLO, JOIN, BYE, RENEW, FENCE: how sessions and their connections begin and end. */
#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "rmem/rmem.h"
#include "common/clock.h"
#include "server/base/work.h"
#include "server/lease/reclaim.h"
#include "server/memory/wish.h"
#include "server/rpc/handlers.h"
#include "server/grant/grant.h"

#define HEARTBEAT_SEGMENT (ADDR_SEGMENTS - 1) /* the heartbeat page's own; no segment of the pool */

static int make_heartbeat_grant(struct connection *c, struct extent *e)
{
	int err;

	*e = (struct extent){ .memory = (void *)session_heartbeat(session_of(c)),
		.addr = addr_make(
			HEARTBEAT_SEGMENT, (uint64_t)c->grantee->slot * HEARTBEAT_LINE_BYTES),
		.bytes = sizeof(uint64_t),
		.access = IBV_ACCESS_REMOTE_WRITE };
	err = grant_create(c->device->pd, e, NULL, NULL, &c->heartbeat);
	if (err)
		return err;
	c->heartbeat->connection = c;
	DL_APPEND(c->grants, c->heartbeat);
	return 0;
}

/* Answer a HELLO whose connection has its session. */
static int greet(struct connection *c, const struct header *h)
{
	struct hello_reply body;
	struct ibv_send_wr bind;
	struct extent e;
	struct reply r;
	int err = make_heartbeat_grant(c, &e);

	if (err)
		return handler_refuse_grant(c, h, err);
	body = (struct hello_reply){ .ttl_ms = (uint32_t)rpc_of(c)->options->ttl_ms,
		.heartbeat_addr = e.addr,
		.heartbeat_rkey = c->heartbeat->rkey,
		.nodes = (uint8_t)rpc_of(c)->pool->nnodes,
		.max_alloc_bytes = pool_max_alloc_bytes(rpc_of(c)->pool, POOL_ALL_NODES),
		.fencing_token = handler_record(c)->fencing_token,
		.pool = rpc_of(c)->pool->id,
		.windows = (uint32_t)c->device->attr.max_mw,
		.atomics = c->device->attr.atomic_cap != IBV_ATOMIC_NONE,
		.part_bytes = rpc_of(c)->pool->part_bytes };
	memcpy(body.secret, handler_record(c)->secret, ID_SIZE);
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	hello_reply_put(&r.body, &body);
	grant_bind_request(c->heartbeat, &e, NULL, &bind);
	err = connection_reply_send(c, &r, &bind);
	if (!err)
		grant_posted(c->heartbeat);
	return err;
}

/* The session's earlier connections are gone. */
static void drained(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);
	struct errinfo errinfo = { "" };
	int err = session_resume(c, c->pending.session, &errinfo);

	(void)result;
	err = err ? handler_refuse(c, &h, err, "%s", errinfo.text) : greet(c, &h);
	if (err)
		connection_abort(c, "cannot answer: %s", strerror(-err));
}

static void slot_may_have_come(struct wait *w, int result);

/* The session table is full: wait if a session that is gone may make room. False: refuse. */
static bool await_slot(struct connection *c, const struct header *h,
	const struct hello_request *hello, uint64_t since_ns)
{
	struct rpc *rpc = rpc_of(c);
	const struct wish wish = { .bytes = 1, .since_ns = since_ns, .taken = &c->pending.taken };

	if (!reclaim_seek(rpc->reclaim, &wish))
		return false;
	c->pending.hello = *hello;
	c->pending.since_ns = since_ns;
	connection_wait(c, h, &rpc->reclaim->room, slot_may_have_come);
	work_wake(rpc->work);
	return true;
}

static int begin(struct connection *c, const struct header *h, const struct hello_request *hello,
	uint64_t since_ns)
{
	struct errinfo errinfo = { "" };
	struct wait **list;
	int err = session_begin(rpc_of(c)->leases, c, hello, &list, &errinfo);

	if (err == -EINPROGRESS) {
		connection_wait(c, h, list, drained);
		return 0;
	}
	if (err == -EUSERS && await_slot(c, h, hello, since_ns))
		return 0;
	return err ? handler_refuse(c, h, err, "%s", errinfo.text) : greet(c, h);
}

static void slot_may_have_come(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);
	const struct hello_request hello = c->pending.hello;
	int err = begin(c, &h, &hello, c->pending.since_ns);

	(void)result;
	if (err)
		connection_abort(c, "cannot answer: %s", strerror(-err));
}

int handle_hello(struct connection *c, const struct header *h, struct wire *in)
{
	struct hello_request hello;

	hello_request_get(in, &hello);
	if (wire_finish(in))
		return -EBADMSG;
	if (hello.journal > JOURNAL_EXACT)
		return handler_refuse(
			c, h, -EINVAL, "the server knows no journal mode %u", hello.journal);
	c->pending.taken = false;
	return begin(c, h, &hello, clock_boot_ns());
}

/* err: 0, or why c is no channel. */
static int answer_join(
	struct connection *c, const struct header *h, int err, const struct errinfo *errinfo)
{
	return err ? handler_refuse(c, h, err, "%s", errinfo->text)
		   : connection_reply_status(c, h->type, h->seq, 0, "");
}

/* The channel that c replaces is gone. */
static void replaced(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);
	struct errinfo errinfo = { "" };
	int err = session_rejoin(c, c->pending.session, &errinfo);

	(void)result;
	err = answer_join(c, &h, err, &errinfo);
	if (err)
		connection_abort(c, "cannot answer: %s", strerror(-err));
}

int handle_join(struct connection *c, const struct header *h, struct wire *in)
{
	struct join_request q;
	struct errinfo errinfo = { "" };
	struct wait **list;
	int err;

	join_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	err = session_join(rpc_of(c)->leases, c, &q, &list, &errinfo);
	if (err == -EINPROGRESS) {
		connection_wait(c, h, list, replaced);
		return 0;
	}
	return answer_join(c, h, err, &errinfo);
}

int handle_bye(struct connection *c, const struct header *h, struct wire *in)
{
	if (wire_finish(in))
		return -EBADMSG;
	session_close(session_of(c));
	return connection_reply_status(c, h->type, h->seq, 0, "");
}

int handle_renew(struct connection *c, const struct header *h, struct wire *in)
{
	const struct renew_reply body = { .ttl_ms = (uint32_t)rpc_of(c)->options->ttl_ms };
	struct reply r;

	if (wire_finish(in))
		return -EBADMSG;
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	renew_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

int handle_fence(struct connection *c, const struct header *h, struct wire *in)
{
	struct fence_request q;
	struct fence_reply body;
	struct reply r;

	fence_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	if (!sessions_gave_token(rpc_of(c)->leases->records, q.fencing_token))
		return handler_refuse(c, h, -EINVAL, "nobody has ever had that fencing token");
	body.out = session_is_out(rpc_of(c)->leases, q.fencing_token);
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	fence_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}
