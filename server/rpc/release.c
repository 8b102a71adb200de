/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RELEASE, REVISE: frees of what is shared so that others may free it.
 *
 * Several sessions may free the same. Which free is the one that counts is decided here, by one store: to the state of the
 * allocation in the ledger, or to the record of the object in its slab, whose owner does not write it meanwhile. A RELEASE
 * names what it means by its key, in whose hash the serial number and the record are: a free that comes too late fits
 * nothing, or what was freed, and never another object in the same place.
 *
 * The end of access follows the decision, and the answer that. An owner that finds its object freed by another asks for that
 * end with UNSHARE, before it uses the slot again.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "common/object_record.h"
#include "common/size_class.h"
#include "server/grant/access.h"
#include "server/rpc/handlers.h"

static const struct grantee *owner_of(const struct connection *c, const struct allocation *a)
{
	return &rpc_of(c)->leases->sessions[a->session].grantee;
}

/* ---- the end of others' access to an object ---- */

static int answer(struct connection *c, const struct header *h, const struct reached *what);

static void access_ended_by_others(struct wait *w, int result);

static void await_end(struct connection *c, const struct header *h, const struct reached *what,
	struct wait **list)
{
	c->pending.allocation = what->allocation;
	c->pending.offset = what->offset;
	connection_wait(c, h, list, access_ended_by_others);
}

/* A grant on it has ended, or will never be confirmed to have. */
static void access_ended_by_others(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);
	const struct reached what = { .allocation = c->pending.allocation,
		.offset = c->pending.offset };
	struct wait **left = access_others(rpc_of(c)->access, &what, owner_of(c, what.allocation));

	if (result)
		connection_abort(c, "the device does not confirm the end of what was shared");
	else if (left)
		await_end(c, &h, &what, left);
	else if (answer(c, &h, &what))
		connection_abort(c, "cannot answer");
}

static bool is_stuck(struct connection *c, const struct reached *what)
{
	return access_others_are_stuck(rpc_of(c)->access, what, owner_of(c, what->allocation));
}

static int refuse_stuck(struct connection *c, const struct header *h, uint64_t addr)
{
	return handler_refuse(c, h, -EIO,
		"the device does not confirm that others cannot reach 0x%" PRIx64 " any more",
		addr);
}

static int end_access(struct connection *c, const struct header *h, const struct reached *what)
{
	struct wait **left =
		access_end_others(rpc_of(c)->access, what, owner_of(c, what->allocation));

	if (!left)
		return answer(c, h, what);
	if (c->state != CONNECTION_CLOSING)
		await_end(c, h, what, left);
	return 0;
}

/* ---- RELEASE ---- */

/* What the key admits to is freed from here on. Recorded first, as FREE is: repeated, it still succeeds. */
static int free_shared(
	struct connection *c, const struct header *h, const struct offer *o, uint32_t site)
{
	const struct allocation *a = o->what.allocation;
	struct rpc *rpc = rpc_of(c);
	uint64_t before = o->record;
	uint64_t *record;

	handler_note_seq(c, h);
	if (a->size_class) {
		record = handler_record_of(c, a, o->what.offset);
		if (!__atomic_compare_exchange_n(record, &before,
			    object_record_with_state(before, OBJECT_TAKEN), false, __ATOMIC_SEQ_CST,
			    __ATOMIC_RELAXED)) {
			handler_forget_seq(c, h);
			return handler_refuse(c, h, -ESTALE,
				"its owner, which must not, has written the record of 0x%" PRIx64,
				a->addr + o->what.offset);
		}
		handler_note_freed(c, o, site);
		return end_access(c, h, &o->what);
	}
	handler_note_freed(c, o, site);
	session_lose(&rpc->leases->sessions[a->session], a);
	ledger_set_state(rpc->pool->ledger, a, ALLOCATION_REVOKING);
	rpc->frees++;
	handler_await_revoking(c, h, a);
	access_end_all(rpc->access, a);
	return 0;
}

/* Has the key admitted to freeing an object that is freed by now, and whose slot its owner has not used again? */
static bool was_freed(struct connection *c, const struct release_request *q)
{
	const struct allocation *a = ledger_find_containing(rpc_of(c)->pool->ledger, q->addr);
	enum share_rights rights;
	struct offer offer;
	uint64_t *record, word;

	if (!a || a->serial != q->serial || !a->size_class || a->state != ALLOCATION_LIVE)
		return false;
	record = handler_record_of(c, a, q->addr - a->addr);
	word = record ? __atomic_load_n(record, __ATOMIC_RELAXED) : 0;
	return record &&
	       (object_record_state(word) == OBJECT_FREED ||
		       object_record_state(word) == OBJECT_TAKEN) &&
	       handler_offer_object(
		       a, q->addr - a->addr, object_record_with_state(word, OBJECT_LIVE), &offer) &&
	       handler_admits(c, &offer, q->key, &rights) && rights == SHARE_TO_FREE;
}

/*
 * It was carried out, and its answer lost with a connection. That is what the session says, which chooses the sequence number:
 * only a key that has admitted to the object ends access to what is in its place now.
 */
static int free_shared_again(
	struct connection *c, const struct header *h, const struct release_request *q)
{
	const struct allocation *a = ledger_find_containing(rpc_of(c)->pool->ledger, q->addr);
	struct reached what;

	if (!a || a->serial != q->serial)
		return connection_reply_status(c, h->type, h->seq, 0, "");
	what = (struct reached){ .allocation = a, .offset = q->addr - a->addr };
	if (a->state == ALLOCATION_ZOMBIE)
		return refuse_stuck(c, h, q->addr);
	if (!a->size_class && a->state == ALLOCATION_REVOKING) {
		handler_await_revoking(c, h, a);
		return 0;
	}
	/* Where its slot is used again, the owner has ended that access before. */
	if (!was_freed(c, q))
		return connection_reply_status(c, h->type, h->seq, 0, "");
	return is_stuck(c, &what) ? refuse_stuck(c, h, q->addr) : end_access(c, h, &what);
}

/* The key fits nothing that is there. */
static int refuse_late(
	struct connection *c, const struct header *h, const struct release_request *q)
{
	const struct freed *freed = frees_find(rpc_of(c)->freed, q->serial, q->addr, q->key);
	const bool repeated = handler_record(c)->last_seq == h->seq;
	char told[WHY_SIZE];

	/* Without a note of it, this server has not carried it out, and the one before has. */
	if (repeated && (!freed || freed->by == handler_record(c)->serial))
		return free_shared_again(c, h, q);
	if (freed) {
		handler_tell_freed(c, freed, told);
		return handler_refuse(c, h, -EALREADY, "%s", told);
	}
	if (was_freed(c, q))
		return handler_refuse(c, h, -EALREADY,
			"freed by its owner or another session, which is not remembered");
	return handler_refuse(c, h, -ESTALE,
		"0x%" PRIx64 " is not shared with this session any more: its owner has revoked "
		"that, or it is gone",
		q->addr);
}

static int release_shared(
	struct connection *c, const struct header *h, const struct release_request *q)
{
	enum share_rights rights;
	char told[WHY_SIZE];
	struct offer offer;

	if (!handler_find_shared(c, q->addr, q->key, &offer, &rights) ||
		offer.what.allocation->serial != q->serial)
		return refuse_late(c, h, q);
	if (rights != SHARE_TO_FREE) {
		handler_tell_offer(c, &offer, told);
		return handler_refuse(
			c, h, -EACCES, "its key does not admit to freeing it; %s", told);
	}
	if (rpc_of(c)->leases->sessions[offer.what.allocation->session].reclaiming)
		return handler_refuse(
			c, h, -ESTALE, "0x%" PRIx64 " is being taken back from its owner", q->addr);
	if (offer.what.allocation->size_class && is_stuck(c, &offer.what))
		return refuse_stuck(c, h, q->addr);
	return free_shared(c, h, &offer, q->site);
}

int handle_release(struct connection *c, const struct header *h, struct wire *in)
{
	struct release_request q;
	const struct allocation *a;
	struct offer offer;

	release_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	if (!sodium_is_zero(q.key, sizeof(q.key)))
		return release_shared(c, h, &q);
	a = handler_own(c, q.addr, q.serial);
	if (a && a->size_class)
		return handler_refuse(c, h, -EINVAL, "a slab is given back with FREE");
	offer = (struct offer){ { a, 0, a ? a->bytes : 0 }, 0 };
	if (a)
		handler_note_freed(c, &offer, q.site);
	return handler_free(c, h, &(struct free_request){ q.addr, q.serial });
}

/* ---- REVISE ---- */

/* The record as it is when no other session reaches the object, if it is none any more or has become another. */
static int answer_revise(struct connection *c, const struct header *h, const struct reached *what)
{
	const struct allocation *a = what->allocation;
	struct revise_reply body = { .told = "" };
	const struct freed *freed;
	struct reply r;

	if (a->state != ALLOCATION_LIVE)
		return handler_refuse(c, h, -ESTALE, "it was taken back meanwhile");
	body.record = __atomic_load_n(handler_record_of(c, a, what->offset), __ATOMIC_SEQ_CST);
	freed = frees_find(rpc_of(c)->freed, a->serial, a->addr + what->offset, NULL);
	if (object_record_state(body.record) == OBJECT_TAKEN && freed)
		handler_tell_freed(c, freed, body.told);
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	revise_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

static int answer(struct connection *c, const struct header *h, const struct reached *what)
{
	return h->type == MESSAGE_REVISE ? answer_revise(c, h, what)
					 : connection_reply_status(c, h->type, h->seq, 0, "");
}

static bool can_become(const struct revise_request *q, uint32_t slot_bytes)
{
	const enum object_state after = object_record_state(q->after);

	return object_record_state(q->before) == OBJECT_LIVE &&
	       object_record_fits(q->before, slot_bytes) &&
	       object_record_fits(q->after, slot_bytes) &&
	       (after == OBJECT_LIVE || after == OBJECT_FREED);
}

static int revise(struct connection *c, const struct header *h, const struct revise_request *q,
	const struct allocation *a)
{
	const struct reached what = { .allocation = a, .offset = q->addr - a->addr };
	uint64_t *record = handler_record_of(c, a, what.offset);
	uint64_t now = q->before;
	struct offer offer;

	if (!record || !can_become(q, size_class_bytes(a->size_class)))
		return handler_refuse(c, h, -EINVAL,
			"no object at 0x%" PRIx64 " can have these records", q->addr);
	if (is_stuck(c, &what))
		return refuse_stuck(c, h, q->addr);
	if (__atomic_compare_exchange_n(
		    record, &now, q->after, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		now = q->after;
		if (object_record_state(now) == OBJECT_FREED &&
			handler_offer_object(a, what.offset, q->before, &offer))
			handler_note_freed(c, &offer, q->site);
	}
	/* Another live object than meant: those that have its keys keep them. */
	if (now != q->after && object_record_state(now) == OBJECT_LIVE)
		return answer(c, h, &what);
	return end_access(c, h, &what);
}

int handle_revise(struct connection *c, const struct header *h, struct wire *in)
{
	const struct allocation *a;
	struct revise_request q;

	revise_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	a = ledger_find_containing(rpc_of(c)->pool->ledger, q.addr);
	if (!a || a->state != ALLOCATION_LIVE || !a->size_class || !handler_is_own(c, a, q.serial))
		return handler_refuse(c, h, -ESTALE,
			"0x%" PRIx64 " is not held by this session (any more)", q.addr);
	return revise(c, h, &q, a);
}
