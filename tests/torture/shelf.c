/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/shelf.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "rmem/objects.h"
#include "tests/support/random.h"
#include "tests/torture/bound.h"
#include "tests/torture/client.h"
#include "tests/torture/heart.h"

#define ATTACHED 4
#define LATEST 16U  /* of the slots, from which one is chosen */
#define LOCK_UNIT 1 /* words of a shared allocation: the lock, and the counter under it */
#define TURN_UNIT 2
#define LOCK_WAIT_MS 300

/* What this process has attached. bytes 0: nothing. */
static struct attached {
	struct claim claim;
	struct board_slot *slot;
	rmem_addr_t addr;
	unsigned units;
	bool lost;
	struct rmem_lock *lock;
	bool lock_unsure; /* a release was not answered: it may be held */
} attached[ATTACHED];

/* ---- owners ---- */

struct board_slot *shelf_claim(void)
{
	unsigned i = atomic_fetch_add(&board->nslots, 1);

	if (i >= BOARD_SLOTS) {
		atomic_store(&board->nslots, BOARD_SLOTS);
		return NULL;
	}
	return &board->slots[i];
}

void shelf_publish(struct block *b)
{
	struct board_slot *s = b->slot;
	int rc;

	s->addr = b->addr;
	s->bytes = b->bytes;
	s->owner = me.owner;
	s->gen = b->gen;
	rc = TIMED(CALL_SHARE, bound_control(), rmem_share(me.rm, b->addr, &s->key));
	if (rc == 0)
		atomic_store(&s->open, true);
	block_result(b, CALL_SHARE, rc, b->state == BLOCK_LOST);
}

void shelf_withdraw(struct block *b)
{
	if (b->slot)
		atomic_store(&b->slot->open, false);
}

/* ---- the others ---- */

static void complain(const struct attached *a, enum board_event e, enum board_call call, int rc,
	const char *errinfo)
{
	board_complain(e, e == EVENT_WRONG_BYTES ? 8 : 1, a->addr, a->slot->bytes,
		"%s: %s on attached owner %u gen %u at 0x%" PRIx64 " returned %s: %s (%s)",
		e == EVENT_WRONG_BYTES ? "WRONG BYTES" : "WRONG RESULT", board_call_name(call),
		a->slot->owner, a->slot->gen, a->addr, rc < 0 ? strerrorname_np(-rc) : "0", errinfo,
		rmem_errmsg());
}

/* The result of a call on what is attached. */
static void note_result(struct attached *a, enum board_call call, int rc, bool was_lost)
{
	if (was_lost && rc >= 0)
		complain(a, EVENT_WRONG_RESULT, call, rc, "the allocation had ended before");
	if (rc == -ESTALE && !a->lost) {
		board_event(EVENT_PEER_LOST, 1);
		a->lost = true;
	}
	if (rc == -EINVAL || rc == -EILSEQ || rc == -EDEADLK || (rc == -EFAULT && !a->lost))
		complain(a, EVENT_WRONG_RESULT, call, rc, "no such result of what is attached");
}

static void attach(struct worker *w)
{
	unsigned n = atomic_load(&board->nslots),
		 back = 1 + (unsigned)random_below(&w->seed, LATEST);
	struct attached *a = NULL;
	struct board_slot *s;
	size_t bytes = 0;
	int rc;

	for (int i = 0; i < ATTACHED; i++) {
		if (!attached[i].slot)
			a = &attached[i];
		else if (back <= n && attached[i].slot == &board->slots[n - back])
			return;
	}
	if (!a || back > n)
		return;
	s = &board->slots[n - back];
	if (!atomic_load(&s->open) || s->owner == me.owner)
		return;
	rc = TIMED(CALL_ATTACH, bound_control(), rmem_attach(me.rm, s->addr, &s->key, &bytes));
	board_note("attach", me.owner, s->gen, 0, s->addr, s->bytes, rc);
	if (rc)
		return;
	*a = (struct attached){ .slot = s, .addr = s->addr, .units = (unsigned)(s->bytes / 8) };
	a->claim = (struct claim){
		.addr = s->addr, .bytes = s->bytes, .what = "attached", .gen = s->gen
	};
	claims_add(&a->claim);
	if (bytes != s->bytes)
		complain(a, EVENT_WRONG_RESULT, CALL_ATTACH, 0, "another size");
	rc = rmem_lock_create(me.rm, a->addr + LOCK_UNIT * 8UL, &a->lock);
	if (rc)
		complain(a, EVENT_WRONG_RESULT, CALL_LOCK_ACQUIRE, rc, "it could not be created");
}

static void detach(struct attached *a)
{
	int rc = 0;

	if (a->lock)
		TIMED(CALL_LOCK_DESTROY, bound_copy(), (rmem_lock_destroy(a->lock), 0));
	a->lock = NULL;
	a->lock_unsure = false;
	claims_ending(&a->claim);
	rc = TIMED(CALL_DETACH, bound_control(), rmem_detach(me.rm, a->addr));
	board_note("detach", me.owner, a->slot->gen, 0, a->addr, a->slot->bytes, rc);
	/* After any error it is not used either. */
	claims_remove(&a->claim);
	a->slot = NULL;
}

static void read_attached(struct worker *w, struct attached *a)
{
	const struct block_books t = { a->addr, a->slot->owner, a->slot->gen, a->slot->hi };
	unsigned n = 1 + (unsigned)random_below(&w->seed, a->units - BLOCK_HEAD), wrong = 0,
		 first = 0;
	unsigned unit =
		BLOCK_HEAD + (unsigned)random_below(&w->seed, a->units - BLOCK_HEAD - n + 1);
	bool was_lost = a->lost;
	uint16_t lo[BOARD_UNITS];
	int rc;

	for (unsigned i = 0; i < n; i++)
		lo[i] = atomic_load(&a->slot->lo[unit + i]);
	memset(w->words, 0xee, n * 8UL);
	rc = TIMED(
		CALL_READ, bound_copy(), rmem_read(me.rm, w->words, a->addr + unit * 8UL, n * 8UL));
	w->calls.done += rc == 0;
	note_result(a, CALL_READ, rc, was_lost);
	if (rc)
		return;
	for (unsigned i = 0; i < n; i++)
		if (!block_word_right(&t, unit + i, lo[i], w->words[i]) && !wrong++)
			first = i;
	board_event(EVENT_PEER_BYTES, n * 8ULL);
	if (wrong)
		block_complain_word(
			&t, unit + first, lo[first], w->words[first], wrong, "by another process");
}

static void add_attached(struct attached *a)
{
	struct board_slot *s = a->slot;
	bool was_lost = a->lost;
	uint64_t old = 0;
	uint32_t before;
	int rc;

	atomic_fetch_add(&s->adds_started, 1);
	before = atomic_load(&s->adds_done);
	rc = TIMED(CALL_FETCH_ADD, bound_copy(), rmem_fetch_add(me.rm, a->addr, 1, &old));
	board_note("peer's add", me.owner, s->gen, (unsigned)old, a->addr, 8, rc);
	if (rc == 0) {
		atomic_fetch_add(&s->adds_done, 1);
		board_event(EVENT_PEER_ADDS, 1);
		if (old < before || old >= atomic_load(&s->adds_started))
			complain(a, EVENT_WRONG_BYTES, CALL_FETCH_ADD, 0, "a count that cannot be");
	} else if (rc != -EREMOTEIO) {
		atomic_fetch_sub(&s->adds_started, 1);
	}
	note_result(a, CALL_FETCH_ADD, rc, was_lost);
}

static void release(struct attached *a)
{
	int rc = TIMED(CALL_LOCK_RELEASE, bound_copy(), rmem_lock_release(a->lock));

	/* -EINVAL: an earlier try did it, and was not answered. */
	a->lock_unsure = rc && rc != -ESTALE && !(rc == -EINVAL && a->lock_unsure);
	if (rc == -ESTALE)
		board_event(EVENT_LOCK_LOST, 1);
	else if (rc != -EINVAL || a->lock_unsure)
		note_result(a, CALL_LOCK_RELEASE, rc, false);
}

/* With the lock: nobody else adds, so reading and writing back will do. */
static void turn(struct worker *w, struct attached *a)
{
	rmem_addr_t addr = a->addr + TURN_UNIT * 8UL;
	struct board_slot *s = a->slot;
	bool was_lost = a->lost;
	uint32_t before = atomic_load(&s->turns_done);
	uint64_t word = 0;
	int rc;

	atomic_fetch_add(&s->turns_started, 1);
	rc = TIMED(CALL_READ, bound_copy(), rmem_read(me.rm, &word, addr, 8));
	note_result(a, CALL_READ, rc, was_lost);
	if (rc == 0 && (word < before || word >= atomic_load(&s->turns_started)))
		complain(a, EVENT_WRONG_BYTES, CALL_READ, 0, "the count under the lock cannot be");
	word++;
	if (rc == 0) {
		was_lost = a->lost;
		rc = TIMED(CALL_WRITE, bound_copy(), rmem_write(me.rm, addr, &word, 8));
		note_result(a, CALL_WRITE, rc, was_lost);
		board_note("turn", me.owner, s->gen, (unsigned)word, addr, 8, rc);
		if (rc == 0)
			atomic_fetch_add(&s->turns_done, 1);
	}
	w->calls.done += rc == 0;
	board_event(EVENT_LOCKED, 1);
}

static void take_turn(struct worker *w, struct attached *a)
{
	bool was_lost = a->lost;
	int rc;

	if (!a->lock)
		return;
	rc = TIMED(CALL_LOCK_ACQUIRE, LOCK_WAIT_MS + 2 * bound_copy(),
		rmem_lock_acquire(a->lock, LOCK_WAIT_MS));
	note_result(a, CALL_LOCK_ACQUIRE, rc, was_lost);
	a->lock_unsure = rc == -EREMOTEIO;
	if (rc < 0)
		return;
	board_event(EVENT_LOCK_INHERITED, rc == RMEM_LOCK_OWNER_DIED);
	turn(w, a);
	release(a);
}

void shelf_step(struct worker *w)
{
	struct attached *a = &attached[random_below(&w->seed, ATTACHED)];
	unsigned chance = (unsigned)random_below(&w->seed, 100);

	/* Until a lost lock is released, all threads of the session get -EOWNERDEAD. */
	for (int i = 0; i < ATTACHED; i++) {
		if (attached[i].slot && attached[i].lock_unsure) {
			release(&attached[i]);
			return;
		}
	}
	for (int i = 0; i < 8 && !a->slot; i++)
		attach(w);
	if (!a->slot)
		return;
	if (chance < 40)
		read_attached(w, a);
	else if (chance < 65)
		add_attached(a);
	else if (chance < 92)
		take_turn(w, a);
	else
		detach(a);
}

void shelf_leave(struct worker *w)
{
	for (int i = 0; i < ATTACHED && w->number == 0; i++)
		if (attached[i].slot)
			detach(&attached[i]);
}
