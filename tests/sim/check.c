/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/check.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "tests/sim/fairness.h"
#include "tests/sim/link.h"
#include "tests/sim/model.h"
#include "tests/sim/moment.h"
#include "tests/sim/rooms.h"
#include "tests/sim/trace.h"
#include "tests/sim/window.h"

#define NODE_PAGES_MAX 256
#define ANSWER_WITHIN_NS (10 * NSEC_PER_SEC)

static unsigned killed; /* servers, when everything was looked at last */

/* ---- bytes ---- */

/* What is free is zero. */
static void check_zero(const struct segment *s, const bool listed[NODE_PAGES_MAX])
{
	static const char zero[PAGE_BYTES];

	for (uint64_t i = 0; i < s->arena.bytes / PAGE_BYTES; i++)
		trace_require(
			listed[i] || memcmp(s->arena.base + i * PAGE_BYTES, zero, PAGE_BYTES) == 0,
			"segment %u: page %" PRIu64 " is free and not zero", s->number, i);
}

/* Allocator and ledger have every byte, once. */
static void check_segment(const struct segment *s, bool bytes)
{
	bool listed[NODE_PAGES_MAX] = { false };
	const struct allocation *a;
	uint64_t sum = 0;
	uint32_t cursor = 0;

	while ((a = ledger_next(rooms.pool.ledger, &cursor)) != NULL) {
		const uint64_t first = addr_offset(a->addr) / PAGE_BYTES;

		if (addr_segment(a->addr) != s->number)
			continue;
		sum += allocation_block_bytes(a);
		for (uint64_t i = 0; i < allocation_block_bytes(a) / PAGE_BYTES; i++) {
			trace_require(!listed[first + i],
				"segment %u: page %" PRIu64 " is lent twice", s->number, first + i);
			listed[first + i] = true;
		}
	}
	trace_require(sum + buddy_free_bytes(s->buddy) == s->arena.bytes,
		"segment %u: %" PRIu64 " bytes are listed, %" PRIu64
		" are free, there are %" PRIu64,
		s->number, sum, buddy_free_bytes(s->buddy), s->arena.bytes);
	if (bytes)
		check_zero(s, listed);
}

/* Does a COPY or FILL go on that writes to it? */
static bool is_moving(const struct block *b)
{
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		const struct request *q = &links[i].question;

		if (links[i].asked &&
			((q->type == MESSAGE_COPY && q->copy.dst.serial == b->serial) ||
				(q->type == MESSAGE_FILL && q->fill.dst.serial == b->serial)))
			return true;
	}
	return false;
}

/* Nobody but those who may has written there. What a COPY or FILL has moved so far is taken as it is. */
static void check_contents(void)
{
	struct block *b;

	for (unsigned i = 0; (b = model_block_at(i)) != NULL; i++) {
		for (uint64_t page = 0;
			b->state == BLOCK_LENT && page < b->block_bytes / PAGE_BYTES; page++) {
			uint64_t word;

			memcpy(&word, model_memory(b) + page * PAGE_BYTES, sizeof(word));
			if (b->moving >> page & 1)
				b->words[page] = word;
			trace_require(word == b->words[page],
				"allocation %" PRIu64 ": page %" PRIu64 " is not what was written",
				b->serial, page);
		}
		if (!is_moving(b))
			b->moving = 0;
	}
}

/* ---- keys and connections ---- */

static void check_windows(void)
{
	for (struct window *w = NULL; (w = window_next(w)) != NULL;) {
		const struct allocation *a = ledger_find_containing(rooms.pool.ledger, w->addr);

		if (!w->bound || !w->serial)
			continue;
		trace_require(a && a->serial == w->serial && a->state != ALLOCATION_QUARANTINE,
			"a key of allocation %" PRIu64 " works, and it has ended", w->serial);
		trace_require(w->link->c, "a key of link %u works without its queue pair",
			w->link->number);
	}
}

static void check_links(void)
{
	unsigned connections = 0, channels = 0;

	for (unsigned i = 0; i < LINKS_MAX; i++) {
		const struct link *link = &links[i];
		const bool zombie = link->c && link->c->list == &rooms.net.zombies;

		trace_require(
			!link->asked || moment_ran_ns() - link->asked_ran_ns < ANSWER_WITHIN_NS,
			"link %u: %s is not answered", i, message_name(link->question.type));
		if (!link->c)
			continue;
		connections +=
			link->purpose != PURPOSE_CHANNEL && link->c->state == CONNECTION_OPEN;
		channels += link->purpose == PURPOSE_CHANNEL && !zombie;
		trace_require(link->c->state == CONNECTION_OPEN || zombie ||
				      moment_ran_ns() - link->closing_ran_ns < ANSWER_WITHIN_NS,
			"link %u: it is not torn down", i);
		trace_require(!link->owner || link->c->state != CONNECTION_OPEN ||
				      !owner_lease_is_over(link->owner),
			"link %u: its lease is over, and it is connected", i);
	}
	trace_require(connections == rooms.net.nconnections && channels == rooms.net.nchannels,
		"%u connections and %u channels, counted %u and %u", connections, channels,
		rooms.net.nconnections, rooms.net.nchannels);
}

/* ---- counters ---- */

static void check_counters(void)
{
	unsigned revoking = 0, quarantine = 0;
	const struct allocation *a;
	uint32_t cursor = 0;

	while ((a = ledger_next(rooms.pool.ledger, &cursor)) != NULL) {
		revoking += a->state == ALLOCATION_REVOKING;
		quarantine += a->state == ALLOCATION_QUARANTINE;
	}
	trace_require(revoking == rooms.access.nrevoking, "%u blocks are revoked, counted %u",
		revoking, rooms.access.nrevoking);
	trace_require(quarantine == rooms.pool.nquarantined, "%u blocks are wiped, counted %u",
		quarantine, rooms.pool.nquarantined);
}

/* A server that was killed may have written it down when it was true, and its successor gives everybody a fresh lease. */
static void check_dead(struct owner *o)
{
	trace_require(o->called_dead || killed != rooms.killed || !owner_lease_lasts(o) ||
			      !owner_is_alive(o),
		"session %u is called dead, and lives", o->number);
	o->called_dead = true;
}

static const struct session_record *record_of(const struct owner *o)
{
	uint32_t slot;

	return sessions_find(rooms.leases.records, o->id, &slot)
		       ? NULL
		       : sessions_get(rooms.leases.records, slot);
}

void check_before_beats(void)
{
	struct owner *o;

	for (unsigned i = 0; (o = model_owner_at(i)) != NULL; i++) {
		const struct session_record *r = record_of(o);

		o->journaled_ns = r ? session_journaled_ns(r) : 0;
	}
}

void check_beat(const struct owner *o, uint64_t beat)
{
	const struct session_record *r = record_of(o);
	const uint64_t journaled_ns = r ? session_journaled_ns(r) : 0;

	if (beat & HEARTBEAT_JOURNALED)
		trace_require(
			journaled_ns <= r->seen_ns && journaled_ns + NSEC_PER_SEC > r->seen_ns,
			"session %u said that its journal is complete, and the server missed it",
			o->number);
	else
		trace_require(journaled_ns == o->journaled_ns,
			"session %u did not say that its journal is complete", o->number);
}

/* Those that the server has forgotten: they were over, and held nothing. */
static void check_forgotten(void)
{
	const struct block *b;
	struct owner *o;
	uint32_t slot;

	for (unsigned i = 0; (o = model_owner_at(i)) != NULL; i++) {
		if (o->lost || o->gone || sessions_find(rooms.leases.records, o->id, &slot) == 0)
			continue;
		trace_require(o->leaving || o->called_dead || killed != rooms.killed ||
				      !owner_lease_lasts(o) || !owner_is_alive(o),
			"session %u is forgotten, and its lease lasts", o->number);
		o->gone = true;
		for (unsigned j = 0; (b = model_block_at(j)) != NULL; j++)
			trace_require(b->owner != o, "session %u is forgotten, and has memory",
				o->number);
	}
}

static void check_sessions(void)
{
	const struct session_record *r;
	uint32_t cursor = 0, slot;

	while ((r = sessions_next(rooms.leases.records, &cursor, &slot)) != NULL) {
		const struct session *s = &rooms.leases.sessions[slot];
		struct owner *o = model_owner(r->id);
		unsigned n = 0, nchannels = 0;

		for (unsigned i = 0; i < LINKS_MAX; i++) {
			const struct connection *c = links[i].c;
			const bool its = c && c->grantee == &s->grantee;

			n += its && c->list != &rooms.net.zombies;
			nchannels +=
				its && c->purpose == PURPOSE_CHANNEL && c->state == CONNECTION_OPEN;
		}
		trace_require(s->used && n == s->nconnections && nchannels == s->nchannels,
			"session in slot %u: %u connections, %u channels, counted %u and %u", slot,
			n, nchannels, s->nconnections, s->nchannels);
		trace_require(!o || s->lease.state < LEASE_EXPIRED || !owner_lease_lasts(o),
			"the lease of session %u is called over, and lasts", o ? o->number : 0);
		if (o && r->state == SESSION_DEAD)
			check_dead(o);
	}
}

void check_begin(void)
{
	killed = 0;
}

/* Each allocation was a hit or a miss, and each miss was foreign to another node. */
static void check_numastat(void)
{
	uint64_t lent = 0, missed = 0, foreign = 0;

	for (unsigned node = 0; node < ADDR_MAX_NODES; node++) {
		const struct numastat *s = &rooms.pool.stats[node];

		lent += s->numa_hit + s->numa_miss;
		missed += s->numa_miss;
		foreign += s->numa_foreign;
		trace_require(s->local_node + s->other_node == s->numa_hit + s->numa_miss,
			"node %u: allocations are neither local nor not", node);
	}
	trace_require(lent == rooms.rpc.allocs && missed == foreign,
		"%" PRIu64 " allocations, %" PRIu64 " hits and misses, %" PRIu64
		" of them misses, %" PRIu64 " foreign",
		rooms.rpc.allocs, lent, missed, foreign);
}

void check_all(bool bytes)
{
	unsigned cursor = 0;
	const struct segment *s;

	model_sync();
	model_adopt();
	while ((s = pool_next_segment(&rooms.pool, &cursor)) != NULL)
		check_segment(s, bytes);
	check_numastat();
	if (bytes)
		check_contents();
	check_windows();
	check_links();
	check_counters();
	check_forgotten();
	check_sessions();
	fairness_check();
	killed = rooms.killed;
}

bool check_is_stuck(void)
{
	return rooms.net.zombies != NULL;
}

void check_empty(void)
{
	check_all(true);
	trace_require(!rooms.net.connections && !rooms.net.controls && !rooms.net.dying,
		"connections are left");
	trace_require(!rooms.reclaim.room && !rooms.access.ending, "somebody waits for ever");
	if (check_is_stuck())
		return;
	trace_require(ledger_count(rooms.pool.ledger) == 0, "%u allocations are left",
		ledger_count(rooms.pool.ledger));
	trace_require(sessions_count(rooms.leases.records) == 0, "%u sessions are left",
		sessions_count(rooms.leases.records));
	for (struct window *w = NULL; (w = window_next(w)) != NULL;)
		trace_fail("a window of link %u is left", w->link ? w->link->number : 0);
}
