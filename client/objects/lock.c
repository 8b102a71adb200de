/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks (include/rmem/objects.h; models/lock.pml). The lock word is 0 while the lock is free. Otherwise it holds the
 * owner's fencing token and a number that differs for each acquisition. A handle acquires the lock by swapping 0, or the
 * value of an owner whose fencing token is out, for a value of its own, and releases it by swapping that value for 0.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "client/space/call.h"
#include "client/objects/atomic_word.h"
#include "common/clock.h"
#include "common/handshake.h"
#include "rmem/objects.h"

#define EAGER_TRIES 8
#define PAUSE_MIN_NS NSEC_PER_MSEC
#define PAUSE_MAX_NS (8 * NSEC_PER_MSEC)
#define ASK_AFTER_NS (50 * NSEC_PER_MSEC) /* that one and the same holder was seen */
#define ASK_EVERY_NS (200 * NSEC_PER_MSEC)

/* UNSURE: value may have been swapped in, or (RELEASING) out. */
enum lock_state { LOCK_IDLE, LOCK_UNSURE, LOCK_HELD, LOCK_RELEASING };

struct rmem_lock {
	struct rmem *rm;
	rmem_addr_t addr;
	enum lock_state state;
	bool died; /* it was taken from somebody who is out, and nobody has been told */
	uint64_t value;
	uint64_t lease_epoch; /* of value */
	uint64_t left;        /* a value of an earlier lease epoch that may still be in the word */
	bool fresh;           /* value was never there */
	struct holding holding;
};

/* Somebody who waits. */
struct wait {
	uint64_t deadline_ns;
	uint64_t seen;   /* what was in the word */
	uint64_t ask_ns; /* when to ask about it */
	uint64_t pause_ns;
	unsigned tries;
	bool out; /* the fencing token in that value is out */
};

static struct session *session_of(const struct rmem_lock *l)
{
	return &l->rm->session;
}

/* It is not held any more. */
static int end(struct rmem_lock *l, int rc)
{
	fencing_release(session_of(l), &l->holding);
	l->state = LOCK_IDLE;
	return rc;
}

/* The memory is gone, and the lock with it: why says how that was found out. */
static int end_with_memory(struct rmem_lock *l, struct errinfo *errinfo)
{
	const struct errinfo found = *errinfo;

	return errinfo_set(errinfo, end(l, -ESTALE),
		"%.300s; the lock at 0x%" PRIx64 " in it is not held any more", found.text,
		l->addr);
}

/* It was lost with the lease. */
static int lost(struct rmem_lock *l, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, end(l, -ESTALE),
		"the lock at 0x%" PRIx64
		" had been lost: the lease had ended, and others may have had it since",
		l->addr);
}

/*
 * While the lease epoch lasts, only this client takes its value out of the word. Another value there means that the word
 * no longer belongs to the lock: its memory was freed and lent anew, or somebody wrote over it.
 */
static int lost_word(struct rmem_lock *l, uint64_t word, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, end(l, -ESTALE),
		"the lock at 0x%" PRIx64 " had been lost: there is 0x%" PRIx64
		" now, so the memory was freed and allocated anew, or somebody wrote over it",
		l->addr, word);
}

/* ---- taking ---- */

/* Our value is in the word: does it still count? */
static void keep(struct rmem_lock *l)
{
	bool kept = fencing_hold(session_of(l), &l->holding, l->lease_epoch) == 0;

	/* If not, it is what somebody left there who is out, namely we. */
	l->state = kept ? LOCK_HELD : LOCK_IDLE;
	if (!kept)
		l->left = l->value;
}

/* Is it held, after the last attempt to take it was left open? */
static int find_out(struct rmem_lock *l, struct errinfo *errinfo)
{
	uint64_t word;
	int rc = atomic_word_settle(l->rm, errinfo);

	if (rc == 0)
		rc = atomic_word_read(l->rm, l->addr, &word, errinfo);
	if (rc)
		return rc;
	if (word != l->value)
		l->state = LOCK_IDLE;
	else
		keep(l);
	return 0;
}

/* A value that was never in the word; one that was not used is good for the next attempt. */
static void choose_value(struct rmem_lock *l)
{
	struct fencing_now now = fencing_now(session_of(l));

	if (l->fresh && l->lease_epoch == now.number)
		return;
	l->value = atomic_word_mine(l->rm, &now);
	l->lease_epoch = now.number;
	l->fresh = true;
}

/* One attempt to take it. *word: what was there instead; state tells whether it worked. */
static int attempt(
	struct rmem_lock *l, const struct wait *w, uint64_t *word, struct errinfo *errinfo)
{
	const uint64_t expected = w->out ? w->seen : 0;
	struct atomic_word_swap swap;
	bool done;
	int rc;

	choose_value(l);
	rc = atomic_word_swap(l->rm, l->addr, expected, l->value,
		&(struct atomic_word_terms){ l->lease_epoch, 0 }, &swap, errinfo);
	if (rc == -ESTALE && fencing_is_over(session_of(l), l->lease_epoch)) {
		*word = 0;
		return 0; /* the next attempt is made in the new one */
	}
	if (rc && rc != -EREMOTEIO)
		return rc;
	*word = swap.found;
	done = swap.found == (swap.settled ? l->value : expected);
	if (rc == 0 && !done && !swap.settled)
		return 0;
	l->fresh = false;
	/* Nobody need be told of what we left there ourselves. */
	if (w->out && expected != l->left && (rc || done))
		l->died = true;
	if (rc)
		l->state = LOCK_UNSURE;
	else if (done)
		keep(l);
	return rc;
}

/* Ask the server about an owner that has had the lock for long. */
static int look_at_holder(
	struct rmem_lock *l, struct wait *w, uint64_t word, struct errinfo *errinfo)
{
	struct session *s = session_of(l);
	uint64_t now_ns = clock_boot_ns();
	int rc;

	if (word != w->seen) {
		w->seen = word;
		w->out = false;
		w->ask_ns = now_ns + ASK_AFTER_NS;
	}
	if (word == 0 || (now_ns < w->ask_ns && now_ns < w->deadline_ns))
		return 0;
	w->ask_ns = now_ns + ASK_EVERY_NS;
	if (atomic_word_token(word) == fencing_now(s).fencing_token)
		return 0; /* another handle of this session */
	rc = fencing_ask(s, atomic_word_token(word), now_ns + s->timeout_ns, &w->out, errinfo);
	if (rc == -EINVAL)
		return errinfo_set(errinfo, -EILSEQ,
			"0x%" PRIx64 " at 0x%" PRIx64 " was written by no lock: is it one, and was "
			"it zero at first?",
			word, l->addr);
	return rc;
}

static int pause_a_little(struct rmem_lock *l, struct wait *w, struct errinfo *errinfo)
{
	uint64_t until = clock_boot_ns() + w->pause_ns;

	if (w->tries++ < EAGER_TRIES)
		return 0;
	w->pause_ns = w->pause_ns * 2 < PAUSE_MAX_NS ? w->pause_ns * 2 : PAUSE_MAX_NS;
	if (handshake_wait(-1, -1, session_of(l)->cancel_fd,
		    until < w->deadline_ns ? until : w->deadline_ns) == -ECANCELED)
		return errinfo_set(errinfo, -ECANCELED, "closing");
	return 0;
}

static int explain_held(const struct rmem_lock *l, uint64_t word, struct errinfo *errinfo)
{
	uint64_t fencing_token = atomic_word_token(word);

	if (fencing_token == fencing_now(session_of(l)).fencing_token)
		return errinfo_set(errinfo, -ETIMEDOUT,
			"the lock at 0x%" PRIx64 " is held by another handle of this session",
			l->addr);
	return errinfo_set(errinfo, -ETIMEDOUT,
		"the lock at 0x%" PRIx64 " is held by another session (fencing token %" PRIu64 ")",
		l->addr, fencing_token);
}

static int acquire(struct rmem_lock *l, struct wait *w, struct errinfo *errinfo)
{
	uint64_t word;
	int rc;

	for (;;) {
		bool was_out = w->out;

		rc = attempt(l, w, &word, errinfo);
		if (rc || l->state == LOCK_HELD)
			return rc;
		rc = look_at_holder(l, w, word, errinfo);
		if (rc)
			return rc;
		if (word == 0 || (w->out && !was_out))
			continue;
		if (clock_boot_ns() >= w->deadline_ns)
			return explain_held(l, word, errinfo);
		rc = pause_a_little(l, w, errinfo);
		if (rc)
			return rc;
	}
}

/*
 * The handle had it when it was last used. Only the word can tell whether it has it still: -EDEADLK. 0: it had been
 * given back, only the answer to that was lost.
 */
static int check_own(struct rmem_lock *l, struct errinfo *errinfo)
{
	const bool releasing = l->state == LOCK_RELEASING;
	uint64_t word = 0;
	int rc;

	if (fencing_is_over(session_of(l), l->lease_epoch))
		return lost(l, errinfo);
	rc = releasing ? atomic_word_settle(l->rm, errinfo) : 0;
	if (rc == 0)
		rc = atomic_word_read(l->rm, l->addr, &word, errinfo);
	/* Asked again: to find it out may be what the reading failed of. */
	if (fencing_is_over(session_of(l), l->lease_epoch))
		return lost(l, errinfo);
	if (rc == -ESTALE)
		return end_with_memory(l, errinfo);
	if (rc)
		return rc; /* nobody knows; -EFAULT: it was detached, or freed by this session */
	if (word != l->value)
		return releasing ? end(l, 0) : lost_word(l, word, errinfo);
	l->state = LOCK_HELD;
	return errinfo_set(
		errinfo, -EDEADLK, "this handle has the lock at 0x%" PRIx64 " already", l->addr);
}

RMEM_API int rmem_lock_acquire(struct rmem_lock *l, int timeout_ms)
{
	struct wait w = { .deadline_ns = UINT64_MAX, .pause_ns = PAUSE_MIN_NS };
	struct errinfo errinfo = { "" };
	int rc = l ? call_enter(l->rm, &errinfo)
		   : errinfo_set(&errinfo, -EINVAL, "the lock is NULL");

	if (rc == 0 && l->state >= LOCK_HELD)
		rc = check_own(l, &errinfo);
	if (rc)
		return call_done(rc, "rmem_lock_acquire", &errinfo);
	if (timeout_ms >= 0)
		w.deadline_ns = clock_boot_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	if (l->state == LOCK_UNSURE)
		rc = find_out(l, &errinfo);
	if (rc == 0 && l->state != LOCK_HELD)
		rc = acquire(l, &w, &errinfo);
	if (rc)
		return call_done(rc, "rmem_lock_acquire", &errinfo);
	rc = l->died ? RMEM_LOCK_OWNER_DIED : 0;
	l->died = false;
	return rc;
}

/* ---- giving back ---- */

/*
 * While the lease epoch lasts, only this client takes its value out of the word. If the value is gone, an earlier
 * attempt gave it back.
 */
static int release(struct rmem_lock *l, struct errinfo *errinfo)
{
	bool again = l->state == LOCK_RELEASING;
	struct atomic_word_swap swap;
	int rc;

	if (fencing_is_over(session_of(l), l->lease_epoch))
		return lost(l, errinfo);
	rc = atomic_word_swap(l->rm, l->addr, l->value, 0,
		&(struct atomic_word_terms){ l->lease_epoch, 0 }, &swap, errinfo);
	if (rc == -EREMOTEIO)
		l->state = LOCK_RELEASING;
	if (fencing_is_over(session_of(l), l->lease_epoch) &&
		(rc || swap.settled || swap.found != l->value))
		return lost(l, errinfo);
	if (rc == -ESTALE)
		return end_with_memory(l, errinfo);
	if (rc)
		return rc;
	if (swap.settled && swap.found == l->value)
		return release(l, errinfo); /* it was not done */
	if (!swap.settled && swap.found != l->value && !again)
		return lost_word(l, swap.found, errinfo);
	return end(l, 0);
}

RMEM_API int rmem_lock_release(struct rmem_lock *l)
{
	struct errinfo errinfo = { "" };
	int rc = l ? call_enter(l->rm, &errinfo)
		   : errinfo_set(&errinfo, -EINVAL, "the lock is NULL");

	if (rc == 0 && l->state == LOCK_UNSURE)
		rc = find_out(l, &errinfo);
	if (rc == 0 && l->state == LOCK_IDLE)
		rc = errinfo_set(&errinfo, -EINVAL,
			"this handle does not have the lock at 0x%" PRIx64, l->addr);
	if (rc == 0)
		rc = release(l, &errinfo);
	return call_done(rc, "rmem_lock_release", &errinfo);
}

/* ---- handles ---- */

RMEM_API int rmem_lock_create(struct rmem *rm, rmem_addr_t addr, struct rmem_lock **out)
{
	struct rmem_lock *l = NULL;
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = atomic_word_check_addr(addr, &errinfo);
	if (rc == 0) {
		l = heap_alloc(rm->session.heap, sizeof(*l));
		if (!l)
			rc = errinfo_set(&errinfo, -ENOMEM, "out of memory");
	}
	if (rc)
		return call_done(rc, "rmem_lock_create", &errinfo);
	l->rm = rm;
	l->addr = addr;
	*out = l;
	return 0;
}

RMEM_API void rmem_lock_destroy(struct rmem_lock *l)
{
	struct errinfo errinfo;

	if (!l)
		return;
	if (call_enter(l->rm, &errinfo)) /* in a child, which may take no lock of the parent's */
		return;
	if (l->state == LOCK_UNSURE)
		(void)find_out(l, &errinfo);
	if (l->state >= LOCK_HELD && release(l, &errinfo))
		if (l->state >= LOCK_HELD)
			(void)end(l, 0);
	heap_free(l->rm->session.heap, l, sizeof(*l));
}
