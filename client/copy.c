/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/copy.h"

#include <errno.h>
#include <inttypes.h>

#include "common/clock.h"
#include "common/units.h"

#define WINDOW_BYTES (16 * MIB) /* moved before others get the channel */

/* Recovering gets at least this long, however much of the time-out a dead connection has eaten. */
#define RECOVER_MIN_NS NSEC_PER_SEC

/* What one call carries from try to try. */
struct copy {
	struct session *session;
	uint64_t deadline_ns; /* of recovering; 0: nothing had to be recovered yet */
	unsigned retries;
	uint64_t attach_addr; /* the allocation that key() had no key for */
};

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

static int check_pieces(struct session *s, const struct plan *plan, struct why *why)
{
	int rc = 0;

	pthread_mutex_lock(&s->table);
	for (int i = 0; i < plan->nremote && rc == 0; i++)
		if (plan->remote[i].len)
			find_usable(&s->allocations, plan->remote[i].base, plan->remote[i].len, &rc,
				why);
	pthread_mutex_unlock(&s->table);
	return rc;
}

static int key(void *ctx, uint64_t addr, size_t bytes, uint32_t *out_rkey, struct why *why)
{
	struct copy *copy = ctx;
	struct session *s = copy->session;
	struct own *own;
	int rc = 0;

	pthread_mutex_lock(&s->table);
	own = find_usable(&s->allocations, addr, bytes, &rc, why);
	if (own && own->generation == atomic_load(&s->generation)) {
		*out_rkey = own->rkey;
	} else if (own) {
		copy->attach_addr = own->addr;
		rc = -EAGAIN;
	}
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* With control: get a key for this connection, unless somebody else just did. */
static int attach_locked(struct copy *copy, struct why *why)
{
	struct session *s = copy->session;
	struct attach_request request = { .addr = copy->attach_addr };
	struct grant_reply grant;
	struct wire reply;
	struct own *own;
	uint32_t rkey;
	int rc;

	rc = session_ready(s, copy->deadline_ns, why);
	if (rc)
		return rc;
	rc = key(copy, request.addr, 1, &rkey, why);
	if (rc != -EAGAIN)
		return rc;
	attach_request_put(session_begin(s), &request);
	rc = session_call(s, MESSAGE_ATTACH, copy->deadline_ns, &reply, why);
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

static void start_recovering(struct copy *copy, uint64_t began_ns)
{
	uint64_t now = clock_boot_ns();

	copy->deadline_ns = began_ns + copy->session->timeout_ns;
	if (copy->deadline_ns < now + RECOVER_MIN_NS)
		copy->deadline_ns = now + RECOVER_MIN_NS;
}

/* Get what the next try needs: a key, or the connection and the lease. */
static int recover(struct copy *copy, bool attach, struct why *why)
{
	struct session *s = copy->session;
	int rc;

	rc = session_lock(s, copy->deadline_ns, why);
	if (rc)
		return rc;
	rc = attach ? attach_locked(copy, why) : session_ready(s, copy->deadline_ns, why);
	session_unlock(s);
	return rc;
}

/* What one turn on the channel came to. */
enum turn { TURN_DONE, TURN_NO_KEY, TURN_NOT_READY, TURN_BROKE, TURN_FAILED };

static enum turn take_turn(struct copy *copy, enum transfer_direction direction, struct plan *plan,
	int *rc, struct why *why)
{
	struct session *s = copy->session;
	bool ready;

	session_channel_lock(s);
	/* Past the lease the memory may be somebody else's: not even try. */
	ready = session_connected(s) && session_lease_good(s);
	*rc = ready ? transfer_run(s->transfer, direction, plan, WINDOW_BYTES, key, copy, why) : 0;
	session_channel_unlock(s);
	if (!ready)
		return TURN_NOT_READY;
	switch (*rc) {
	case 0:
		return TURN_DONE;
	case -EAGAIN:
		return TURN_NO_KEY;
	case -EACCES: /* our key was revoked, for instance because the lease was over */
	case -ECONNRESET:
		return TURN_BROKE;
	default:
		return TURN_FAILED;
	}
}

int copy_run(
	struct session *s, enum transfer_direction direction, struct plan *plan, struct why *why)
{
	struct copy copy = { .session = s };
	uint64_t began = 0;
	int rc;

	rc = check_pieces(s, plan, why);
	if (rc == 0 && plan->left)
		began = clock_boot_ns();
	while (rc == 0 && plan->left) {
		enum turn turn = take_turn(&copy, direction, plan, &rc, why);

		if (turn == TURN_DONE)
			continue;
		if (turn == TURN_FAILED)
			return rc;
		if (turn == TURN_BROKE) {
			session_wake_keeper(s);
			/* Plain copies can be repeated, but not for ever. */
			if (copy.retries++ > 0)
				return -ECONNRESET;
		}
		if (!copy.deadline_ns)
			start_recovering(&copy, began);
		else if (clock_boot_ns() >= copy.deadline_ns && turn != TURN_NO_KEY)
			return why_set(why, -ETIMEDOUT, "the lease ends faster than rmemd answers");
		rc = recover(&copy, turn == TURN_NO_KEY, why);
	}
	return rc;
}
