/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening a pool. The order ensures that no old bytes are lent, even if a start fails or is killed at any point:
 *
 *  1. examine the directory (origin.h): all files belong to one pool, or there are none
 *  2. mark the tables with the pool's id, create the ledger, then the arenas: an arena without a ledger has lost its
 *     ledger
 *  3. reserve the blocks that the ledger lists; wipe all other memory that is not proven zero
 *  4. mark the ledger with this run, then store the arenas' proofs for this run. Without both, the next start repeats
 *     step 3. A ledger without a run means that no memory was ever lent
 */
#include "server/memory/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/denial.h"
#include "common/log.h"
#include "common/units.h"
#include "server/base/crew.h"
#include "server/memory/origin.h"
#include "server/memory/proof.h"

#define LEDGER_MAX (16U << 20)
/* Records for a pool that becomes so many times as large before the next start. Unused ones take no memory. */
#define LEDGER_GROWTH 4
#define LEDGER_MIN (64U << 10)
#define WIPE_SLICE_BYTES (64 * MIB)
#define REJECTED_LOGGED_MAX 8 /* records logged one by one */

/* ---- tables ---- */

static int random_number(uint64_t *out, struct errinfo *errinfo)
{
	do {
		if (getrandom(out, sizeof(*out), 0) != sizeof(*out))
			return errinfo_set(errinfo, -EIO, "no random number for the pool: %s",
				strerror(errno));
	} while (*out == 0);
	return 0;
}

/* Mark the tables that have no header yet: this pool, no run. */
static int mark_tables(const struct pool *p, const struct datadir *data, struct errinfo *errinfo)
{
	static const char *const names[] = { DATADIR_POOL, DATADIR_LEDGER, DATADIR_SESSIONS,
		DATADIR_SITES };
	const struct table_mark mark = { .pool = p->id };
	int err = 0;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]) && !err; i++) {
		struct table_facts facts;

		if (table_look(data->tables, names[i], &facts) == 0)
			continue;
		err = table_mark(data->tables, names[i], &mark);
		if (err)
			return datadir_fail(data, names[i], err, errinfo);
	}
	return 0;
}

static int open_ledger(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct origin *origin, struct errinfo *errinfo)
{
	uint64_t records = LEDGER_GROWTH * (sizes_total(sizes) / BLOCK_MIN_BYTES);
	int err;

	records = records > LEDGER_MIN ? records : LEDGER_MIN;
	records = records > origin->ledger_count ? records : origin->ledger_count;
	err = ledger_open(&p->ledger, data->tables, DATADIR_LEDGER,
		records < LEDGER_MAX ? (uint32_t)records : LEDGER_MAX);
	if (err)
		return datadir_fail(data, DATADIR_LEDGER, err, errinfo);
	p->rejected = ledger_rejected(p->ledger);
	return pool_open_wiping(p, errinfo);
}

static int open_tables(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	struct origin *origin, struct errinfo *errinfo)
{
	int err = 0;

	p->fresh = origin->run == 0;
	if (p->fresh && origin->pool) {
		/* Left by an unfinished start; nothing was ever lent. */
		datadir_remove_files(data, origin->pool, true);
		*origin = (struct origin){ .pool = 0 };
	}
	p->id = origin->pool;
	if (p->fresh)
		err = random_number(&p->id, errinfo);
	if (!err)
		err = mark_tables(p, data, errinfo);
	if (err)
		return err;
	err = proof_open(&p->proofs, data->tables, DATADIR_POOL);
	if (err)
		return datadir_fail(data, DATADIR_POOL, err, errinfo);
	return open_ledger(p, data, sizes, origin, errinfo);
}

/* ---- segments ---- */

static int open_segment(struct pool *p, const struct arena_config *config, struct errinfo *errinfo)
{
	struct segment *s;
	int err = segment_open(&s, config, errinfo);

	if (!err)
		err = pool_add_segment(p, s, config->topology, errinfo);
	return err;
}

/* The first of a node. */
static int make_segment(struct pool *p, const struct datadir *data, struct arena_config *config,
	struct errinfo *errinfo)
{
	struct segment *s;
	int err = pool_make_segment(p, config, &s, errinfo);

	if (err)
		return err;
	err = pool_add_segment(p, s, config->topology, errinfo);
	if (err) {
		pool_drop_segment(p, data, s->number, s->node);
		segment_close(s);
	}
	return err;
}

/* Those of earlier runs, and the first one of each node that has none. */
static int open_segments(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct origin *origin, const struct topology *topology, struct errinfo *errinfo)
{
	struct arena_config config = {
		.data_dir = data->arenas, .pool = p->id, .topology = topology
	};
	int err = 0;

	for (unsigned i = 0; i < SEGMENTS_MAX && !err; i++) {
		config.segment = i;
		config.node = origin->segments[i].node;
		config.bytes = origin->segments[i].bytes;
		if (config.bytes)
			err = open_segment(p, &config, errinfo);
		else
			proof_drop(&p->proofs, i); /* announced by a start that was killed */
	}
	for (size_t i = 0; i < sizes->count && !err; i++) {
		config.node = sizes->nodes[i].node;
		config.bytes = sizes->nodes[i].bytes;
		if (config.bytes > POOL_FIRST_BYTES)
			config.bytes = POOL_FIRST_BYTES;
		if (!origin->bytes[config.node])
			err = make_segment(p, data, &config, errinfo);
	}
	return err;
}

/* All of them: a list, and its length. */
static unsigned list_segments(const struct pool *p, struct segment *out[SEGMENTS_MAX])
{
	unsigned cursor = 0, n = 0;
	struct segment *s;

	while ((s = pool_next_segment(p, &cursor)) != NULL)
		out[n++] = s;
	return n;
}

/* ---- blocks ---- */

/* Reserve the block of a record that an earlier run left. */
static int recover(struct pool *p, const struct allocation *a, struct errinfo *errinfo)
{
	struct segment *s = pool_find_segment(p, a->addr);

	if (s && s->arena.created)
		return errinfo_set(errinfo, -ENOENT,
			"the ledger lists an allocation at 0x%" PRIx64
			", but the arena of node %u is missing: put it back; or use another --data "
			"and --port",
			a->addr, s->node);
	if (!s || s->node != allocation_node(a) ||
		buddy_reserve(s->buddy, addr_offset(a->addr), allocation_block_bytes(a)))
		return errinfo_set(errinfo, -EUCLEAN,
			"the ledger lists an allocation at 0x%" PRIx64
			" that does not fit these arenas: it was kept with others, which have to "
			"be put back beside it; or use another --data and --port",
			a->addr);
	if (a->state != ALLOCATION_LIVE)
		/* The old process's NIC objects are gone: no revocation to confirm. */
		pool_quarantine(p, a);
	return 0;
}

static int recover_all(struct pool *p, struct errinfo *errinfo)
{
	const struct allocation *a;
	uint32_t cursor = 0;
	int err = 0;

	while (!err && (a = ledger_next(p->ledger, &cursor)) != NULL)
		err = recover(p, a, errinfo);
	return err;
}

static void log_rejected(const struct pool *p)
{
	const struct allocation *a;
	uint32_t cursor = 0, n = 0;

	while (n++ < REJECTED_LOGGED_MAX && (a = ledger_next_rejected(p->ledger, &cursor)) != NULL)
		log_error("record %u of the ledger is damaged and left out; it says: %s, %" PRIu64
			  " bytes at 0x%" PRIx64 " of session %u, allocation %" PRIu64,
			ledger_slot(p->ledger, a), allocation_state_name(a->state), a->bytes,
			a->addr, a->session, a->serial);
	if (p->rejected)
		log_error("%u damaged records of the ledger are left out. Whose memory that was "
			  "nobody can say: all memory that no other record lists is wiped now, "
			  "before any of it is lent",
			p->rejected);
}

/* Free memory of a segment that is to be wiped at the start. */
struct gaps {
	const struct pool *pool;
	struct segment *segment;
	struct progress *progress;
	uint64_t wiped_bytes;
};

static int wipe_gap(struct gaps *g, uint64_t begin, uint64_t end, struct errinfo *errinfo)
{
	while (begin < end) {
		uint64_t now = end - begin < WIPE_SLICE_BYTES ? end - begin : WIPE_SLICE_BYTES;

		arena_wipe(&g->segment->arena, begin, now);
		begin += now;
		g->wiped_bytes += now;
		if (!progress_add(g->progress, now))
			return errinfo_set(errinfo, -ECANCELED,
				"stopped while free memory of node %u was being wiped",
				g->segment->node);
	}
	return 0;
}

static int by_offset(const void *left, const void *right)
{
	const struct allocation *l = *(const struct allocation *const *)left;
	const struct allocation *r = *(const struct allocation *const *)right;

	return l->addr < r->addr ? -1 : l->addr > r->addr;
}

/* Wipe all memory of a segment that the ledger does not list. A thread: only reads the ledger. */
static int wipe_gaps(void *item, struct errinfo *errinfo)
{
	struct gaps *g = item;
	const struct ledger *ledger = g->pool->ledger;
	const struct allocation *a,
		**list = calloc((size_t)ledger_count(ledger) + 1, sizeof(const void *));
	uint32_t cursor = 0, n = 0;
	uint64_t from = 0;
	int err = 0;

	if (!list)
		return errinfo_set(errinfo, -ENOMEM, "no memory to find what is to be wiped");
	while ((a = ledger_next(ledger, &cursor)) != NULL) {
		if (addr_segment(a->addr) == g->segment->number)
			list[n++] = a;
	}
	qsort(list, n, sizeof(*list), by_offset);
	for (uint32_t i = 0; i < n && !err; i++) {
		err = wipe_gap(g, from, addr_offset(list[i]->addr), errinfo);
		from = addr_offset(list[i]->addr) + allocation_block_bytes(list[i]);
	}
	if (!err)
		err = wipe_gap(g, from, g->segment->arena.bytes, errinfo);
	free(list);
	return err;
}

_Static_assert(sizeof(struct ledger_seal) == TABLE_EXTRA_WORDS * sizeof(uint64_t), "it fits");

static struct ledger_seal *seal_of(struct pool *p)
{
	return (struct ledger_seal *)table_extra(&p->proofs);
}

static bool is_clean(struct pool *p, const struct segment *s, uint64_t run)
{
	const struct proof_subject of = { s->arena.fd, ledger_inode(p->ledger), run };

	return s->arena.created || (!p->rejected && ledger_matches(p->ledger, seal_of(p)) &&
					   proof_holds(&p->proofs, s->number, &of));
}

/* Wipe what is not proven to be zero, in all segments at the same time. */
static int clean(struct pool *p, uint64_t run, struct errinfo *errinfo)
{
	struct progress progress;
	const struct crew crew = { .work = wipe_gaps, .watch = progress_watch, .arg = &progress };
	struct gaps gaps[SEGMENTS_MAX];
	void *list[SEGMENTS_MAX];
	uint64_t total_bytes = 0;
	unsigned cursor = 0, n = 0;
	char bytes[UNITS_TEXT_SIZE];
	int err;

	for (struct segment *s; (s = pool_next_segment(p, &cursor)) != NULL;) {
		if (is_clean(p, s, run))
			continue;
		gaps[n] = (struct gaps){ .pool = p, .segment = s, .progress = &progress };
		list[n] = &gaps[n];
		n++;
		total_bytes += buddy_free_bytes(s->buddy);
	}
	if (!n)
		return 0;
	if (!p->rejected)
		log_warn("nothing proves that free memory is zero (files were copied, restored or "
			 "left by an earlier version, or a start was killed): wiping %s",
			units_format_bytes(total_bytes, bytes, sizeof(bytes)));
	progress_begin(&progress, "wiped", total_bytes);
	err = crew_run(&crew, list, n, errinfo);
	progress_end(&progress);
	for (unsigned i = 0; i < n; i++)
		p->unproven_bytes += gaps[i].wiped_bytes;
	return err;
}

/* Start a new run: from now on ledger and proofs together prove that free memory is zero. */
static int prove(struct pool *p, const struct datadir *data, struct errinfo *errinfo)
{
	struct table_mark mark = { .pool = p->id };
	unsigned cursor = 0;
	int err = random_number(&mark.run, errinfo);

	if (err)
		return err;
	err = table_mark(data->tables, DATADIR_LEDGER, &mark);
	if (err)
		return datadir_fail(data, DATADIR_LEDGER, err, errinfo);
	/* The old proofs are void now, so the seal may match again. */
	ledger_keep_seal(p->ledger, seal_of(p));
	p->run = mark.run;
	for (struct segment *s; !err && (s = pool_next_segment(p, &cursor)) != NULL;)
		err = pool_prove_segment(p, s);
	return err ? datadir_fail(data, DATADIR_POOL, err, errinfo) : 0;
}

static int open_all(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct topology *topology, struct errinfo *errinfo)
{
	struct segment *list[SEGMENTS_MAX];
	struct origin origin;
	uint64_t run;
	int err = origin_read(&origin, data, errinfo);

	if (!err)
		err = origin_check_sizes(&origin, sizes, errinfo);
	if (!err)
		err = open_tables(p, data, sizes, &origin, errinfo);
	if (err)
		return err;
	run = origin.run;
	err = open_segments(p, data, sizes, &origin, topology, errinfo);
	if (!err)
		err = segments_populate(list, list_segments(p, list), topology, errinfo);
	if (!err)
		err = recover_all(p, errinfo);
	if (err)
		return err;
	log_rejected(p);
	err = clean(p, run, errinfo);
	return err ? err : prove(p, data, errinfo);
}

int pool_open(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct topology *topology, struct errinfo *errinfo)
{
	int err;

	memset(p, 0, sizeof(*p));
	p->part_bytes = PART_MAX_BYTES;
	p->topology = topology;
	err = open_all(p, data, sizes, topology, errinfo);
	if (err) {
		pool_undo(p, data);
		pool_close(p);
	}
	return err;
}

void pool_settle(struct pool *p)
{
	ledger_drop_rejected(p->ledger);
	table_adopt(&p->proofs);
}

void pool_undo(struct pool *p, const struct datadir *data)
{
	unsigned cursor = 0;

	if (p->fresh && p->id)
		datadir_remove_files(data, p->id, true);
	for (struct segment *s; !p->fresh && (s = pool_next_segment(p, &cursor)) != NULL;) {
		if (!s->arena.created)
			continue;
		pool_drop_segment(p, data, s->number, s->node);
		segment_close(s);
	}
}
