/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/access.h"

#include <errno.h>
#include <inttypes.h>

#include "common/clock.h"

/* Recovering gets at least this long, however much of the time-out a dead connection has eaten. */
#define RECOVER_MIN_NS NSEC_PER_SEC

static int explain_fault(const struct allocations *t, uint64_t addr, size_t bytes, struct why *why)
{
	const struct own *own = allocations_find_range(t, addr, 1);

	if (!own)
		return why_set(why, -EFAULT,
			"0x%" PRIx64 " is not in any allocation of this session", addr);
	return why_set(why, -EFAULT,
		"%zu bytes at 0x%" PRIx64 " pass the end of the allocation of %" PRIu64
		" bytes at 0x%" PRIx64,
		bytes, addr, own->bytes, own->addr);
}

static int explain_stale(uint64_t addr, struct why *why)
{
	return why_set(why, -ESTALE,
		"the allocation at 0x%" PRIx64 " is gone: the lease had ended and the server has "
		"reclaimed it",
		addr);
}

/* With the table: the allocation that holds the range; NULL, and *rc, if it may not be used. */
static struct own *find_usable(
	const struct allocations *t, uint64_t addr, size_t bytes, int *rc, struct why *why)
{
	struct own *own = allocations_find_range(t, addr, bytes);

	if (!own)
		*rc = explain_fault(t, addr, bytes, why);
	else if (own->state == OWN_STALE)
		*rc = explain_stale(own->addr, why);
	else if (own->state != OWN_LIVE)
		*rc = why_set(
			why, -EFAULT, "the allocation at 0x%" PRIx64 " is being freed", own->addr);
	else
		return own;
	return NULL;
}

int access_check(struct session *s, uint64_t addr, size_t bytes, struct why *why)
{
	int rc = 0;

	pthread_mutex_lock(&s->table);
	find_usable(&s->allocations, addr, bytes, &rc, why);
	pthread_mutex_unlock(&s->table);
	return rc;
}

int access_key(void *ctx, uint64_t addr, size_t bytes, uint32_t *out_rkey, struct why *why)
{
	struct access *access = ctx;
	struct session *s = access->session;
	struct own *own;
	int rc = 0;

	pthread_mutex_lock(&s->table);
	own = find_usable(&s->allocations, addr, bytes, &rc, why);
	if (own && own->generation == atomic_load(&s->generation)) {
		*out_rkey = own->rkey;
	} else if (own) {
		access->attach_addr = own->addr;
		rc = -EAGAIN;
	}
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* With control: get a key for this connection, unless somebody else just did. */
static int attach_locked(struct access *access, struct why *why)
{
	struct session *s = access->session;
	struct attach_request request = { .addr = access->attach_addr };
	struct grant_reply grant;
	struct wire reply;
	struct own *own;
	uint32_t rkey;
	int rc;

	rc = session_ready(s, access->deadline_ns, why);
	if (rc)
		return rc;
	rc = access_key(access, request.addr, 1, &rkey, why);
	if (rc != -EAGAIN)
		return rc;
	attach_request_put(session_begin(s), &request);
	rc = session_call(s, MESSAGE_ATTACH, access->deadline_ns, &reply, why);
	if (rc == 0) {
		grant_reply_get(&reply, &grant);
		if (wire_finish(&reply) || grant.addr != request.addr)
			rc = why_set(why, -EPROTO, "rmemd sent a malformed grant");
	}
	pthread_mutex_lock(&s->table);
	own = allocations_find(&s->allocations, request.addr);
	if (own && rc == 0 && own->bytes == grant.bytes) {
		own->rkey = grant.rkey;
		own->generation = atomic_load(&s->generation);
	} else if (own && (rc == -ESTALE || rc == -ENOENT || rc == 0)) {
		own->state = OWN_STALE;
		rc = explain_stale(request.addr, why);
	}
	pthread_mutex_unlock(&s->table);
	return rc;
}

static void start_recovering(struct access *access, uint64_t began_ns)
{
	uint64_t now = clock_boot_ns();

	access->deadline_ns = began_ns + access->session->timeout_ns;
	if (access->deadline_ns < now + RECOVER_MIN_NS)
		access->deadline_ns = now + RECOVER_MIN_NS;
}

/* Get what the next try needs: a key, or the connection and the lease. */
static int recover(struct access *access, bool attach, struct why *why)
{
	struct session *s = access->session;
	int rc;

	rc = session_lock(s, access->deadline_ns, why);
	if (rc)
		return rc;
	rc = attach ? attach_locked(access, why) : session_ready(s, access->deadline_ns, why);
	session_unlock(s);
	return rc;
}

/* What one turn on the channel came to. */
enum turn { TURN_DONE, TURN_MORE, TURN_NO_KEY, TURN_NOT_READY, TURN_BROKE, TURN_FAILED };

static enum turn take_turn(
	struct access *access, access_act *act, void *ctx, int *rc, struct why *why)
{
	struct session *s = access->session;
	bool ready;

	session_channel_lock(s);
	/* Past the lease the memory may be somebody else's: not even try. */
	ready = session_connected(s) && session_lease_good(s);
	*rc = ready ? act(ctx, access, why) : 0;
	session_channel_unlock(s);
	if (!ready)
		return TURN_NOT_READY;
	switch (*rc) {
	case 0:
		return TURN_DONE;
	case ACCESS_MORE:
		return TURN_MORE;
	case -EAGAIN:
		return TURN_NO_KEY;
	case -EACCES: /* our key was revoked, for instance because the lease was over */
	case -ECONNRESET:
		session_wake_keeper(s);
		return TURN_BROKE;
	case -EREMOTEIO:
		session_wake_keeper(s);
		return TURN_FAILED;
	default:
		return TURN_FAILED;
	}
}

int access_run(struct session *s, access_act *act, void *ctx, struct why *why)
{
	struct access access = { .session = s };
	uint64_t began = clock_boot_ns();

	for (;;) {
		int rc;
		enum turn turn = take_turn(&access, act, ctx, &rc, why);

		if (turn == TURN_MORE)
			continue;
		if (turn == TURN_DONE || turn == TURN_FAILED)
			return rc;
		/* It can be repeated, but not for ever. */
		if (turn == TURN_BROKE && access.retries++ > 0)
			return -ECONNRESET;
		if (!access.deadline_ns)
			start_recovering(&access, began);
		else if (clock_boot_ns() >= access.deadline_ns && turn != TURN_NO_KEY)
			return why_set(why, -ETIMEDOUT, "the lease ends faster than rmemd answers");
		rc = recover(&access, turn == TURN_NO_KEY, why);
		if (rc)
			return rc;
	}
}
