/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counters (include/rmem/objects.h; models/counter.pml): lines of an owner and a total. A total is changed
 * by its owner only, from what it knows it to be, so that whether a change was made can be seen. An owner
 * that is out leaves line and total to another.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "client/space/call.h"
#include "client/data/keys.h"
#include "client/objects/atomic_word.h"
#include "common/clock.h"
#include "rmem/objects.h"

#define LINES_MAX 1024
#define TRIES 8

struct line {
	uint64_t owner; /* as a lock's word */
	uint64_t total;
	uint64_t unused[6];
};
_Static_assert(sizeof(struct line) == RMEM_COUNTER_BYTES(1), "lines are what the header says");

struct rmem_counter {
	struct rmem *rm;
	rmem_addr_t addr;
	unsigned nlines;
	pthread_mutex_t lock;
	struct line *lines; /* as they were when they were last looked at */
	uint64_t claim;     /* what says that a line is ours */
	/* The lease epoch is that of claim, 0: there is none; as_of says in which memory line was found. */
	struct atomic_word_terms terms;
	int line;       /* ours; -1: none in this lease epoch */
	uint64_t total; /* in it */
	bool unsettled; /* an answer was lost: what was sent may still be carried out */
};

static rmem_addr_t owner_of(const struct rmem_counter *c, unsigned line)
{
	return c->addr + line * sizeof(struct line) + offsetof(struct line, owner);
}

static rmem_addr_t total_of(const struct rmem_counter *c, unsigned line)
{
	return c->addr + line * sizeof(struct line) + offsetof(struct line, total);
}

static int look(struct rmem_counter *c, struct errinfo *errinfo)
{
	int rc = rmem_read(c->rm, c->lines, c->addr, c->nlines * sizeof(*c->lines));

	return rc ? errinfo_set(errinfo, rc, "%s", rmem_errmsg()) : 0;
}

/* ---- a line of one's own ---- */

/* May the line be had? 1, 0, or an error. */
static int may_claim(struct rmem_counter *c, unsigned line, bool of_others, struct errinfo *errinfo)
{
	const uint64_t owner = c->lines[line].owner;
	struct session *s = &c->rm->session;
	bool out = false;
	int rc;

	if (owner == 0 || owner == c->claim)
		return 1;
	if (!of_others || atomic_word_token(owner) == fencing_now(s).fencing_token)
		return 0;
	rc = fencing_ask(
		s, atomic_word_token(owner), clock_boot_ns() + s->timeout_ns, &out, errinfo);
	if (rc == -EINVAL)
		return errinfo_set(errinfo, -EILSEQ,
			"0x%" PRIx64 " at 0x%" PRIx64 " was written by no counter: is it one, and "
			"was it zero at first?",
			owner, owner_of(c, line));
	return rc ? rc : out;
}

/* Make it ours; 1: it is. Its total stays what it is. */
static int claim(struct rmem_counter *c, unsigned line, struct errinfo *errinfo)
{
	const uint64_t owner = c->lines[line].owner;
	struct atomic_word_swap swap;
	int rc;

	if (owner != c->claim) {
		rc = atomic_word_swap(
			c->rm, owner_of(c, line), owner, c->claim, &c->terms, &swap, errinfo);
		c->unsettled |= rc == -EREMOTEIO;
		if (rc)
			return rc;
		if (swap.found != (swap.settled ? c->claim : owner))
			return 0;
	}
	rc = atomic_word_read(c->rm, total_of(c, line), &c->total, errinfo);
	if (rc)
		return rc;
	c->line = (int)line;
	return 1;
}

/* One that nobody has; if there is none, one whose owner is out. */
static int find_line(struct rmem_counter *c, struct errinfo *errinfo)
{
	int rc = look(c, errinfo);

	for (int of_others = 0; rc == 0 && of_others < 2; of_others++)
		for (unsigned i = 0; rc == 0 && i < c->nlines; i++) {
			rc = may_claim(c, i, of_others, errinfo);
			if (rc > 0)
				rc = claim(c, i, errinfo);
		}
	if (rc)
		return rc;
	return errinfo_set(errinfo, -EUSERS, "all %u lines of the counter are in use", c->nlines);
}

/* In the present lease epoch. */
static int have_line(struct rmem_counter *c, struct errinfo *errinfo)
{
	struct fencing_now now = fencing_now(&c->rm->session);

	if (c->terms.lease_epoch != now.number) {
		c->claim = atomic_word_mine(c->rm, &now);
		c->terms.lease_epoch = now.number;
		c->line = -1;
	}
	if (c->line >= 0)
		return 0;
	c->terms.as_of = keys_as_of(&c->rm->session);
	return find_line(c, errinfo);
}

/* ---- adding ---- */

/*
 * In a line of ours nobody else changes the total: this is not ours any more, because somebody wrote over it. If an
 * answer was lost, nothing tells whether what was sent had been carried out before that.
 */
static int lost_line(
	struct rmem_counter *c, const struct atomic_word_swap *swap, struct errinfo *errinfo)
{
	c->line = -1;
	if (!swap->settled)
		return 0;
	return errinfo_set(errinfo, -EREMOTEIO,
		"somebody wrote over the counter's line while the answer was on its way: it may or "
		"may not have been counted");
}

/* 1: done, 0: not, try again. */
static int try_add(struct rmem_counter *c, uint64_t n, struct errinfo *errinfo)
{
	struct atomic_word_swap swap;
	int rc = have_line(c, errinfo);

	if (rc < 0)
		return rc;
	rc = atomic_word_swap(c->rm, total_of(c, (unsigned)c->line), c->total, c->total + n,
		&c->terms, &swap, errinfo);
	c->unsettled |= rc == -EREMOTEIO;
	if (rc == -EREMOTEIO || rc == -ESTALE || rc == -EFAULT)
		c->line = -1; /* its total is to be read again; or it is gone */
	/* The lease epoch is over, or the memory is gone: to look for a line tells what there is now, if anything. */
	if (rc == -ESTALE || rc == -EFAULT)
		return 0;
	if (rc)
		return rc;
	/* The next owner of the line may have added the same. */
	if (swap.settled && fencing_is_over(&c->rm->session, c->terms.lease_epoch))
		return errinfo_set(errinfo, -EREMOTEIO,
			"the lease ended while the answer was on its way: it may or may not have "
			"been counted");
	if (swap.found == (swap.settled ? c->total + n : c->total)) {
		c->total += n;
		return 1;
	}
	/* Its answer was lost, and it was not done. */
	if (swap.found == c->total)
		return 0;
	return lost_line(c, &swap, errinfo);
}

static int add(struct rmem_counter *c, uint64_t n, struct errinfo *errinfo)
{
	int rc = 0;

	if (c->unsettled) {
		rc = atomic_word_settle(c->rm, errinfo);
		c->unsettled = rc != 0;
	}
	for (int tries = 0; rc == 0 && tries < TRIES; tries++)
		rc = try_add(c, n, errinfo);
	if (rc == 0)
		rc = errinfo_set(errinfo, -ETIMEDOUT, "the counter's line changes again and again");
	return rc > 0 ? 0 : rc;
}

RMEM_API int rmem_counter_add(struct rmem_counter *c, uint64_t n)
{
	struct errinfo errinfo = { "" };
	int rc = c ? call_enter(c->rm, &errinfo)
		   : errinfo_set(&errinfo, -EINVAL, "the counter is NULL");

	if (rc == 0 && n) {
		pthread_mutex_lock(&c->lock);
		rc = add(c, n, &errinfo);
		pthread_mutex_unlock(&c->lock);
	}
	return call_done(rc, "rmem_counter_add", &errinfo);
}

/* ---- the sum ---- */

static int sum(struct rmem_counter *c, uint64_t *out, struct errinfo *errinfo)
{
	uint64_t total;
	int rc = look(c, errinfo);

	*out = 0;
	for (unsigned i = 0; rc == 0 && i < c->nlines; i++) {
		if (!c->lines[i].owner && !c->lines[i].total)
			continue;
		rc = atomic_word_read(c->rm, total_of(c, i), &total, errinfo);
		*out += rc ? 0 : total;
	}
	return rc;
}

RMEM_API int rmem_counter_get(struct rmem_counter *c, uint64_t *out)
{
	struct errinfo errinfo = { "" };
	uint64_t value = 0;
	int rc = c ? call_enter(c->rm, &errinfo)
		   : errinfo_set(&errinfo, -EINVAL, "the counter is NULL");

	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0) {
		pthread_mutex_lock(&c->lock);
		rc = sum(c, &value, &errinfo);
		pthread_mutex_unlock(&c->lock);
	}
	if (rc == 0)
		*out = value;
	return call_done(rc, "rmem_counter_get", &errinfo);
}

/* ---- handles ---- */

static int make(struct rmem *rm, rmem_addr_t addr, unsigned lines, struct rmem_counter **out)
{
	struct heap *heap = rm->session.heap;
	struct rmem_counter *c = heap_alloc(heap, sizeof(*c));

	if (c)
		c->lines = heap_alloc(heap, lines * sizeof(*c->lines));
	if (!c || !c->lines) {
		heap_free(heap, c, sizeof(*c));
		return -ENOMEM;
	}
	pthread_mutex_init(&c->lock, NULL);
	c->rm = rm;
	c->addr = addr;
	c->nlines = lines;
	c->line = -1;
	*out = c;
	return 0;
}

RMEM_API int rmem_counter_create(
	struct rmem *rm, rmem_addr_t addr, unsigned lines, struct rmem_counter **out)
{
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = atomic_word_check_addr(addr, &errinfo);
	if (rc == 0 && (lines == 0 || lines > LINES_MAX))
		rc = errinfo_set(
			&errinfo, -EINVAL, "%u lines: 1 to %d can be had", lines, LINES_MAX);
	if (rc == 0)
		rc = make(rm, addr, lines, out);
	return call_done(rc, "rmem_counter_create", &errinfo);
}

RMEM_API void rmem_counter_destroy(struct rmem_counter *c)
{
	struct atomic_word_swap swap;
	struct errinfo errinfo;
	struct heap *heap;

	if (!c)
		return;
	if (call_enter(c->rm, &errinfo)) /* in a child, which may take no lock of the parent's */
		return;
	/* The line is for others; if this does not work, they find out when the session is over. */
	if (c->line >= 0)
		(void)atomic_word_swap(c->rm, owner_of(c, (unsigned)c->line), c->claim, 0,
			&c->terms, &swap, &errinfo);
	heap = c->rm->session.heap;
	pthread_mutex_destroy(&c->lock);
	heap_free(heap, c->lines, c->nlines * sizeof(*c->lines));
	heap_free(heap, c, sizeof(*c));
}
