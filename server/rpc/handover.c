/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * OFFER, ACCEPT: an allocation becomes another session's. Its owner offers it, and no session reaches it when that is
 * answered. The session that accepts it with the key is its owner from one store in the ledger on (ledger_hand_over()).
 *
 * An offer is not stored: its key is a hash as a share key is (share.c), and ends as one does, with UNSHARE too.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "server/grant/access.h"
#include "server/ledger/quotas.h"
#include "server/rpc/handlers.h"

#define PURPOSE_OF_OFFERS 0x666f2d6d656d72ULL /* no other hash under the secret begins with it */

static int make_key(
	const struct session_record *owner, const struct allocation *a, uint8_t out[SHARE_KEY_SIZE])
{
	const uint64_t text[] = { PURPOSE_OF_OFFERS, a->serial, a->addr, owner->serial,
		a->unshared };

	return crypto_generichash(out, SHARE_KEY_SIZE, (const uint8_t *)text, sizeof(text),
		       owner->secret, ID_SIZE) == 0
		       ? 0
		       : -EIO;
}

/* ---- OFFER ---- */

static int answer_offer(struct connection *c, const struct header *h, const struct allocation *a)
{
	struct offer_reply body;
	struct reply r;

	if (a->state != ALLOCATION_LIVE)
		return handler_refuse(c, h, -ESTALE, "it was taken back meanwhile");
	if (make_key(handler_record(c), a, body.key))
		return -EIO;
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	offer_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

static void access_ended_of(struct wait *w, int result);

static void await_end(struct connection *c, const struct header *h, const struct allocation *a,
	struct wait **list)
{
	c->pending.allocation = a;
	c->pending.offset = 0;
	connection_wait(c, h, list, access_ended_of);
}

/* A grant of it has ended, or will never be confirmed to have. */
static void access_ended_of(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);
	const struct allocation *a = c->pending.allocation;
	const struct reached all = { .allocation = a, .bytes = a->bytes };
	struct wait **left = access_others(rpc_of(c)->access, &all, NULL);

	if (result)
		connection_abort(c, "the device does not confirm the end of what it offers");
	else if (left)
		await_end(c, &h, a, left);
	else if (answer_offer(c, &h, a))
		connection_abort(c, "cannot answer");
}

int handle_offer(struct connection *c, const struct header *h, struct wire *in)
{
	struct access *access = rpc_of(c)->access;
	const struct allocation *a;
	struct offer_request q;
	struct reached all;
	struct wait **left;

	offer_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	a = handler_own(c, q.addr, q.serial);
	if (!a)
		return handler_refuse(c, h, -ESTALE,
			"0x%" PRIx64 " is not held by this session (any more)", q.addr);
	if (a->size_class)
		return handler_refuse(c, h, -EINVAL, "a slab stays its session's");
	all = (struct reached){ .allocation = a, .bytes = a->bytes };
	if (access_others_are_stuck(access, &all, NULL))
		return handler_refuse(c, h, -EIO,
			"the device does not confirm that 0x%" PRIx64 " cannot be reached any more",
			q.addr);
	/* Nobody gets a grant while those that there are end: no key fits, and handler_is_detaching(). */
	if (ledger_unshare(rpc_of(c)->pool->ledger, a))
		return handler_refuse(c, h, -EDQUOT,
			"the shares and offers of one allocation can be revoked %d times: free it, "
			"and allocate another",
			UNSHARED_MAX);
	left = access_end_others(access, &all, NULL);
	if (!left)
		return answer_offer(c, h, a);
	if (c->state != CONNECTION_CLOSING)
		await_end(c, h, a, left);
	return 0;
}

/* ---- ACCEPT ---- */

static int answer_accept(struct connection *c, const struct header *h, const struct allocation *a)
{
	const struct accept_reply body = { .bytes = a->bytes,
		.serial = a->serial,
		.age_ns = leases_age_ns(rpc_of(c)->leases, a->birth_ns),
		.node = (uint8_t)allocation_node(a) };
	struct reply r;

	connection_reply_begin(c, h->type, h->seq, 0, &r);
	accept_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

/* What an ACCEPT has brought whose answer was lost, perhaps for good: it is this session's. */
static const struct allocation *accepted_before(
	struct connection *c, const struct accept_request *q)
{
	const struct allocation *a = ledger_find(rpc_of(c)->pool->ledger, q->addr);

	return a && !a->size_class ? handler_own(c, q->addr, a->serial) : NULL;
}

/* The LIVE allocation that starts there, if the key is that of an offer of its owner's; else NULL. */
static const struct allocation *find_offered(struct connection *c, const struct accept_request *q)
{
	const struct allocation *a = ledger_find(rpc_of(c)->pool->ledger, q->addr);
	const struct leases *leases = rpc_of(c)->leases;
	const struct session_record *owner;
	uint8_t right[SHARE_KEY_SIZE];

	if (!a || a->state != ALLOCATION_LIVE || a->size_class)
		return NULL;
	owner = sessions_get(leases->records, a->session);
	/* What is being taken back from its owner is not handed on. */
	if (!owner || owner->serial != a->session_serial ||
		leases->sessions[a->session].reclaiming || make_key(owner, a, right) ||
		sodium_memcmp(q->key, right, sizeof(right)) != 0)
		return NULL;
	return a;
}

static int take_over(struct connection *c, const struct header *h, const struct allocation *a)
{
	struct rpc *rpc = rpc_of(c);
	const uint32_t giver = a->session;
	struct quota_excess excess;
	struct errinfo errinfo;
	int err;

	if (!quotas_allow(
		    ledger_quotas(rpc->pool->ledger), c->grantee->slot, a, giver, false, &excess)) {
		err = quotas_explain(&excess, &errinfo);
		return handler_refuse(c, h, err, "%s", errinfo.text);
	}
	session_lose(&rpc->leases->sessions[giver], a);
	err = ledger_hand_over(
		rpc->pool->ledger, a, c->grantee->slot, handler_record(c)->serial, h->seq, &a);
	if (err) {
		session_keep(&rpc->leases->sessions[giver], a);
		return handler_refuse(c, h, err == -EDQUOT ? err : -ENOSPC,
			"the ledger has no room to hand over an allocation");
	}
	if (!ledger_session_count(rpc->pool->ledger, giver))
		session_emptied(rpc->leases, giver);
	/* It is this session's: if the reply fails, only the connection ends. */
	if (answer_accept(c, h, a))
		connection_abort(c, "cannot answer what it accepts");
	return 0;
}

int handle_accept(struct connection *c, const struct header *h, struct wire *in)
{
	const struct allocation *a;
	struct accept_request q;
	struct reached all;

	accept_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	a = accepted_before(c, &q);
	if (a)
		return answer_accept(c, h, a);
	a = find_offered(c, &q);
	if (!a)
		return handler_refuse(c, h, -EACCES,
			"the key does not fit anything that is offered at 0x%" PRIx64
			": it was accepted already, its owner has withdrawn it, or it is gone",
			q.addr);
	all = (struct reached){ .allocation = a, .bytes = a->bytes };
	/* Its owner has gone back on its offer, and uses it again. */
	if (access_others(rpc_of(c)->access, &all, NULL))
		return handler_refuse(c, h, -EBUSY, "0x%" PRIx64 " is in use by its owner", q.addr);
	return take_over(c, h, a);
}
