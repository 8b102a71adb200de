/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SHARE, LOOKUP, DETACH, UNSHARE: sessions other than the owner's use an allocation.
 *
 * The share key that admits them is a keyed hash of the allocation's serial number, which is never reused, and of how
 * often its shares were revoked, under the owner's secret. So keys are not stored, cannot be guessed, and end with the
 * allocation or with UNSHARE. Whether one admits to reading only is in the hash too: the server tries both. Attached
 * sessions are not stored either: their grants show them.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "server/grant/access.h"
#include "server/rpc/handlers.h"

/* A share key is a BLAKE2b hash under a session's secret. */
#define PURPOSE_OF_KEYS 0x68732d6d656d72ULL /* no other hash under the secret begins with it */
_Static_assert(SHARE_KEY_SIZE >= crypto_generichash_BYTES_MIN, "too short for a hash");
_Static_assert(SHARE_KEY_SIZE <= crypto_generichash_BYTES_MAX, "too long for a hash");
_Static_assert(ID_SIZE >= crypto_generichash_KEYBYTES_MIN, "too short for a key of one");

static int make_key(const struct session_record *owner, const struct allocation *a, bool read_only,
	uint8_t out[SHARE_KEY_SIZE])
{
	const uint64_t text[] = { PURPOSE_OF_KEYS, a->serial, a->addr, owner->serial, a->unshared,
		read_only };

	return crypto_generichash(out, SHARE_KEY_SIZE, (const uint8_t *)text, sizeof(text),
		       owner->secret, ID_SIZE) == 0
		       ? 0
		       : -EIO;
}

static bool fits(const struct session_record *owner, const struct allocation *a, bool read_only,
	const uint8_t key[SHARE_KEY_SIZE])
{
	uint8_t right[SHARE_KEY_SIZE];

	return make_key(owner, a, read_only, right) == 0 &&
	       sodium_memcmp(key, right, sizeof(right)) == 0;
}

/* The LIVE allocation that starts at addr, if the key admits to it; else NULL. */
static const struct allocation *find_shared(
	struct connection *c, uint64_t addr, const uint8_t key[SHARE_KEY_SIZE], bool *out_read_only)
{
	const struct allocation *a = ledger_find(rpc_of(c)->pool->ledger, addr);
	const struct session_record *owner;

	if (!a || a->state != ALLOCATION_LIVE)
		return NULL;
	owner = sessions_get(rpc_of(c)->leases->records, a->session);
	if (!owner || owner->serial != a->session_serial)
		return NULL;
	for (int read_only = 0; read_only <= 1; read_only++) {
		if (!fits(owner, a, read_only, key))
			continue;
		*out_read_only = read_only;
		return a;
	}
	return NULL;
}

const struct allocation *handler_reachable(struct connection *c, uint64_t addr, uint64_t serial,
	const uint8_t key[SHARE_KEY_SIZE], bool *out_read_only)
{
	const struct allocation *a = handler_own(c, addr, serial);

	*out_read_only = false;
	if (a)
		return a;
	a = find_shared(c, addr, key, out_read_only);
	/* Another serial: the key fits a newer allocation than the one meant. */
	return a && a->serial == serial ? a : NULL;
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
	const struct allocation *a;
	struct share_request q;
	struct share_reply body;
	struct reply r;

	share_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	a = handler_own(c, q.addr, q.serial);
	if (!a)
		return handler_refuse(c, h, -ESTALE,
			"0x%" PRIx64 " is not held by this session (any more)", q.addr);
	if (q.read_only && !can_restrict(c->net))
		return handler_refuse(c, h, -EOPNOTSUPP,
			"the server's RDMA device does not refuse writes with a key for reading "
			"only");
	if (make_key(handler_record(c), a, q.read_only, body.key))
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

int handle_lookup(struct connection *c, const struct header *h, struct wire *in)
{
	const struct allocation *a;
	struct lookup_request q;
	struct lookup_reply body;
	bool read_only;
	struct reply r;

	lookup_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	a = find_shared(c, q.addr, q.key, &read_only);
	if (!a)
		return handler_refuse(c, h, -EACCES,
			"the key does not fit any allocation at 0x%" PRIx64
			": it is another's, the address is not its beginning, its owner has "
			"revoked it, or it is gone",
			q.addr);
	count_attach(c, h);
	body = (struct lookup_reply){ .bytes = a->bytes,
		.serial = a->serial,
		.age_ns = leases_age_ns(rpc_of(c)->leases, a->birth_ns),
		.read_only = read_only };
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	lookup_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

static void grant_ended(struct wait *w, int result);

/* Wait until the session has no grant on the allocation. */
static void await_ends(struct connection *c, const struct header *h, const struct allocation *a)
{
	c->pending.allocation = a;
	connection_wait(c, h, &c->grantee->grant_ended, grant_ended);
}

/* A grant of the session has ended, on this allocation or another. */
static void grant_ended(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);
	const struct allocation *a = c->pending.allocation;

	(void)result;
	if (access_is_stuck(rpc_of(c)->access, a, c->grantee))
		connection_abort(c, "the device does not confirm the end of what it detaches");
	else if (access_has(rpc_of(c)->access, a, c->grantee))
		await_ends(c, &h, a);
	else if (connection_reply_status(c, h.type, h.seq, 0, ""))
		connection_abort(c, "cannot answer");
}

int handle_detach(struct connection *c, const struct header *h, struct wire *in)
{
	const struct allocation *a;
	struct detach_request q;

	detach_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	a = ledger_find(rpc_of(c)->pool->ledger, q.addr);
	if (a && a->serial != q.serial)
		a = NULL; /* the allocation meant is gone, with all access to it */
	/* Refused, not aborted: the client would repeat an unanswered request again and again. */
	if (a && access_is_stuck(rpc_of(c)->access, a, c->grantee))
		return handler_refuse(c, h, -EIO,
			"the device does not confirm that 0x%" PRIx64 " cannot be reached any more",
			q.addr);
	if (!a || !access_end_of(rpc_of(c)->access, a, c->grantee))
		return connection_reply_status(c, h->type, h->seq, 0, "");
	if (c->state != CONNECTION_CLOSING)
		await_ends(c, h, a);
	return 0;
}

bool handler_is_detaching(const struct connection *c, const struct allocation *a)
{
	const struct connection *control = session_of(c)->control;

	return control && control->pending.active && control->pending.type == MESSAGE_DETACH &&
	       control->pending.allocation == a;
}

/* ---- UNSHARE ---- */

static void other_ended(struct wait *w, int result);

static void await_others(struct connection *c, const struct header *h, const struct allocation *a)
{
	c->pending.allocation = a;
	connection_wait(c, h, access_others(rpc_of(c)->access, a), other_ended);
}

/* A grant of the allocation has ended, or will never be confirmed to have. */
static void other_ended(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);
	const struct allocation *a = c->pending.allocation;

	if (result)
		connection_abort(c, "the device does not confirm the end of what it shared");
	else if (access_count_others(rpc_of(c)->access, a, c->grantee))
		await_others(c, &h, a);
	else if (connection_reply_status(c, h.type, h.seq, 0, ""))
		connection_abort(c, "cannot answer");
}

/* Keys first: nobody gets a grant while those that there are end. Repeated, it makes keys void that nobody has. */
int handle_unshare(struct connection *c, const struct header *h, struct wire *in)
{
	struct access *access = rpc_of(c)->access;
	const struct allocation *a;
	struct unshare_request q;

	unshare_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	a = handler_own(c, q.addr, q.serial);
	if (!a)
		return handler_refuse(c, h, -ESTALE,
			"0x%" PRIx64 " is not held by this session (any more)", q.addr);
	if (ledger_unshare(rpc_of(c)->pool->ledger, a))
		return handler_refuse(c, h, -EDQUOT,
			"the shares of one allocation can be revoked %d times: free it, and "
			"allocate another",
			UNSHARED_MAX);
	if (access_others_are_stuck(access, a, c->grantee))
		return handler_refuse(c, h, -EIO,
			"the device does not confirm that others cannot reach 0x%" PRIx64
			" any more",
			q.addr);
	if (!access_end_others(access, a, c->grantee))
		return connection_reply_status(c, h->type, h->seq, 0, "");
	await_others(c, h, a);
	return 0;
}
