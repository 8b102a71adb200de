/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/thread.h>
#include <inttypes.h>
#include <rdma/rdma_cma.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/denial.h"
#include "common/identity.h"
#include "common/units.h"
#include "common/verbs.h"
#include "server/admin/admin.h"
#include "server/admin/commands.h"
#include "server/admin/orders.h"
#include "server/audit/auditor.h"
#include "server/net/connection.h"
#include "server/lease/heart.h"
#include "server/memory/limits.h"
#include "server/net/devices.h"
#include "server/net/listener.h"
#include "server/grant/teardown.h"
#include "server/rpc/dispatch.h"
#include "server/memory/origin.h"
#include "server/lease/reaper.h"
#include "server/lease/session.h"

#define TICKS_PER_TTL 20
#define TICK_MAX_MS 500
#define CHECK_EVERY_NS (1 * NSEC_PER_SEC)
#define DESCRIPTORS_MIN 64 /* for devices, files and rmemctl; clients take none */

/* ---- time ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;
	uint64_t now_ns = clock_boot_ns();

	(void)fd;
	(void)what;
	session_tick_all(&s->leases, now_ns);
	connections_drop_idle(&s->net, now_ns);
	sessions_drop_leaving(&s->leases, now_ns);
	if (now_ns - s->checked_ns >= CHECK_EVERY_NS) {
		s->checked_ns = now_ns;
		session_check_liveness(&s->leases);
	}
	timeline_keep(s->leases.timeline, now_ns);
	reaper_tick(&s->reaper, timeline_at(s->leases.timeline, now_ns));
	(void)log_catch_up();
}

static int start_tick(struct server *s)
{
	uint64_t ms = s->options.ttl_ms / TICKS_PER_TTL;
	struct timeval period;
	uint64_t now_ns;
	int err;

	ms = ms > TICK_MAX_MS ? TICK_MAX_MS : ms;
	period = (struct timeval){ .tv_usec = (suseconds_t)(ms * 1000) };
	s->leases.terms = (struct lease_terms){ .ttl_ns = s->options.ttl_ms * NSEC_PER_MSEC,
		.courtesy_ns = s->options.courtesy_ms * NSEC_PER_MSEC };
	err = heart_start(&s->leases.heart, ms * NSEC_PER_MSEC);
	if (err)
		return err;
	now_ns = clock_boot_ns();
	stall_guard_start(&s->leases.stall_guard, ms * NSEC_PER_MSEC, now_ns,
		heart_ran_ns(s->leases.heart, now_ns));
	s->tick_event = event_new(s->base, -1, EV_PERSIST, on_tick, s);
	return s->tick_event && event_add(s->tick_event, &period) == 0 ? 0 : -ENOMEM;
}

/* ---- memory ---- */

/* How many may be open at a time. */
static unsigned all_connections(const struct server *s)
{
	return s->net.max_connections + s->net.max_channels + s->net.max_observers;
}

static int choose_sizes(struct server *s, struct sizes *out, struct errinfo *errinfo)
{
	struct errinfo warning;
	struct limits limits;
	struct origin origin;
	int err = origin_read(&origin, &s->data, errinfo);

	if (!err)
		err = limits_read(s->data.arenas, &limits, errinfo);
	if (err)
		return err;
	if (s->options.size)
		err = sizes_parse(s->options.size, s->topology, limits.page_bytes, out, errinfo);
	else
		err = sizes_default(s->topology, &limits, out, errinfo);
	if (!err)
		err = origin_check_sizes(&origin, out, errinfo);
	if (!err)
		err = limits_check(s->topology, &limits, out, errinfo);
	if (!err)
		err = limits_raise_memlock(&limits, out, all_connections(s), errinfo);
	if (!err && limits_warn_connections(&limits, out, all_connections(s), &warning))
		log_warn("%s", warning.text);
	return err;
}

static int open_timeline(struct server *s)
{
	struct timeline_clocks clocks = { .boot_ns = clock_boot_ns(),
		.real_ns = timeline_beginning_ns(
			s->leases.records, s->pool.ledger, s->history, clock_real_ns()) };

	identity_boot(clocks.boot_id, &clocks.boot_clock);
	return timeline_open(&s->leases.timeline, s->data.tables, DATADIR_TIME, &clocks);
}

static int open_sessions(struct server *s)
{
	int err = sessions_open(&s->leases.records, s->data.tables, DATADIR_SESSIONS);
	const struct allocation *a;
	uint32_t cursor = 0;

	while (!err && (a = ledger_next(s->pool.ledger, &cursor)) != NULL)
		sessions_expect(s->leases.records, a->session, a->session_serial);
	if (!err)
		sessions_tell(s->leases.records, s->pool.ledger);
	return err;
}

static int open_history(struct server *s, struct errinfo *errinfo)
{
	char bytes[UNITS_TEXT_SIZE];
	int err = history_open(&s->history, s->data.tables, DATADIR_HISTORY);

	if (err == -ENOSPC)
		return errinfo_set(errinfo, err,
			"no room for %s/" DATADIR_HISTORY
			": rmemd takes all its %s at the start, so "
			"that what is taken back can always be told. Free that much there, enlarge "
			"the file system (mount -o remount,size=...), or use a smaller --size or "
			"another --data if no memory is lent yet",
			s->data.tables_path,
			units_format_bytes(HISTORY_BYTES, bytes, sizeof(bytes)));
	if (err)
		return datadir_fail(&s->data, DATADIR_HISTORY, err, errinfo);
	history_reserve_serials(s->history, s->leases.records);
	return 0;
}

static int open_tables(struct server *s, struct errinfo *errinfo)
{
	int err = open_sessions(s);

	if (err)
		return datadir_fail(&s->data, DATADIR_SESSIONS, err, errinfo);
	sessions_limit(s->leases.records, s->options.max_sessions);
	err = sites_open(&s->sites, s->data.tables, DATADIR_SITES, s->pool.ledger);
	if (err)
		return datadir_fail(&s->data, DATADIR_SITES, err, errinfo);
	err = open_history(s, errinfo);
	if (err)
		return err;
	err = open_timeline(s);
	if (err)
		return datadir_fail(&s->data, DATADIR_TIME, err, errinfo);
	s->leases.sessions = calloc(SESSIONS_MAX, sizeof(*s->leases.sessions));
	s->leases.heartbeat_page = mmap(NULL, HEARTBEAT_PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!s->leases.sessions || s->leases.heartbeat_page == MAP_FAILED)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	return 0;
}

/* Log how many invalid records were left out. */
static void report_rejected(const struct server *s)
{
	uint32_t sessions = sessions_rejected(s->leases.records), sites = sites_rejected(s->sites);
	uint32_t lines = history_rejected(s->history);

	if (lines)
		log_error("%s/" DATADIR_HISTORY
			  ": %u damaged lines, or a file that was no history, "
			  "are cleared: rmemctl leaks --reclaimed does not tell of them any more",
			s->data.tables_path, lines);

	if (sessions || sites)
		log_error("damaged or lost records in %s: %u sessions (nobody can say whose "
			  "their memory is, and nobody gets it), %u call sites",
			s->data.tables_path, sessions, sites);
}

/* Find every error that shows before a page of the pool is touched. */
static int plan_memory(struct server *s, struct sizes *out, struct errinfo *errinfo)
{
	int err;

	err = topology_load(&s->topology);
	if (err)
		return errinfo_set(
			errinfo, err, "cannot find out about NUMA nodes: %s", strerror(-err));
	/* Check --size first: a wrong one is wrong usage, whatever the state of the directory. */
	if (s->options.size)
		err = sizes_parse(s->options.size, s->topology, BLOCK_MIN_BYTES, out, errinfo);
	if (!err)
		err = datadir_open(&s->data, s->options.data_dir, s->options.port, errinfo);
	if (!err)
		err = choose_sizes(s, out, errinfo);
	return err;
}

/* Which memory is local to whom. */
static void locate_devices(struct server *s)
{
	for (unsigned i = 0; i < s->net.ndevices; i++) {
		struct device *d = &s->net.devices[i];

		d->node = topology_node_of_device(s->topology, device_name(d));
		if (d->node == TOPOLOGY_UNKNOWN)
			log_info("%s: to which NUMA node it is attached is not known",
				device_name(d));
		else
			log_info("%s: attached to NUMA node %d", device_name(d), d->node);
	}
}

static int reach(void *context, const struct segment *segment, struct progress *progress,
	struct errinfo *errinfo)
{
	return devices_register_segment(context, segment, progress, errinfo);
}

static void leave(void *context, unsigned number)
{
	devices_unregister_segment(context, number);
}

static int open_growth(struct server *s, struct errinfo *errinfo)
{
	s->growth = (struct growth){ .pool = &s->pool,
		.data = &s->data,
		.topology = s->topology,
		.connections = all_connections(s),
		.reach = reach,
		.leave = leave,
		.context = &s->net };
	return growth_open(&s->growth, errinfo);
}

static int open_memory(struct server *s, const struct sizes *sizes, struct errinfo *errinfo)
{
	char total[UNITS_TEXT_SIZE];
	int err;

	log_info("making %s ready on %zu NUMA node%s",
		units_format_bytes(sizes_total(sizes), total, sizeof(total)), sizes->count,
		sizes->count == 1 ? "" : "s");
	err = pool_open(&s->pool, &s->data, sizes, s->topology, errinfo);
	if (!err)
		err = open_growth(s, errinfo);
	if (!err)
		err = open_tables(s, errinfo);
	if (err)
		return err;
	ledger_set_quotas(s->pool.ledger, &s->options.quotas);
	s->pool.emptied = session_emptied;
	s->pool.context = &s->leases;
	s->reclaim.history = s->history;
	s->reclaim.sites = s->sites;
	s->leases.sites = s->sites;
	if (s->net.region_max < s->pool.part_bytes)
		s->pool.part_bytes = s->net.region_max;
	report_rejected(s);
	return access_open(&s->access, &s->pool, &s->work)
		       ? errinfo_set(errinfo, -ENOMEM, "out of memory")
		       : 0;
}

/* ---- start, run, stop ---- */

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct server *s = arg;

	(void)what;
	log_info("stopping on %s", number == SIGINT ? "SIGINT" : "SIGTERM");
	event_base_loopbreak(s->base);
}

/*
 * Block stop signals until the loop runs: pre-faulting polls for them (server/memory/pool_open.c), and the rest of the
 * start is short. Threads created meanwhile inherit the mask.
 */
static void hold_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(how, &set, NULL);
}

static int catch_signals(struct server *s)
{
	static const int numbers[] = { SIGTERM, SIGINT };

	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < 2; i++) {
		s->signal_events[i] = evsignal_new(s->base, numbers[i], on_signal, s);
		if (!s->signal_events[i] || evsignal_add(s->signal_events[i], NULL))
			return -ENOMEM;
	}
	return 0;
}

/* Wipers have blocks to take back: the next slice does it. */
static void on_wiped(evutil_socket_t fd, short what, void *arg)
{
	const struct server *s = arg;
	uint64_t n;

	(void)what;
	(void)!read(fd, &n, sizeof(n)); /* only resets the eventfd */
	work_wake(&s->work);
}

/* Segments are ready, or gone: allocations may have waited for room. */
static void on_grown(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	if (growth_finish(&s->growth))
		work_wake(&s->work);
}

static int watch_pool(struct server *s)
{
	s->wiped_event = event_new(s->base, s->pool.wiped_fd, EV_READ | EV_PERSIST, on_wiped, s);
	s->grown_event = event_new(s->base, s->growth.done_fd, EV_READ | EV_PERSIST, on_grown, s);
	return s->wiped_event && event_add(s->wiped_event, NULL) == 0 && s->grown_event &&
			       event_add(s->grown_event, NULL) == 0
		       ? 0
		       : -ENOMEM;
}

static void log_event(int severity, const char *text)
{
	log_at(severity == EVENT_LOG_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "libevent: %s", text);
}

static int start_loop(struct server *s, struct errinfo *errinfo)
{
	int err;

	event_set_log_callback(log_event);
	s->net.base = s->base = event_base_new();
	err = s->base ? catch_signals(s) : -ENOMEM;
	if (!err)
		err = reaper_start(&s->reaper, s->base);
	if (!err)
		err = watch_pool(s);
	if (!err)
		err = devices_watch(&s->net);
	if (!err)
		err = auditor_start(s->base, &s->leases, s->sites, &s->auditor);
	return err ? denial_explain(DENIED_FILE, err, "the event loop does not start", errinfo) : 0;
}

/* Requests over RDMA must not change anything. */
static void ask(void *commands, const char *request, struct question *q,
	void (*answer)(struct question *q, char *text))
{
	static const struct rights none = { .order = false };

	commands_ask(commands, request, &none, q, answer);
}

static const struct net_events net_events = {
	.message = rpc_dispatch,
	.invalidated = access_invalidated,
};

/* Point the rooms at each other. Nothing is open yet. */
static void connect_rooms(struct server *s)
{
	s->net = (struct net){ .work = &s->work,
		.events = &net_events,
		.context = &s->rpc,
		/* A few spare: a client may reconnect before rmemd notices that its old connection is gone. */
		.max_connections = s->options.max_sessions + s->options.max_sessions / 64,
		.max_channels = s->options.max_channels,
		.max_observers = s->options.max_observers };
	s->leases = (struct leases){ .options = &s->options, .net = &s->net, .pool = &s->pool };
	s->reclaim =
		(struct reclaim){ .leases = &s->leases, .access = &s->access, .work = &s->work };
	s->reaper = (struct reaper){ .net = &s->net,
		.pool = &s->pool,
		.access = &s->access,
		.reclaim = &s->reclaim,
		.work = &s->work };
	s->rpc = (struct rpc){ .options = &s->options,
		.pool = &s->pool,
		.access = &s->access,
		.leases = &s->leases,
		.reclaim = &s->reclaim,
		.work = &s->work,
		.ask = ask };
}

/* The tables must be open. */
static int start_admin(struct server *s, struct errinfo *errinfo)
{
	s->sources = (struct sources){ .options = &s->options,
		.host = s->host,
		.net = &s->net,
		.access = &s->access,
		.leases = &s->leases,
		.reclaim = &s->reclaim,
		.sites = s->sites,
		.history = s->history,
		.rpc = &s->rpc,
		.growth = &s->growth,
		.auditor = s->auditor };
	if (commands_start(s->base, &s->sources, &s->commands))
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	s->rpc.sites = s->sites;
	s->rpc.freed = frees_create();
	if (!s->rpc.freed)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	s->rpc.asked = s->commands;
	return admin_start(s->base, &s->options, s->commands, &s->admin, errinfo);
}

int server_start(struct server *s, const struct options *options, struct errinfo *errinfo)
{
	struct sizes sizes;
	int err;

	memset(s, 0, sizeof(*s));
	s->options = *options;
	s->data = (struct datadir){ .arenas = -1, .tables = -1 };
	gethostname(s->host, sizeof(s->host) - 1);
	connect_rooms(s);
	hold_signals(SIG_BLOCK);
	err = denial_of_descriptors(DESCRIPTORS_MIN, errinfo);
	if (!err)
		err = plan_memory(s, &sizes, errinfo);
	if (!err)
		err = devices_open(&s->net, &s->options, errinfo);
	locate_devices(s);
	if (!err)
		err = open_memory(s, &sizes, errinfo);
	if (!err)
		err = devices_register(&s->net, &s->pool, errinfo);
	if (!err)
		err = start_loop(s, errinfo);
	if (!err)
		err = start_admin(s, errinfo);
	if (err)
		goto fail;
	s->leases.started_boot_ns = clock_boot_ns();
	sessions_recover(&s->leases);
	err = start_tick(s);
	if (err) {
		errinfo_set(errinfo, err, "no timer: %s", strerror(-err));
		goto fail;
	}
	err = listener_start(&s->net, &s->options, &s->listener, errinfo);
	if (err)
		goto fail;
	pool_settle(&s->pool);
	sessions_settle(s->leases.records);
	s->started = true;
	/* Clients begin with what is there. If the rest is not to be had, rmemctl status says why. */
	if (growth_begin(&s->growth, &sizes, &s->growth.failure))
		log_error("%s", s->growth.failure.text);
	work_wake(&s->work); /* to wipe blocks that an earlier run left */
	return 0;
fail:
	server_stop(s);
	return err;
}

int server_run(struct server *s)
{
	hold_signals(SIG_UNBLOCK);
	return event_base_dispatch(s->base) < 0 ? -EIO : 0;
}

static void close_connections(struct server *s)
{
	connections_abort_all(&s->net);
	teardown_all(&s->net);
}

static void log_kept(const struct server *s)
{
	char bytes[UNITS_TEXT_SIZE];
	uint64_t kept = 0;
	uint32_t cursor = 0;
	const struct allocation *a;

	while ((a = ledger_next(s->pool.ledger, &cursor)))
		kept += a->bytes;
	log_info("%s in %u allocations are kept in %s for the next start",
		units_format_bytes(kept, bytes, sizeof(bytes)), ledger_count(s->pool.ledger),
		s->options.data_dir);
}

/* Remove the data directory if nobody holds anything. A failed start undoes only its own changes. */
static void leave_data(struct server *s)
{
	if (!s->started) {
		if (s->history && !history_count(s->history))
			unlinkat(s->data.tables, DATADIR_HISTORY, 0);
		pool_undo(&s->pool, &s->data);
		datadir_remove(&s->data, false);
		return;
	}
	pool_wipe_all(&s->pool);
	if (ledger_count(s->pool.ledger) != 0) {
		log_kept(s);
		return;
	}
	if (history_news(s->history))
		log_info("history is kept in %s: %u lines that are not acknowledged (rmemctl leaks "
			 "--reclaimed)",
			s->data.tables_path, history_news(s->history));
	datadir_remove_files(&s->data, s->pool.id, history_news(s->history) > 0);
	datadir_remove(&s->data, true);
}

static void close_memory(struct server *s)
{
	if (s->data.arenas >= 0)
		leave_data(s);
	sessions_end(&s->leases);
	pool_close(&s->pool);
	timeline_close(s->leases.timeline);
	sites_close(s->sites);
	frees_destroy(s->rpc.freed);
	history_close(s->history);
	sessions_close(s->leases.records);
	access_close(&s->access);
	if (s->leases.heartbeat_page && s->leases.heartbeat_page != MAP_FAILED)
		munmap(s->leases.heartbeat_page, HEARTBEAT_PAGE_BYTES);
	datadir_close(&s->data);
	topology_destroy(s->topology);
}

void server_stop(struct server *s)
{
	close_connections(s);
	admin_stop(s->admin);
	commands_stop(s->commands);
	auditor_stop(s->auditor);
	listener_stop(s->listener);
	reaper_stop(&s->reaper);
	growth_close(&s->growth);
	devices_close(&s->net);
	if (s->tick_event)
		event_free(s->tick_event);
	if (s->wiped_event)
		event_free(s->wiped_event);
	if (s->grown_event)
		event_free(s->grown_event);
	heart_stop(s->leases.heart);
	for (unsigned i = 0; i < 2; i++) {
		if (s->signal_events[i])
			event_free(s->signal_events[i]);
	}
	if (s->base)
		event_base_free(s->base);
	close_memory(s);
	memset(s, 0, sizeof(*s));
	s->data = (struct datadir){ .arenas = -1, .tables = -1 };
}
