/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"
#include "rmem/rmem.h"

#define LEDGER_MAX (16U << 20)
#define LEDGER_NAME "ledger"
#define SERVER_NUMBER 0
#define PROGRESS_NS (2 * NSEC_PER_SEC)

struct progress {
	unsigned node;
	uint64_t said_ns;
};

struct pool_node *pool_find_node(struct pool *p, unsigned node)
{
	for (unsigned i = 0; i < p->nnodes; i++) {
		if (p->nodes[i].node == node)
			return &p->nodes[i];
	}
	return NULL;
}

/* Long work says how far it is, every few seconds, and ends when we are told to stop. */
static bool report_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
	struct progress *progress = arg;
	char done[UNITS_TEXT_SIZE], total[UNITS_TEXT_SIZE];
	uint64_t now_ns = clock_boot_ns();
	sigset_t pending;

	/* They are blocked until the loop takes them (server_start()). */
	sigpending(&pending);
	if (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT))
		return false;
	if (now_ns - progress->said_ns < PROGRESS_NS)
		return true;
	progress->said_ns = now_ns;
	log_info("node %u: %s of %s of memory made ready", progress->node,
		units_format_bytes(done_bytes, done, sizeof(done)),
		units_format_bytes(total_bytes, total, sizeof(total)));
	return true;
}

static int open_node(struct pool *p, const struct sizes_node *size, int data_dir,
	const struct topology *topology, struct why *why)
{
	struct pool_node *n = &p->nodes[p->nnodes];
	struct progress progress = { .node = size->node, .said_ns = clock_boot_ns() };
	const struct arena_config config = { .data_dir = data_dir,
		.node = size->node,
		.bytes = size->bytes,
		.topology = topology,
		.progress = report_progress,
		.progress_arg = &progress };
	int err;

	memset(n, 0, sizeof(*n));
	n->node = size->node;
	err = arena_open(&n->arena, &config, why);
	if (err)
		return err;
	p->nnodes++;
	err = buddy_create(size->bytes, &n->buddy);
	if (err)
		return why_set(
			why, err, "node %u: no memory for the allocator's own tables", size->node);
	return 0;
}

static void queue_wipe(struct pool *p, const struct allocation *a)
{
	uint32_t max = ledger_max(p->ledger);

	p->wipe_queue[(p->wipe_head + p->wipe_count++) % max] = ledger_slot(p->ledger, a);
}

/* One record of an earlier run of rmemd: its block is taken again. */
static int recover(struct pool *p, const struct allocation *a, struct why *why)
{
	struct pool_node *n = pool_find_node(p, addr_node(a->addr));

	if (!n || buddy_reserve(n->buddy, addr_offset(a->addr), allocation_block_bytes(a)))
		return why_set(why, -EUCLEAN,
			"the ledger lists an allocation at 0x%" PRIx64
			" that does not fit these arenas: start with the --size of the last run, "
			"or remove the data directory to give up its contents",
			a->addr);
	if (a->state == ALLOCATION_LIVE)
		return 0;
	/* The process whose NIC objects could reach it is gone: nothing is left to confirm. */
	if (a->state == ALLOCATION_REVOKING || a->state == ALLOCATION_ZOMBIE)
		ledger_set_state(p->ledger, a, ALLOCATION_QUARANTINE);
	queue_wipe(p, a);
	return 0;
}

static int open_ledger(struct pool *p, int tables_dir, struct why *why)
{
	uint64_t pages = 0;
	int err;

	for (unsigned i = 0; i < p->nnodes; i++)
		pages += p->nodes[i].arena.bytes / BUDDY_MIN_BYTES;
	err = ledger_open(&p->ledger, tables_dir, LEDGER_NAME,
		pages < LEDGER_MAX ? (uint32_t)pages : LEDGER_MAX);
	if (err == -EBUSY)
		return why_set(why, err,
			"another rmemd is using this data directory: give this one a --port of its "
			"own (and with --data, a directory)");
	if (err)
		return why_set(why, err,
			"the ledger in the data directory cannot be used (%s): it is of another "
			"version or size; remove the directory to give up its contents",
			strerror(-err));
	p->wipe_queue = calloc(ledger_max(p->ledger), sizeof(*p->wipe_queue));
	if (!p->wipe_queue)
		return why_set(why, -ENOMEM, "no memory for the wipe queue");
	return 0;
}

/*
 * The ledger's file is made before any arena's, wherever a start is killed. So an arena that is older
 * belongs to another ledger: its bytes are neither free nor zero.
 */
static bool make_ledger_file(int tables_dir)
{
	int fd = openat(tables_dir, LEDGER_NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int check_origin(const struct pool *p, int tables_dir, struct why *why)
{
	for (unsigned i = 0; i < p->nnodes; i++) {
		if (p->nodes[i].arena.created)
			continue;
		unlinkat(tables_dir, LEDGER_NAME, 0);
		return why_set(why, -EEXIST,
			"the memory of node %u in the data directory was lent by an rmemd whose "
			"ledger is not there: start with the --port of that run, or remove the "
			"directory's files (what is lent is then lost)",
			p->nodes[i].node);
	}
	return 0;
}

/* What a start that failed has made holds nothing. */
static void remove_made(struct pool *p, const struct datadir *data)
{
	for (unsigned i = 0; i < p->nnodes; i++) {
		if (p->nodes[i].arena.created)
			arena_remove(data->arenas, p->nodes[i].node);
	}
}

int pool_open(struct pool *p, const struct datadir *data, const struct sizes *sizes,
	const struct topology *topology, struct why *why)
{
	const struct allocation *a;
	uint32_t cursor = 0;
	bool fresh = make_ledger_file(data->tables);
	int err = 0;

	memset(p, 0, sizeof(*p));
	p->block_max = BUDDY_MAX_BYTES;
	for (size_t i = 0; i < sizes->count && !err; i++)
		err = open_node(p, &sizes->nodes[i], data->arenas, topology, why);
	if (!err && fresh)
		err = check_origin(p, data->tables, why);
	if (!err)
		err = open_ledger(p, data->tables, why);
	while (!err && (a = ledger_next(p->ledger, &cursor)))
		err = recover(p, a, why);
	if (err) {
		remove_made(p, data);
		pool_close(p);
	}
	return err;
}

void pool_close(struct pool *p)
{
	for (unsigned i = 0; i < p->nnodes; i++) {
		buddy_destroy(p->nodes[i].buddy);
		arena_close(&p->nodes[i].arena);
	}
	ledger_close(p->ledger);
	free(p->wipe_queue);
	memset(p, 0, sizeof(*p));
}

static struct pool_node *roomiest(struct pool *p)
{
	struct pool_node *best = &p->nodes[0];

	for (unsigned i = 1; i < p->nnodes; i++) {
		if (buddy_free_bytes(p->nodes[i].buddy) > buddy_free_bytes(best->buddy))
			best = &p->nodes[i];
	}
	return best;
}

/* A block of one node, or of any: the roomiest first, then (fragmentation) the others. */
static int take_block(
	struct pool *p, uint64_t bytes, int node, struct pool_node **out, uint64_t *out_offset)
{
	struct pool_node *n =
		node == RMEM_NODE_ANY ? roomiest(p) : pool_find_node(p, (unsigned)node);
	int err;

	if (!n)
		return -EINVAL;
	if (bytes > pool_max_alloc_bytes(p, node))
		return -EFBIG; /* nor if everybody gave back everything: do not try to make room */
	err = buddy_alloc(n->buddy, bytes, out_offset);
	for (unsigned i = 0; err == -ENOSPC && node == RMEM_NODE_ANY && i < p->nnodes; i++) {
		n = &p->nodes[i];
		err = buddy_alloc(n->buddy, bytes, out_offset);
	}
	if (!err)
		*out = n;
	return err;
}

int pool_alloc(struct pool *p, uint64_t bytes, int node, const struct allocation *draft,
	const struct allocation **out)
{
	struct allocation filled = *draft;
	struct pool_node *n;
	uint64_t offset;
	int err;

	err = take_block(p, bytes, node, &n, &offset);
	if (err)
		return err;
	filled.addr = addr_make(SERVER_NUMBER, n->node, offset);
	filled.bytes = bytes;
	filled.order = (uint8_t)__builtin_ctzll(buddy_block_bytes(bytes));
	err = ledger_add(p->ledger, &filled, out);
	if (err) {
		buddy_free(n->buddy, offset, buddy_block_bytes(bytes));
		return err == -ENOSPC ? -EDQUOT : err;
	}
	return 0;
}

/* The record ends before its block can be taken again. */
static void release(struct pool *p, const struct allocation *a)
{
	struct pool_node *n = pool_find_node(p, addr_node(a->addr));
	uint64_t offset = addr_offset(a->addr), block_bytes = allocation_block_bytes(a);
	int err;

	p->releases++;
	ledger_set_state(p->ledger, a, ALLOCATION_FREE);
	err = buddy_free(n->buddy, offset, block_bytes);
	if (err)
		log_error("allocator and ledger disagree about node %u offset 0x%" PRIx64
			  ": please report this",
			n->node, offset);
}

void pool_quarantine(struct pool *p, const struct allocation *a)
{
	ledger_set_state(p->ledger, a, ALLOCATION_QUARANTINE);
	queue_wipe(p, a);
}

bool pool_wipe(struct pool *p, uint64_t budget_bytes)
{
	while (p->wipe_count && budget_bytes) {
		const struct allocation *a = ledger_at(p->ledger, p->wipe_queue[p->wipe_head]);
		struct pool_node *n = pool_find_node(p, addr_node(a->addr));
		uint64_t left = a->bytes - p->wiped_bytes;
		uint64_t now = left < budget_bytes ? left : budget_bytes, cost;

		arena_wipe(&n->arena, addr_offset(a->addr) + p->wiped_bytes, now);
		p->wiped_bytes += now;
		/* A block costs something even if it is small: that bounds their number too. */
		cost = now > BUDDY_MIN_BYTES ? now : BUDDY_MIN_BYTES;
		budget_bytes -= cost < budget_bytes ? cost : budget_bytes;
		if (p->wiped_bytes < a->bytes)
			break;
		release(p, a);
		p->wiped_bytes = 0;
		p->wipe_head = (p->wipe_head + 1) % ledger_max(p->ledger);
		p->wipe_count--;
	}
	return p->wipe_count > 0;
}

void *pool_pointer(struct pool *p, const struct allocation *a)
{
	struct pool_node *n = pool_find_node(p, addr_node(a->addr));

	return n->arena.base + addr_offset(a->addr);
}

uint64_t pool_max_alloc_bytes(const struct pool *p, int node)
{
	uint64_t max = 0;

	for (unsigned i = 0; i < p->nnodes; i++) {
		uint64_t bytes;

		if (node != RMEM_NODE_ANY && p->nodes[i].node != (unsigned)node)
			continue;
		bytes = 1ULL << (63 - __builtin_clzll(p->nodes[i].arena.bytes));

		max = bytes > max ? bytes : max;
	}
	return max < p->block_max ? max : p->block_max;
}
