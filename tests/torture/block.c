/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/block.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/torture/client.h"
#include "tests/torture/tag.h"

struct block *block_create(rmem_addr_t addr, uint64_t bytes, unsigned gen, struct board_slot *slot)
{
	struct block *b = calloc(1, sizeof(*b));
	unsigned units = (unsigned)(bytes / 8);

	if (!b)
		return NULL;
	b->lo = slot ? slot->lo : calloc(units, sizeof(*b->lo));
	b->hi = slot ? slot->hi : calloc(units, sizeof(*b->hi));
	if (!b->lo || !b->hi) {
		block_destroy(b);
		return NULL;
	}
	b->adds_started = slot ? &slot->adds_started : &b->adds[0];
	b->adds_done = slot ? &slot->adds_done : &b->adds[1];
	b->claim = (struct claim){ .addr = addr, .bytes = bytes, .what = "allocation", .gen = gen };
	b->addr = addr;
	b->bytes = bytes;
	b->units = units;
	b->gen = gen;
	b->slot = slot;
	return b;
}

void block_destroy(struct block *b)
{
	if (!b)
		return;
	if (!b->slot) {
		free(b->lo);
		free(b->hi);
	}
	free(b);
}

unsigned block_start_write(struct block *b, unsigned unit, unsigned n, uint64_t *tags)
{
	unsigned seq = ++b->seq;

	for (unsigned i = 0; i < n; i++) {
		atomic_store(&b->hi[unit + i], (uint16_t)seq);
		tags[i] = tag_make(me.owner, b->gen, seq, unit + i);
	}
	return seq;
}

static bool haunted_by_other(struct block *b, const struct lane *lane)
{
	if (b->haunted)
		return true;
	if (b->haunt && b->haunt->done > b->haunt_done)
		b->haunt = NULL; /* something came through behind what had failed */
	return b->haunt && b->haunt != lane;
}

void block_end_write(
	struct block *b, unsigned unit, unsigned n, unsigned seq, const struct lane *lane, int rc)
{
	if (rc) {
		board_event(EVENT_UNCERTAIN, 1);
		if (haunted_by_other(b, lane))
			b->haunted = true;
		b->haunt = lane;
		b->haunt_done = lane->done;
		return;
	}
	board_event(EVENT_WRITTEN_BYTES, n * 8ULL);
	if (haunted_by_other(b, lane))
		return;
	for (unsigned i = 0; i < n; i++)
		if (atomic_load(&b->lo[unit + i]) < seq)
			atomic_store(&b->lo[unit + i], (uint16_t)seq);
}

bool block_word_right(const struct block_books *t, unsigned unit, unsigned lo, uint64_t word)
{
	unsigned seq = tag_seq(word);

	if (word == 0)
		return lo == 0;
	if (tag_owner(word) != t->owner || tag_gen(word) != t->gen || tag_unit(word) != unit ||
		seq == 0)
		return false;
	return seq >= lo && seq <= atomic_load(&t->hi[unit]);
}

void block_complain_word(const struct block_books *t, unsigned unit, unsigned lo, uint64_t word,
	unsigned nwrong, const char *how)
{
	board_complain(EVENT_WRONG_BYTES, nwrong * 8ULL, t->addr + unit * 8ULL, 8,
		"WRONG BYTES: %u words of owner %u gen %u at 0x%" PRIx64
		" (%s); the first is word %u: 0x%016" PRIx64
		" (owner %u gen %u seq %u unit %u), expected seq %u to %u",
		nwrong, t->owner, t->gen, t->addr, how, unit, word, tag_owner(word), tag_gen(word),
		tag_seq(word), tag_unit(word), lo, atomic_load(&t->hi[unit]));
}

static bool head_right(const struct block *b, unsigned unit, uint64_t word)
{
	if (b->slot)
		return true; /* others add there, and lock */
	if (unit)
		return word == 0;
	return word >= atomic_load(b->adds_done) && word <= atomic_load(b->adds_started);
}

void block_check(struct block *b, unsigned unit, unsigned n, const uint64_t *words, bool overtaken,
	const char *how)
{
	const struct block_books t = { b->addr, me.owner, b->gen, b->hi };
	unsigned wrong = 0, first = 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned u = unit + i;

		if (u < BLOCK_HEAD ? head_right(b, u, words[i])
				   : block_word_right(&t, u, overtaken ? 0 : atomic_load(&b->lo[u]),
					     words[i]))
			continue;
		if (!wrong++)
			first = i;
	}
	board_event(EVENT_CHECKED_BYTES, n * 8ULL);
	if (wrong)
		block_complain_word(&t, unit + first, atomic_load(&b->lo[unit + first]),
			words[first], wrong, how);
}

uint32_t block_start_add(struct block *b)
{
	atomic_fetch_add(b->adds_started, 1);
	return atomic_load(b->adds_done);
}

void block_end_add(struct block *b, int rc, uint32_t done_before, uint64_t old)
{
	if (rc == -EREMOTEIO) {
		board_event(EVENT_UNCERTAIN_ADDS, 1);
		return;
	}
	if (rc) {
		atomic_fetch_sub(
			b->adds_started, 1); /* the header's word: it was not carried out */
		return;
	}
	atomic_fetch_add(b->adds_done, 1);
	if (old < done_before || old >= atomic_load(b->adds_started))
		board_complain(EVENT_WRONG_BYTES, 8, b->addr, 8,
			"WRONG BYTES: fetch_add on owner %u gen %u at 0x%" PRIx64 " found %" PRIu64
			", but %u were done before, and %u started",
			me.owner, b->gen, b->addr, old, done_before, atomic_load(b->adds_started));
}

static bool may_be(enum board_call call, int rc)
{
	switch (rc) {
	case 0:
	case -ESTALE:
	case -ETIMEDOUT:
	case -ECONNRESET:
	case -EOWNERDEAD: /* threads of one session have locks */
		return true;
	case -EREMOTEIO:
		return call == CALL_FETCH_ADD || call == CALL_QUEUED_ADD;
	default:
		return false;
	}
}

static void complain_result(
	const struct block *b, enum board_call call, int rc, const char *errinfo)
{
	board_complain(EVENT_WRONG_RESULT, 1, b->addr, b->bytes,
		"WRONG RESULT: %s of owner %u gen %u at 0x%" PRIx64 "+%" PRIu64
		" returned %s: %s (%s)",
		board_call_name(call), me.owner, b->gen, b->addr, b->bytes,
		rc ? strerrorname_np(-rc) : "0", errinfo, rmem_errmsg());
}

void block_result(struct block *b, enum board_call call, int rc, bool was_lost)
{
	if (was_lost) {
		if (rc == 0)
			complain_result(b, call, rc, "the allocation was lost before");
		else
			board_event(EVENT_LOST_REFUSED, 1);
		return;
	}
	if (b->state == BLOCK_FREED) { /* a queue's: freed meanwhile */
		board_event(rc ? EVENT_FREED_REFUSED : EVENT_FREED_DONE, 1);
		if (!may_be(call, rc) && rc != -EFAULT)
			complain_result(b, call, rc, "no such result of what was freed");
		return;
	}
	if (!may_be(call, rc) && !(rc == -EFAULT && b->state != BLOCK_LIVE))
		complain_result(b, call, rc, "no such result of what is allocated");
	if (rc == -ESTALE && b->state == BLOCK_LIVE) {
		board_note("lost", me.owner, b->gen, b->seq, b->addr, b->bytes, rc);
		board_event(EVENT_LOST, 1);
		b->state = BLOCK_LOST;
	}
}
