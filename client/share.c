/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that share allocations between sessions. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "client/call.h"
#include "client/explain.h"
#include "client/request.h"
#include "common/addr.h"
#include "common/clock.h"

_Static_assert(sizeof(struct rmem_share_key) == SHARE_KEY_SIZE, "a key is what the server says");

static uint64_t deadline_of(const struct rmem *rm)
{
	return clock_boot_ns() + rm->session.timeout_ns;
}

/* What is at addr in the table: a copy. false: nothing starts there. */
static bool look(struct session *s, rmem_addr_t addr, struct own *out)
{
	const struct own *own;

	pthread_mutex_lock(&s->table);
	own = allocations_find(&s->allocations, addr);
	if (own)
		*out = *own;
	pthread_mutex_unlock(&s->table);
	return own != NULL;
}

static int check_share(struct session *s, rmem_addr_t addr, struct own *own, struct why *why)
{
	if (!look(s, addr, own) || own->state == OWN_FREED || own->state == OWN_FREEING)
		return why_set(why, -EINVAL,
			"0x%" PRIx64 " is not the beginning of an allocation of this session",
			addr);
	if (own->state == OWN_STALE)
		return explain_stale(own, why);
	if (own->attached)
		return why_set(why, -EINVAL,
			"0x%" PRIx64 " is shared with this session: pass on the key that came "
			"with it",
			addr);
	return 0;
}

static int share_locked(struct session *s, rmem_addr_t addr, uint64_t deadline_ns,
	struct share_reply *out, struct why *why)
{
	struct share_request request = { .addr = addr };
	struct own own;
	struct wire in;
	int rc = request_ready(s, deadline_ns, why);

	/* Coming back may have shown that it is gone. */
	if (rc == 0)
		rc = check_share(s, addr, &own, why);
	if (rc)
		return rc;
	request.serial = own.id;
	share_request_put(request_begin(s), &request);
	rc = request_call(s, MESSAGE_SHARE, deadline_ns, &in, why);
	if (rc)
		return rc;
	share_reply_get(&in, out);
	return wire_finish(&in) ? why_set(why, -EPROTO, "rmemd sent a malformed key") : 0;
}

RMEM_API int rmem_share(struct rmem *rm, rmem_addr_t addr, struct rmem_share_key *out)
{
	struct share_reply reply;
	uint64_t deadline;
	struct own own;
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0 && !out)
		rc = why_set(&why, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = check_share(&rm->session, addr, &own, &why);
	if (rc)
		return call_done(rc, "rmem_share", &why);
	deadline = deadline_of(rm);
	rc = session_lock(&rm->session, deadline, &why);
	if (rc)
		return call_done(rc, "rmem_share", &why);
	rc = share_locked(&rm->session, addr, deadline, &reply, &why);
	session_unlock(&rm->session);
	if (rc == 0)
		memcpy(out->bytes, reply.key, sizeof(out->bytes));
	return call_done(rc, "rmem_share", &why);
}

static int check_attach(struct session *s, rmem_addr_t addr, struct why *why)
{
	struct own own;

	if (!addr_is_remote(addr))
		return why_set(why, -EINVAL, "0x%" PRIx64 " is not a remote address", addr);
	if (!look(s, addr, &own))
		return 0;
	if (own.state == OWN_STALE || own.state == OWN_FREED)
		return explain_in_the_way(&own, why);
	if (own.attached)
		return why_set(why, -EEXIST, "0x%" PRIx64 " is attached already", addr);
	return why_set(why, -EINVAL, "0x%" PRIx64 " is this session's own allocation", addr);
}

/* What this session has there is gone, and keeps its addresses until the program has given it up. */
static int add_attached(struct session *s, rmem_addr_t addr, const struct lookup_reply *found,
	const struct rmem_share_key *key, struct why *why)
{
	int rc;

	pthread_mutex_lock(&s->table);
	rc = allocations_attach(&s->allocations, addr, found->bytes, found->serial, key->bytes);
	if (rc == -EEXIST) {
		allocations_displace(&s->allocations, addr, found->bytes);
		rc = explain_in_the_way(
			allocations_overlap(&s->allocations, addr, found->bytes), why);
	}
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
	return rc == -EINVAL ? why_set(why, -EPROTO, "rmemd sent a malformed answer about a key")
			     : rc;
}

static int attach_locked(struct session *s, rmem_addr_t addr, const struct rmem_share_key *key,
	uint64_t deadline_ns, uint64_t *out_bytes, struct why *why)
{
	struct lookup_request request = { .addr = addr };
	struct lookup_reply reply;
	struct wire in;
	int rc = check_attach(s, addr, why);

	if (rc == 0)
		rc = request_ready(s, deadline_ns, why);
	if (rc)
		return rc;
	memcpy(request.key, key->bytes, sizeof(request.key));
	lookup_request_put(request_begin(s), &request);
	rc = request_call(s, MESSAGE_LOOKUP, deadline_ns, &in, why);
	if (rc)
		return rc;
	lookup_reply_get(&in, &reply);
	if (wire_finish(&in) || reply.bytes == 0)
		return why_set(why, -EPROTO, "rmemd sent a malformed answer about a key");
	*out_bytes = reply.bytes;
	return add_attached(s, addr, &reply, key, why);
}

RMEM_API int rmem_attach(
	struct rmem *rm, rmem_addr_t addr, const struct rmem_share_key *key, size_t *out_bytes)
{
	uint64_t deadline, bytes;
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0 && !key)
		rc = why_set(&why, -EINVAL, "the key is NULL");
	if (rc)
		return call_done(rc, "rmem_attach", &why);
	deadline = deadline_of(rm);
	rc = session_lock(&rm->session, deadline, &why);
	if (rc)
		return call_done(rc, "rmem_attach", &why);
	rc = attach_locked(&rm->session, addr, key, deadline, &bytes, &why);
	session_unlock(&rm->session);
	if (rc == 0 && out_bytes)
		*out_bytes = bytes;
	return call_done(rc, "rmem_attach", &why);
}

static int check_detach(struct session *s, rmem_addr_t addr, struct own *own, struct why *why)
{
	if (!look(s, addr, own))
		return why_set(why, -EINVAL, "nothing is attached at 0x%" PRIx64, addr);
	if (!own->attached)
		return why_set(why, -EINVAL,
			"0x%" PRIx64 " is this session's own allocation: rmem_free() gives it back",
			addr);
	return 0;
}

static void set_state(struct session *s, rmem_addr_t addr, bool gone)
{
	struct own *own;

	pthread_mutex_lock(&s->table);
	own = allocations_find(&s->allocations, addr);
	if (own && gone)
		allocations_remove(&s->allocations, own);
	else if (own)
		allocations_set_state(&s->allocations, own, OWN_FREEING);
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
}

static int detach_locked(struct session *s, rmem_addr_t addr, uint64_t deadline_ns, struct why *why)
{
	struct detach_request request = { .addr = addr };
	struct own own;
	struct wire in;
	int rc = check_detach(s, addr, &own, why);

	if (rc == 0)
		rc = request_ready(s, deadline_ns, why);
	if (rc)
		return rc;
	request.serial = own.id;
	/* From here on it is not used, whatever becomes of the request: that can be made again. */
	set_state(s, addr, false);
	detach_request_put(request_begin(s), &request);
	rc = request_call(s, MESSAGE_DETACH, deadline_ns, &in, why);
	/* A session that the server had forgotten had nothing attached any more. */
	if (rc == -ESTALE)
		rc = 0;
	if (rc == 0)
		set_state(s, addr, true);
	return rc;
}

RMEM_API int rmem_detach(struct rmem *rm, rmem_addr_t addr)
{
	uint64_t deadline;
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc || addr == 0)
		return call_done(rc, "rmem_detach", &why);
	deadline = deadline_of(rm);
	rc = session_lock(&rm->session, deadline, &why);
	if (rc)
		return call_done(rc, "rmem_detach", &why);
	rc = detach_locked(&rm->session, addr, deadline, &why);
	session_unlock(&rm->session);
	return call_done(rc, "rmem_detach", &why);
}
