/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/rooms.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/identity.h"
#include "server/grant/teardown.h"
#include "server/net/connection.h"
#include "server/rpc/dispatch.h"
#include "tests/sim/chance.h"
#include "tests/sim/host.h"
#include "tests/sim/link.h"
#include "tests/sim/timer.h"
#include "tests/sim/trace.h"
#include "tests/sim/wipers.h"

/* These are server/server.c's. */
#define TICKS_PER_TTL 20
#define TICK_MAX_MS 500
#define JUDGE_EVERY_NS (1 * NSEC_PER_SEC)

struct rooms rooms;

static char directory[64], files[80];
static bool served; /* the last server had started when it ended */
static bool
	in_doubt; /* a segment was being made when it was killed: nothing proves that it is zero */
static void *heartbeat_page; /* the process's memory, not a file: made once, for all servers */

static const struct net_events events = {
	.message = rpc_dispatch,
	.invalidated = access_invalidated,
};

/* ---- files ---- */

void rooms_make_directory(void)
{
	snprintf(directory, sizeof(directory), "/dev/shm/rmem-sim-XXXXXX");
	if (!mkdtemp(directory)) {
		perror("no directory in /dev/shm");
		exit(77);
	}
	snprintf(files, sizeof(files), "%s/pool", directory);
	heartbeat_page = mmap(NULL, HEARTBEAT_PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void remove_files(void)
{
	DIR *list = opendir(files);
	const struct dirent *entry;

	while (list && (entry = readdir(list)) != NULL)
		unlinkat(dirfd(list), entry->d_name, 0);
	if (list)
		closedir(list);
	rmdir(files);
}

void rooms_remove_directory(void)
{
	remove_files();
	rmdir(directory);
}

void rooms_begin(void)
{
	remove_files();
	memset(&rooms, 0, sizeof(rooms));
	served = in_doubt = false;
}

/* ---- start ---- */

static void connect_rooms(struct rooms *r)
{
	r->work = (struct work){ .event = NULL };
	r->net = (struct net){ .work = &r->work, .events = &events, .context = &r->rpc };
	r->leases = (struct leases){ .options = &r->options, .net = &r->net, .pool = &r->pool };
	r->reclaim =
		(struct reclaim){ .leases = &r->leases, .access = &r->access, .work = &r->work };
	r->reaper = (struct reaper){ .net = &r->net,
		.pool = &r->pool,
		.access = &r->access,
		.reclaim = &r->reclaim,
		.work = &r->work };
	r->rpc = (struct rpc){ .options = &r->options,
		.pool = &r->pool,
		.access = &r->access,
		.leases = &r->leases,
		.reclaim = &r->reclaim,
		.work = &r->work };
	r->net.devices[0].protection = r->protection;
	r->net.devices[0].node = 1;
	r->net.devices[0].probe.write_to_read_only = PROBE_REFUSED;
	r->net.ndevices = 1;
}

static int open_sessions(struct rooms *r)
{
	int err = sessions_open(&r->leases.records, r->data.tables, DATADIR_SESSIONS);
	const struct allocation *a;
	uint32_t cursor = 0;

	while (!err && (a = ledger_next(r->pool.ledger, &cursor)) != NULL)
		sessions_expect(r->leases.records, a->session, a->session_serial);
	if (!err)
		sessions_tell(r->leases.records, r->pool.ledger);
	return err;
}

static int open_tables(struct rooms *r)
{
	struct timeline_clocks clocks = { .boot_ns = clock_boot_ns() };
	int err = open_sessions(r);

	if (!err)
		err = sites_open(&r->sites, r->data.tables, DATADIR_SITES, r->pool.ledger);
	if (!err)
		err = history_open(&r->history, r->data.tables, DATADIR_HISTORY);
	if (err)
		return err;
	history_reserve_serials(r->history, r->leases.records);
	clocks.real_ns = timeline_beginning_ns(
		r->leases.records, r->pool.ledger, r->history, clock_real_ns());
	identity_boot(clocks.boot_id, &clocks.boot_clock);
	err = timeline_open(&r->leases.timeline, r->data.tables, DATADIR_TIME, &clocks);
	r->leases.sessions = calloc(SESSIONS_MAX, sizeof(*r->leases.sessions));
	r->leases.heartbeat_page = heartbeat_page;
	r->rpc.sites = r->sites;
	r->rpc.freed = frees_create();
	if (!r->rpc.freed)
		return -ENOMEM;
	r->pool.emptied = session_emptied;
	r->pool.context = &r->leases;
	r->reclaim.history = r->history;
	r->reclaim.sites = r->sites;
	r->leases.sites = r->sites;
	sessions_limit(r->leases.records, r->options.max_sessions);
	ledger_set_quotas(r->pool.ledger, &r->options.quotas);
	return err;
}

static void start_tick(struct rooms *r)
{
	struct leases *l = &r->leases;
	uint64_t ms = r->options.ttl_ms / TICKS_PER_TTL, now_ns = clock_boot_ns();

	ms = ms > TICK_MAX_MS ? TICK_MAX_MS : ms;
	l->terms = (struct lease_terms){ .ttl_ns = r->options.ttl_ms * NSEC_PER_MSEC,
		.courtesy_ns = r->options.courtesy_ms * NSEC_PER_MSEC };
	heart_start(&l->heart, ms * NSEC_PER_MSEC);
	stall_guard_start(
		&l->stall_guard, ms * NSEC_PER_MSEC, now_ns, heart_ran_ns(l->heart, now_ns));
	r->tick_ns = ms * NSEC_PER_MSEC;
	r->next_tick_ns = now_ns + r->tick_ns;
	r->judged_ns = 0;
}

static void start(void *arg)
{
	struct rooms *r = arg;
	struct errinfo errinfo = { "" };
	int err;

	connect_rooms(r);
	err = datadir_open(&r->data, files, 7471, &errinfo);
	if (!err)
		err = pool_open(&r->pool, &r->data, &r->sizes, NULL, &errinfo);
	trace_require(!err, "the server does not start: %s", errinfo.text);
	r->pool.part_bytes = r->part_bytes;
	trace_require(!served || in_doubt || !r->pool.unproven_bytes,
		"memory is wiped that was in no doubt");
	err = open_tables(r);
	if (!err)
		err = access_open(&r->access, &r->pool, &r->work);
	if (!err)
		err = reaper_start(&r->reaper, NULL);
	trace_require(!err, "the server does not start: %s", strerror(-err));
	r->leases.started_boot_ns = clock_boot_ns();
	sessions_recover(&r->leases);
	start_tick(r);
	pool_settle(&r->pool);
	sessions_settle(r->leases.records);
	work_wake(&r->work);
	in_doubt = false;
	r->open = true;
}

bool rooms_start(void)
{
	return rooms_do(start, &rooms);
}

/* ---- life ---- */

/* The memory of the process is gone, and all that its device had; clients are told by their devices. */
static void bury(void)
{
	served = rooms.open;
	rooms.open = false;
	rooms.killed++;
	timer_forget();
	wipers_server_died();
	links_server_died();
}

bool rooms_do(void (*act)(void *arg), void *arg)
{
	if (host_run(act, arg))
		return true;
	trace("the server is killed at a store");
	bury();
	return false;
}

void rooms_kill(void)
{
	trace("the server is killed");
	host_kill();
	bury();
}

void rooms_tick(void)
{
	struct rooms *r = &rooms;
	uint64_t now_ns = clock_boot_ns();

	r->next_tick_ns = now_ns + r->tick_ns;
	session_tick_all(&r->leases, now_ns);
	connections_drop_idle(&r->net, now_ns);
	sessions_drop_leaving(&r->leases, now_ns);
	if (now_ns - r->judged_ns >= JUDGE_EVERY_NS) {
		r->judged_ns = now_ns;
		session_check_liveness(&r->leases);
	}
	timeline_keep(r->leases.timeline, now_ns);
	reaper_tick(&r->reaper, timeline_at(r->leases.timeline, now_ns));
}

/* ---- another size ---- */

#define NODE_SEGMENTS_MAX 3

struct resizing {
	unsigned node;
	uint64_t bytes;
};

static uint64_t *size_of_node(unsigned node)
{
	for (size_t i = 0; i < rooms.sizes.count; i++) {
		if (rooms.sizes.nodes[i].node == node)
			return &rooms.sizes.nodes[i].bytes;
	}
	return NULL;
}

static void grow(void *arg)
{
	const struct resizing *r = arg;
	struct arena_config config = {
		.data_dir = rooms.data.arenas, .node = r->node, .bytes = r->bytes
	};
	struct errinfo errinfo = { "" };
	struct segment *s;
	int err = pool_make_segment(&rooms.pool, &config, &s, &errinfo);

	if (!err)
		err = pool_prove_segment(&rooms.pool, s);
	if (!err)
		err = pool_add_segment(&rooms.pool, s, NULL, &errinfo);
	trace_require(!err, "no segment more: %s", errinfo.text);
	work_wake(&rooms.work);
}

static void shrink(void *arg)
{
	struct segment *s = arg;

	pool_drop_segment(&rooms.pool, &rooms.data, s->number, s->node);
	segment_close(s);
}

void rooms_resize(unsigned node, bool larger)
{
	struct resizing r = { .node = node, .bytes = (1 + chance_below(8)) * 4096 };
	struct segment *s, *empty = NULL;
	unsigned cursor = 0, n = 0;
	uint64_t *size = size_of_node(node), bytes;

	if (!size)
		return;
	while ((s = pool_next_segment(&rooms.pool, &cursor)) != NULL) {
		if (s->node == node && ++n > 1 && buddy_free_bytes(s->buddy) == s->arena.bytes)
			empty = s;
	}
	if (larger && n < NODE_SEGMENTS_MAX) {
		/* First, so that the next start takes it however far this one gets. */
		*size += r.bytes;
		trace("node %u gets another segment", node);
		in_doubt = !rooms_do(grow, &r);
	} else if (!larger && empty) {
		bytes = empty->arena.bytes;
		trace("node %u loses segment %u", node, empty->number);
		if (rooms_do(shrink, empty))
			*size -= bytes;
	}
}

/* ---- stop ---- */

static void stop(void *arg)
{
	struct rooms *r = &rooms;

	connections_abort_all(&r->net);
	teardown_all(&r->net);
	reaper_stop(&r->reaper);
	heart_stop(r->leases.heart);
	pool_wipe_all(&r->pool);
	if (ledger_count(r->pool.ledger) == 0) {
		*(bool *)arg = true;
		datadir_remove_files(&r->data, r->pool.id, history_news(r->history) > 0);
	}
	links_close_zombies();
	sessions_end(&r->leases);
	pool_close(&r->pool);
	timeline_close(r->leases.timeline);
	sites_close(r->sites);
	frees_destroy(r->rpc.freed);
	history_close(r->history);
	sessions_close(r->leases.records);
	access_close(&r->access);
	datadir_close(&r->data);
}

bool rooms_stop(bool *out_forgot_all)
{
	size_t forgotten;

	*out_forgot_all = false;
	if (!rooms_do(stop, out_forgot_all))
		return false;
	forgotten = host_end();
	trace_require(
		!forgotten, "the server ended and forgot to free %zu pieces of memory", forgotten);
	bury();
	return true;
}
