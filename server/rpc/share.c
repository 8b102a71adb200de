/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SHARE, LOOKUP, DETACH, UNSHARE: sessions other than the owner's use an allocation, or an object of a slab.
 *
 * The share key that admits them is a keyed hash of the allocation's serial number, which is never reused, and of how
 * often its shares were revoked, under the owner's secret. So keys are not stored, cannot be guessed, and end with the
 * allocation or with UNSHARE. The record that its owner keeps of an object (common/object_record.h) is in the hash of its
 * keys: the owner writes another, and they are void. What one admits to (enum share_rights) is in the hash too: the server tries each. Attached
 * sessions are not stored either: their grants show them.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "common/clock.h"
#include "common/object_record.h"
#include "common/size_class.h"
#include "server/grant/access.h"
#include "server/rpc/handlers.h"

/* A share key is a BLAKE2b hash under a session's secret. */
#define PURPOSE_OF_KEYS 0x68732d6d656d72ULL /* no other hash under the secret begins with it */
_Static_assert(SHARE_KEY_SIZE >= crypto_generichash_BYTES_MIN, "too short for a hash");
_Static_assert(SHARE_KEY_SIZE <= crypto_generichash_BYTES_MAX, "too long for a hash");
_Static_assert(ID_SIZE >= crypto_generichash_KEYBYTES_MIN, "too short for a key of one");

uint64_t *handler_record_of(
	const struct connection *c, const struct allocation *slab, uint64_t offset)
{
	const uint32_t slots = slab_slots(slab->size_class, slab->bytes);
	const uint32_t slot_bytes = size_class_bytes(slab->size_class);
	char *records = (char *)pool_pointer(rpc_of(c)->pool, slab) +
			slab_records_offset(slab->size_class, slots);

	if (offset % slot_bytes || offset / slot_bytes >= slots)
		return NULL;
	return (uint64_t *)(void *)records + offset / slot_bytes;
}

bool handler_offer_object(
	const struct allocation *slab, uint64_t offset, uint64_t record, struct offer *out)
{
	const uint32_t slot_bytes = size_class_bytes(slab->size_class);

	if (object_record_state(record) != OBJECT_LIVE || !object_record_fits(record, slot_bytes))
		return false;
	*out = (struct offer){ { slab, offset, slot_bytes - object_record_unpack(record).slack },
		record };
	return true;
}

/* The object that starts there. False: none does. Its owner says how long it is, up to a slot. */
static bool offer_object(
	struct connection *c, const struct allocation *slab, uint64_t offset, struct offer *out)
{
	const uint64_t *record = handler_record_of(c, slab, offset);

	return record &&
	       handler_offer_object(slab, offset, __atomic_load_n(record, __ATOMIC_RELAXED), out);
}

/* What starts at addr in a LIVE allocation, and can be shared by itself. */
static bool find_offer(struct connection *c, uint64_t addr, struct offer *out)
{
	const struct allocation *a = ledger_find_containing(rpc_of(c)->pool->ledger, addr);

	if (!a || a->state != ALLOCATION_LIVE)
		return false;
	if (a->size_class)
		return offer_object(c, a, addr - a->addr, out);
	*out = (struct offer){ { a, 0, a->bytes }, 0 };
	return a->addr == addr;
}

bool handler_is_own(const struct connection *c, const struct allocation *a, uint64_t serial)
{
	return a->serial == serial && a->session == c->grantee->slot &&
	       a->session_serial == handler_record(c)->serial;
}

int handler_make_key(const struct session_record *owner, const struct offer *o,
	enum share_rights rights, uint8_t out[SHARE_KEY_SIZE])
{
	const struct allocation *a = o->what.allocation;
	const uint64_t text[] = { PURPOSE_OF_KEYS, a->serial, a->addr + o->what.offset,
		owner->serial, a->unshared, o->record, rights };

	return crypto_generichash(out, SHARE_KEY_SIZE, (const uint8_t *)text, sizeof(text),
		       owner->secret, ID_SIZE) == 0
		       ? 0
		       : -EIO;
}

const struct session_record *handler_owner(const struct connection *c, const struct allocation *a)
{
	const struct session_record *owner = sessions_get(rpc_of(c)->leases->records, a->session);

	return owner && owner->serial == a->session_serial ? owner : NULL;
}

bool handler_admits(const struct connection *c, const struct offer *o,
	const uint8_t key[SHARE_KEY_SIZE], enum share_rights *out)
{
	const struct session_record *owner = handler_owner(c, o->what.allocation);
	uint8_t right[SHARE_KEY_SIZE];

	for (unsigned rights = 0; owner && rights < SHARE_RIGHTS; rights++) {
		if (handler_make_key(owner, o, rights, right) ||
			sodium_memcmp(key, right, sizeof(right)) != 0)
			continue;
		*out = rights;
		return true;
	}
	return false;
}

bool handler_find_shared(struct connection *c, uint64_t addr, const uint8_t key[SHARE_KEY_SIZE],
	struct offer *out, enum share_rights *out_rights)
{
	return find_offer(c, addr, out) && handler_admits(c, out, key, out_rights);
}

bool handler_reachable(struct connection *c, uint64_t addr, uint64_t serial,
	const uint8_t key[SHARE_KEY_SIZE], struct reached *out, bool *out_read_only)
{
	const struct allocation *own = handler_own(c, addr, serial);
	enum share_rights rights;
	struct offer offer;

	*out_read_only = false;
	if (own) {
		*out = (struct reached){ own, 0, own->bytes };
		return true;
	}
	/* Another serial: the key fits a newer allocation than the one meant. */
	if (!handler_find_shared(c, addr, key, &offer, &rights) ||
		offer.what.allocation->serial != serial)
		return false;
	*out_read_only = rights == SHARE_TO_READ;
	*out = offer.what;
	return true;
}

/* Does every device that a session may come over refuse writes with a key for reading only? */
static bool can_restrict(const struct net *net)
{
	for (unsigned i = 0; i < net->ndevices; i++) {
		if (net->devices[i].probe.write_to_read_only != PROBE_REFUSED)
			return false;
	}
	return true;
}

int handle_share(struct connection *c, const struct header *h, struct wire *in)
{
	struct offer offer;
	struct share_request q;
	struct share_reply body;
	struct reply r;

	share_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	if (q.rights >= SHARE_RIGHTS)
		return handler_refuse(c, h, -EINVAL, "there are no rights %u", q.rights);
	if (!find_offer(c, q.addr, &offer) || !handler_is_own(c, offer.what.allocation, q.serial))
		return handler_refuse(c, h, -ESTALE,
			"0x%" PRIx64 " is not held by this session (any more)", q.addr);
	if (q.rights == SHARE_TO_READ && !can_restrict(c->net))
		return handler_refuse(c, h, -EOPNOTSUPP,
			"the server's RDMA device does not refuse writes with a key for reading "
			"only");
	if (handler_make_key(handler_record(c), &offer, q.rights, body.key))
		return -EIO;
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	share_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

/* Count each rmem_attach() once: a LOOKUP is repeated if its answer was lost with a connection. */
static void count_attach(struct connection *c, const struct header *h)
{
	struct session *session = session_of(c);

	if (session->attach_seq == h->seq)
		return;
	session->attach_seq = h->seq;
	rpc_of(c)->attaches++;
}

/* An object's owner says when it was made, in seconds of its session. */
static uint64_t born_ns(struct connection *c, const struct offer *o)
{
	const struct allocation *a = o->what.allocation;
	const struct session_record *owner = sessions_get(rpc_of(c)->leases->records, a->session);

	return a->size_class
		       ? owner->opened_ns + object_record_unpack(o->record).birth_s * NSEC_PER_SEC
		       : a->birth_ns;
}

int handle_lookup(struct connection *c, const struct header *h, struct wire *in)
{
	const struct allocation *a;
	struct lookup_request q;
	struct lookup_reply body;
	enum share_rights rights;
	struct offer offer;
	struct reply r;

	lookup_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	if (!handler_find_shared(c, q.addr, q.key, &offer, &rights))
		return handler_refuse(c, h, -EACCES,
			"the key does not fit any allocation at 0x%" PRIx64
			": it is another's, the address is not its beginning, its owner has "
			"revoked it, or it is gone",
			q.addr);
	count_attach(c, h);
	a = offer.what.allocation;
	body = (struct lookup_reply){ .bytes = offer.what.bytes,
		.serial = a->serial,
		.age_ns = leases_age_ns(rpc_of(c)->leases, born_ns(c, &offer)),
		.rights = (uint8_t)rights,
		.node = (uint8_t)allocation_node(a),
		.size_class = a->size_class,
		.slab_addr = a->size_class ? a->addr : 0,
		.slab_bytes = a->size_class ? a->bytes : 0 };
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	lookup_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

/* What is there, allocation or object, as a request that ends access names it. False: the allocation is gone. */
static bool find_reached(struct connection *c, uint64_t addr, uint64_t serial, struct reached *out)
{
	const struct allocation *a = ledger_find_containing(rpc_of(c)->pool->ledger, addr);

	if (!a || a->serial != serial)
		return false;
	*out = (struct reached){ .allocation = a, .offset = addr - a->addr };
	return true;
}

static struct reached pending_reached(const struct connection *c)
{
	return (struct reached){ .allocation = c->pending.allocation, .offset = c->pending.offset };
}

static void await(struct connection *c, const struct header *h, const struct reached *what,
	struct wait **list, void (*done)(struct wait *w, int result))
{
	c->pending.allocation = what->allocation;
	c->pending.offset = what->offset;
	connection_wait(c, h, list, done);
}

/* A grant of the session has ended, on this or on something else. */
static void grant_ended(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);
	const struct reached what = pending_reached(c);

	(void)result;
	if (access_is_stuck(rpc_of(c)->access, &what, c->grantee))
		connection_abort(c, "the device does not confirm the end of what it detaches");
	else if (access_has(rpc_of(c)->access, &what, c->grantee))
		await(c, &h, &what, &c->grantee->grant_ended, grant_ended);
	else if (connection_reply_status(c, h.type, h.seq, 0, ""))
		connection_abort(c, "cannot answer");
}

int handle_detach(struct connection *c, const struct header *h, struct wire *in)
{
	struct detach_request q;
	struct reached what;

	detach_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	/* If the allocation meant is gone, all access to it is. */
	if (!find_reached(c, q.addr, q.serial, &what))
		return connection_reply_status(c, h->type, h->seq, 0, "");
	/* Refused, not aborted: the client would repeat an unanswered request again and again. */
	if (access_is_stuck(rpc_of(c)->access, &what, c->grantee))
		return handler_refuse(c, h, -EIO,
			"the device does not confirm that 0x%" PRIx64 " cannot be reached any more",
			q.addr);
	if (!access_end_of(rpc_of(c)->access, &what, c->grantee))
		return connection_reply_status(c, h->type, h->seq, 0, "");
	if (c->state != CONNECTION_CLOSING)
		await(c, h, &what, &c->grantee->grant_ended, grant_ended);
	return 0;
}

bool handler_is_detaching(const struct connection *c, const struct reached *what)
{
	const struct connection *control = session_of(c)->control;

	return control && control->pending.active &&
	       (control->pending.type == MESSAGE_DETACH ||
		       control->pending.type == MESSAGE_OFFER) &&
	       control->pending.allocation == what->allocation &&
	       control->pending.offset == what->offset;
}

/* ---- UNSHARE ---- */

/* A grant of it has ended, or will never be confirmed to have. */
static void other_ended(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);
	const struct reached what = pending_reached(c);
	struct wait **others = access_others(rpc_of(c)->access, &what, c->grantee);

	if (result)
		connection_abort(c, "the device does not confirm the end of what it shared");
	else if (others)
		await(c, &h, &what, others, other_ended);
	else if (connection_reply_status(c, h.type, h.seq, 0, ""))
		connection_abort(c, "cannot answer");
}

static int end_others(struct connection *c, const struct header *h, const struct reached *what)
{
	struct access *access = rpc_of(c)->access;
	struct wait **others;

	if (access_others_are_stuck(access, what, c->grantee))
		return handler_refuse(c, h, -EIO,
			"the device does not confirm that others cannot reach 0x%" PRIx64
			" any more",
			what->allocation->addr + what->offset);
	others = access_end_others(access, what, c->grantee);
	if (!others)
		return connection_reply_status(c, h->type, h->seq, 0, "");
	await(c, h, what, others, other_ended);
	return 0;
}

/*
 * Keys first: nobody gets a grant while those that there are end. The keys of an object are void already, by the record
 * that its owner has written. Repeated, it makes keys void that nobody has.
 */
int handle_unshare(struct connection *c, const struct header *h, struct wire *in)
{
	struct unshare_request q;
	struct reached what;

	unshare_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	if (!find_reached(c, q.addr, q.serial, &what) ||
		what.allocation->state != ALLOCATION_LIVE ||
		!handler_is_own(c, what.allocation, q.serial) ||
		(what.offset && !what.allocation->size_class))
		return handler_refuse(c, h, -ESTALE,
			"0x%" PRIx64 " is not held by this session (any more)", q.addr);
	if (!what.allocation->size_class &&
		ledger_unshare(rpc_of(c)->pool->ledger, what.allocation))
		return handler_refuse(c, h, -EDQUOT,
			"the shares of one allocation can be revoked %d times: free it, and "
			"allocate another",
			UNSHARED_MAX);
	return end_others(c, h, &what);
}
