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
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/denial.h"
#include "common/log.h"
#include "common/units.h"
#include "server/memory/origin.h"
#include "server/memory/proof.h"
#include "server/memory/quarantine.h"

#define LEDGER_MAX (16U << 20)
#define PROGRESS_NS (2 * NSEC_PER_SEC)
#define WIPE_SLICE_BYTES (64 * MIB)
#define REJECTED_LOGGED_MAX 8 /* records logged one by one */

struct progress {
	unsigned node;
	const char *doing;
	uint64_t said_ns;
};

/* Log progress every PROGRESS_NS. false: a stop signal is pending. */
static bool report_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	struct progress *progress = arg;
	char done[UNITS_TEXT_SIZE], total[UNITS_TEXT_SIZE];
	uint64_t now_ns = clock_boot_ns();
	sigset_t pending;

	/* Both signals stay blocked until the event loop runs (server_start()). */
	sigpending(&pending);
	if (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT))
		return false;
	if (now_ns - progress->said_ns < PROGRESS_NS)
		return true;
	progress->said_ns = now_ns;
	log_info("node %u: %s of %s of memory %s", progress->node,
		units_format_bytes(done_bytes, done, sizeof(done)),
		units_format_bytes(total_bytes, total, sizeof(total)), progress->doing);
	return true;
}

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
	uint64_t pages = sizes_total(sizes) / BLOCK_MIN_BYTES;
	int err;

	pages = pages > origin->ledger_count ? pages : origin->ledger_count;
	err = ledger_open(&p->ledger, data->tables, DATADIR_LEDGER,
		pages < LEDGER_MAX ? (uint32_t)pages : LEDGER_MAX);
	if (err)
		return datadir_fail(data, DATADIR_LEDGER, err, errinfo);
	p->rejected = ledger_rejected(p->ledger);
	return quarantine_open(p, errinfo);
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

/* ---- arenas ---- */

static int open_node(struct pool *p, const struct sizes_node *size, const struct datadir *data,
	const struct topology *topology, struct errinfo *errinfo)
{
	struct pool_node *n = &p->nodes[p->nnodes];
	struct progress progress = {
		.node = size->node, .doing = "made ready", .said_ns = clock_boot_ns()
	};
	const struct arena_config config = { .data_dir = data->arenas,
		.node = size->node,
		.pool = p->id,
		.bytes = size->bytes,
		.topology = topology,
		.progress = report_progress,
		.progress_arg = &progress };
	int err;

	memset(n, 0, sizeof(*n));
	n->node = size->node;
	err = arena_open(&n->arena, &config, errinfo);
	if (err)
		return err;
	p->nnodes++;
	err = buddy_create(size->bytes, &n->buddy);
	if (err)
		return errinfo_set(errinfo, err,
			"node %u: no memory for the allocator's own tables", size->node);
	return quarantine_open_node(p, n, topology, errinfo);
}

static int open_nodes(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct origin *origin, const struct topology *topology, struct errinfo *errinfo)
{
	int err = 0;

	for (size_t i = 0; i < sizes->count && !err; i++) {
		const struct sizes_node *size = &sizes->nodes[i];
		bool there = origin->bytes[size->node] != 0;

		if (!there)
			proof_announce(&p->proofs, size->node, size->bytes);
		err = open_node(p, size, data, topology, errinfo);
		if (err && !there)
			proof_drop(&p->proofs, size->node);
	}
	return err;
}

/* ---- blocks ---- */

/* Reserve the block of a record that an earlier run left. */
static int recover(struct pool *p, const struct allocation *a, struct errinfo *errinfo)
{
	struct pool_node *n = pool_find_node(p, addr_node(a->addr));

	if (n && n->arena.created)
		return errinfo_set(errinfo, -ENOENT,
			"the ledger lists an allocation at 0x%" PRIx64
			", but the arena of node %u is missing: put it back; or use another --data "
			"and --port",
			a->addr, n->node);
	if (!n || buddy_reserve(n->buddy, addr_offset(a->addr), allocation_block_bytes(a)))
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

struct gaps {
	struct pool_node *node;
	struct progress progress;
	uint64_t wiped_bytes, total_bytes;
};

static int wipe_gap(struct gaps *g, uint64_t begin, uint64_t end, struct errinfo *errinfo)
{
	while (begin < end) {
		uint64_t now = end - begin < WIPE_SLICE_BYTES ? end - begin : WIPE_SLICE_BYTES;

		arena_wipe(&g->node->arena, begin, now);
		begin += now;
		g->wiped_bytes += now;
		if (!report_progress(&g->progress, g->wiped_bytes, g->total_bytes))
			return errinfo_set(errinfo, -ECANCELED,
				"stopped while free memory of node %u was being wiped",
				g->node->node);
	}
	return 0;
}

static int by_offset(const void *left, const void *right)
{
	const struct allocation *l = *(const struct allocation *const *)left;
	const struct allocation *r = *(const struct allocation *const *)right;

	return l->addr < r->addr ? -1 : l->addr > r->addr;
}

/* Wipe all memory of a node that the ledger does not list. */
static int wipe_gaps(struct pool *p, struct gaps *g, struct errinfo *errinfo)
{
	const struct allocation *a,
		**list = calloc((size_t)ledger_count(p->ledger) + 1, sizeof(const void *));
	uint32_t cursor = 0, n = 0;
	uint64_t from = 0;
	int err = 0;

	if (!list)
		return errinfo_set(errinfo, -ENOMEM, "no memory to find what is to be wiped");
	while ((a = ledger_next(p->ledger, &cursor)) != NULL) {
		if (addr_node(a->addr) == g->node->node)
			list[n++] = a;
	}
	qsort(list, n, sizeof(*list), by_offset);
	for (uint32_t i = 0; i < n && !err; i++) {
		err = wipe_gap(g, from, addr_offset(list[i]->addr), errinfo);
		from = addr_offset(list[i]->addr) + allocation_block_bytes(list[i]);
	}
	if (!err)
		err = wipe_gap(g, from, g->node->arena.bytes, errinfo);
	free(list);
	return err;
}

static struct proof_subject subject(const struct pool *p, const struct pool_node *n, uint64_t run)
{
	return (struct proof_subject){ n->arena.fd, ledger_inode(p->ledger), run };
}

_Static_assert(sizeof(struct ledger_seal) == TABLE_EXTRA_WORDS * sizeof(uint64_t), "it fits");

static struct ledger_seal *seal_of(struct pool *p)
{
	return (struct ledger_seal *)table_extra(&p->proofs);
}

static int clean_node(struct pool *p, struct pool_node *n, uint64_t run, struct errinfo *errinfo)
{
	const struct proof_subject of = subject(p, n, run);
	struct gaps gaps = { .node = n,
		.progress = { .node = n->node, .doing = "wiped", .said_ns = clock_boot_ns() },
		.total_bytes = buddy_free_bytes(n->buddy) };
	char bytes[UNITS_TEXT_SIZE];
	int err;

	if (n->arena.created || (!p->rejected && ledger_matches(p->ledger, seal_of(p)) &&
					proof_holds(&p->proofs, n->node, &of)))
		return 0;
	if (!p->rejected)
		log_warn("node %u: nothing proves that its free memory is zero (its files were "
			 "copied, restored or left by an earlier version, or a start was killed): "
			 "wiping %s",
			n->node, units_format_bytes(gaps.total_bytes, bytes, sizeof(bytes)));
	err = wipe_gaps(p, &gaps, errinfo);
	p->unproven_bytes += gaps.wiped_bytes;
	return err;
}

/* Start a new run: from now on ledger and proofs together prove that free memory is zero. */
static int prove(struct pool *p, const struct datadir *data, struct errinfo *errinfo)
{
	struct table_mark mark = { .pool = p->id };
	int err = random_number(&mark.run, errinfo);

	if (err)
		return err;
	err = table_mark(data->tables, DATADIR_LEDGER, &mark);
	if (err)
		return datadir_fail(data, DATADIR_LEDGER, err, errinfo);
	/* The old proofs are void now, so the seal may match again. */
	ledger_keep_seal(p->ledger, seal_of(p));
	for (unsigned i = 0; i < p->nnodes && !err; i++) {
		const struct proof_subject of = subject(p, &p->nodes[i], mark.run);

		err = proof_give(&p->proofs, p->nodes[i].node, &of);
	}
	return err ? datadir_fail(data, DATADIR_POOL, err, errinfo) : 0;
}

static int open_all(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct topology *topology, struct errinfo *errinfo)
{
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
	err = open_nodes(p, data, sizes, &origin, topology, errinfo);
	if (!err)
		err = recover_all(p, errinfo);
	if (err)
		return err;
	log_rejected(p);
	for (unsigned i = 0; i < p->nnodes && !err; i++)
		err = clean_node(p, &p->nodes[i], run, errinfo);
	return err ? err : prove(p, data, errinfo);
}

int pool_open(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct topology *topology, struct errinfo *errinfo)
{
	int err;

	memset(p, 0, sizeof(*p));
	p->block_max = BLOCK_MAX_BYTES;
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

/* Drop a proof before removing its arena: a proof without an arena means that the arena was lost. */
void pool_undo(struct pool *p, const struct datadir *data)
{
	if (p->fresh && p->id)
		datadir_remove_files(data, p->id, true);
	for (unsigned i = 0; i < p->nnodes && !p->fresh; i++) {
		if (!p->nodes[i].arena.created)
			continue;
		proof_drop(&p->proofs, p->nodes[i].node);
		(void)arena_remove(data->arenas, p->nodes[i].node, p->id);
	}
}
