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
#include "server/admin.h"
#include "server/auditor.h"
#include "server/connection.h"
#include "server/heart.h"
#include "server/limits.h"
#include "server/listener.h"
#include "server/origin.h"
#include "server/reaper.h"
#include "server/session.h"

#define TICKS_PER_TTL 20
#define TICK_MAX_MS 500
#define HELLO_WITHIN_NS (5 * NSEC_PER_SEC)
#define OBSERVER_IDLE_NS (60 * NSEC_PER_SEC)
#define GOODBYE_WITHIN_NS (1 * NSEC_PER_SEC)
#define JUDGE_EVERY_NS (1 * NSEC_PER_SEC)
#define DESCRIPTORS_MIN 64 /* for devices, files and rmemctl; clients take none */
#define BOARD_BYTES ((size_t)SESSIONS_MAX * BOARD_LINE_BYTES)

/* ---- time ---- */

/* Peers that connect and then say nothing, or have said goodbye and stay. */
static void drop_idlers(struct server *s, uint64_t now_ns)
{
	struct connection *c, *next;

	for (c = s->connections; c; c = next) {
		next = c->next;
		if (c->purpose == PURPOSE_OBSERVER && now_ns - c->active_ns > OBSERVER_IDLE_NS)
			connection_abort(c, "an idle observer");
		else if (c->purpose != PURPOSE_OBSERVER && !c->session && !c->pending.active &&
			 now_ns - c->opened_ns > HELLO_WITHIN_NS)
			connection_abort(
				c, "no %s came", c->purpose == PURPOSE_CHANNEL ? "JOIN" : "HELLO");
		else if (c->session && session_record(s, c->session)->state != SESSION_CONNECTED &&
			 now_ns - c->active_ns > GOODBYE_WITHIN_NS)
			connection_abort(c, "it said goodbye and stayed");
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;
	uint64_t now_ns = clock_boot_ns();

	(void)fd;
	(void)what;
	session_tick_all(s, now_ns);
	drop_idlers(s, now_ns);
	if (now_ns - s->judged_ns >= JUDGE_EVERY_NS) {
		s->judged_ns = now_ns;
		session_judge_all(s);
	}
	timeline_keep(s->timeline, now_ns);
	reaper_tick(s, timeline_at(s->timeline, now_ns));
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
	s->terms = (struct lease_terms){ .ttl_ns = s->options.ttl_ms * NSEC_PER_MSEC,
		.courtesy_ns = s->options.courtesy_ms * NSEC_PER_MSEC };
	err = heart_start(&s->heart, ms * NSEC_PER_MSEC);
	if (err)
		return err;
	now_ns = clock_boot_ns();
	stall_guard_start(
		&s->stall_guard, ms * NSEC_PER_MSEC, now_ns, heart_ran_ns(s->heart, now_ns));
	s->tick_event = event_new(s->base, -1, EV_PERSIST, on_tick, s);
	return s->tick_event && event_add(s->tick_event, &period) == 0 ? 0 : -ENOMEM;
}

/* ---- memory ---- */

/* So many may be open at a time. */
#define ALL_CONNECTIONS (CONNECTIONS_MAX + CHANNELS_MAX)

static int choose_sizes(struct server *s, struct sizes *out, struct why *why)
{
	struct why warning;
	struct limits limits;
	struct origin origin;
	int err = origin_read(&origin, &s->data, why);

	if (!err)
		err = limits_read(s->data.arenas, &limits, why);
	if (err)
		return err;
	if (s->options.size)
		err = sizes_parse(s->options.size, s->topology, limits.page_bytes, out, why);
	else
		err = sizes_default(s->topology, &limits, out, why);
	if (!err)
		err = origin_check_sizes(&origin, out, why);
	if (!err)
		err = limits_check(s->topology, &limits, out, why);
	if (!err)
		err = limits_raise_memlock(&limits, out, ALL_CONNECTIONS, why);
	if (!err && limits_warn_connections(&limits, out, ALL_CONNECTIONS, &warning))
		log_warn("%s", warning.text);
	return err;
}

static int open_timeline(struct server *s)
{
	struct timeline_clocks clocks = { .boot_ns = clock_boot_ns(),
		.real_ns = timeline_beginning_ns(s->records, s->pool.ledger, clock_real_ns()) };

	identity_boot(clocks.boot_id, &clocks.boot_clock);
	return timeline_open(&s->timeline, s->data.tables, DATADIR_TIME, &clocks);
}

static int open_sessions(struct server *s)
{
	int err = sessions_open(&s->records, s->data.tables, DATADIR_SESSIONS);
	const struct allocation *a;
	uint32_t cursor = 0;

	while (!err && (a = ledger_next(s->pool.ledger, &cursor)) != NULL)
		sessions_expect(s->records, a->session, a->session_serial);
	return err;
}

static int open_tables(struct server *s, struct why *why)
{
	int err = open_sessions(s);

	if (!err)
		err = sites_open(&s->sites, s->data.tables, DATADIR_SITES);
	if (!err)
		err = open_timeline(s);
	if (err)
		return why_set(why, err, "cannot open the tables in %s: %s", s->data.tables_path,
			strerror(-err));
	s->sessions = calloc(SESSIONS_MAX, sizeof(*s->sessions));
	s->board =
		mmap(NULL, BOARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!s->sessions || s->board == MAP_FAILED)
		return why_set(why, -ENOMEM, "out of memory");
	return 0;
}

/* Records that cannot be right were left out: never followed, but never silently either. */
static void report_rejected(const struct server *s)
{
	uint32_t sessions = sessions_rejected(s->records), sites = sites_rejected(s->sites);

	if (sessions || sites)
		log_error("damaged or lost records in %s: %u sessions (nobody can say whose "
			  "their memory is, and nobody gets it), %u call sites",
			s->data.tables_path, sessions, sites);
}

/* What can be found wrong before a page of the pool is touched. */
static int plan_memory(struct server *s, struct sizes *out, struct why *why)
{
	int err;

	err = topology_load(&s->topology);
	if (err)
		return why_set(why, err, "cannot find out about NUMA nodes: %s", strerror(-err));
	err = datadir_open(&s->data, s->options.data_dir, s->options.port, why);
	if (!err)
		err = choose_sizes(s, out, why);
	return err;
}

static int open_memory(struct server *s, const struct sizes *sizes, struct why *why)
{
	char total[UNITS_TEXT_SIZE];
	int err;

	log_info("making %s ready on %zu NUMA node%s",
		units_format_bytes(sizes_total(sizes), total, sizeof(total)), sizes->count,
		sizes->count == 1 ? "" : "s");
	err = pool_open(&s->pool, &s->data, sizes, s->topology, why);
	if (!err)
		err = open_tables(s, why);
	if (err)
		return err;
	report_rejected(s);
	s->reach = calloc(ledger_max(s->pool.ledger), sizeof(*s->reach));
	return s->reach ? 0 : why_set(why, -ENOMEM, "out of memory");
}

/* ---- devices ---- */

static bool wanted(const struct server *s, struct ibv_context *verbs)
{
	struct verbs_port port;
	struct in_addr bind;

	if (s->options.device)
		return strcmp(ibv_get_device_name(verbs->device), s->options.device) == 0;
	if (s->options.bind && inet_aton(s->options.bind, &bind))
		return verbs_find_port(verbs, bind, &port, NULL) == 0;
	return true;
}

static int no_device(
	const struct server *s, struct ibv_context **list, const struct why *last, struct why *why)
{
	char names[256] = "";

	if (last->text[0]) {
		*why = *last;
		return -ENODEV;
	}
	if (!s->options.device && s->options.bind)
		return why_set(why, -ENODEV,
			"%s is not the address of an RDMA device here: see rdma link, ip addr",
			s->options.bind);
	for (; *list; list++) {
		size_t n = strlen(names);

		snprintf(names + n, sizeof(names) - n, " %s", ibv_get_device_name((*list)->device));
	}
	return why_set(why, -ENODEV, "there is no RDMA device %s here; there is:%s",
		s->options.device, names);
}

static int open_devices(struct server *s, struct why *why)
{
	struct ibv_context **list = rdma_get_devices(NULL);
	struct why last = { "" };

	if (!list && (errno == ENOMEM || errno == EMFILE || errno == ENFILE))
		return denial_explain(DENIED_DEVICE, -errno, "listing the RDMA devices", why);
	if (!list || !*list) {
		rdma_free_devices(list);
		if (denial_of_devices(why))
			return -ENODEV;
		return why_set(why, -ENODEV,
			"there is no RDMA device here: make one with soft-RoCE (modprobe rdma_rxe; "
			"rdma link add rxe0 type rxe netdev IF) and look with rdma link");
	}
	for (struct ibv_context **verbs = list; *verbs && s->ndevices < DEVICES_MAX; verbs++) {
		struct device *d = &s->devices[s->ndevices];

		if (!wanted(s, *verbs))
			continue;
		if (device_open(d, *verbs, s->options.protection, &last)) {
			log_warn("%s", last.text);
			continue;
		}
		if (d->region_max < s->pool.block_max)
			s->pool.block_max = d->region_max;
		log_info("%s: protection by %s (other queue pair %s, revoked key %s, outside the "
			 "window %s)",
			device_name(d), protection_name(d->protection),
			probe_outcome_name(d->probe.other_queue_pair),
			probe_outcome_name(d->probe.revoked_key),
			probe_outcome_name(d->probe.outside_window));
		s->ndevices++;
	}
	if (!s->ndevices)
		no_device(s, list, &last, why);
	rdma_free_devices(list);
	return s->ndevices ? 0 : -ENODEV;
}

static int register_memory(struct server *s, struct why *why)
{
	int err = 0;

	for (unsigned i = 0; i < s->ndevices && !err; i++)
		err = device_register(&s->devices[i], &s->pool, why);
	return err;
}

static void on_completions(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	connection_poll_device(arg);
}

static int watch_devices(struct server *s)
{
	for (unsigned i = 0; i < s->ndevices; i++) {
		struct device *d = &s->devices[i];

		d->event =
			event_new(s->base, d->channel->fd, EV_READ | EV_PERSIST, on_completions, d);
		if (!d->event || event_add(d->event, NULL))
			return -ENOMEM;
	}
	return 0;
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
 * Until the loop runs, a signal to stop waits: pre-faulting looks for it now and then (server/pool.c), and
 * the rest of a start is short. Threads made meanwhile inherit the mask.
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

static void log_event(int severity, const char *text)
{
	log_at(severity == EVENT_LOG_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "libevent: %s", text);
}

static int start_loop(struct server *s, struct why *why)
{
	int err;

	event_set_log_callback(log_event);
	s->base = event_base_new();
	err = s->base ? catch_signals(s) : -ENOMEM;
	if (!err)
		err = reaper_start(s);
	if (!err)
		err = watch_devices(s);
	if (!err)
		err = auditor_start(s, &s->auditor);
	return err ? denial_explain(DENIED_FILE, err, "the event loop does not start", why) : 0;
}

int server_start(struct server *s, const struct options *options, struct why *why)
{
	struct sizes sizes;
	int err;

	memset(s, 0, sizeof(*s));
	s->options = *options;
	s->data = (struct datadir){ .arenas = -1, .tables = -1 };
	gethostname(s->host, sizeof(s->host) - 1);
	hold_signals(SIG_BLOCK);
	err = denial_of_descriptors(DESCRIPTORS_MIN, why);
	if (!err)
		err = plan_memory(s, &sizes, why);
	if (!err)
		err = open_devices(s, why);
	if (!err)
		err = open_memory(s, &sizes, why);
	if (!err)
		err = register_memory(s, why);
	if (!err)
		err = start_loop(s, why);
	if (!err)
		err = admin_start(s, &s->admin, why);
	if (err)
		goto fail;
	s->started_boot_ns = clock_boot_ns();
	sessions_recover(s);
	err = start_tick(s);
	if (err) {
		why_set(why, err, "no timer: %s", strerror(-err));
		goto fail;
	}
	err = listener_start(s, &s->listener, why);
	if (err)
		goto fail;
	pool_settle(&s->pool);
	s->started = true;
	reaper_wake(s); /* what an earlier run left to be wiped */
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
	while (s->connections)
		connection_abort(s->connections, "rmemd stops");
	while (s->dying)
		reaper_finish_connection(s, s->dying);
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

/* Nobody holds anything: leave nothing behind either. A start that failed undoes only what it did. */
static void leave_data(struct server *s)
{
	if (!s->started) {
		pool_undo(&s->pool, &s->data);
		datadir_remove(&s->data, false);
		return;
	}
	while (pool_wipe(&s->pool, UINT64_MAX))
		;
	if (ledger_count(s->pool.ledger) != 0) {
		log_kept(s);
		return;
	}
	datadir_remove_files(&s->data, s->pool.id);
	datadir_remove(&s->data, true);
}

static void close_memory(struct server *s)
{
	if (s->data.arenas >= 0)
		leave_data(s);
	pool_close(&s->pool);
	timeline_close(s->timeline);
	sites_close(s->sites);
	sessions_close(s->records);
	free(s->sessions);
	free(s->reach);
	if (s->board && s->board != MAP_FAILED)
		munmap(s->board, BOARD_BYTES);
	datadir_close(&s->data);
	topology_destroy(s->topology);
}

void server_stop(struct server *s)
{
	close_connections(s);
	admin_stop(s->admin);
	auditor_stop(s->auditor);
	listener_stop(s->listener);
	reaper_stop(s);
	for (unsigned i = 0; i < s->ndevices; i++) {
		if (s->devices[i].event)
			event_free(s->devices[i].event);
		device_close(&s->devices[i]);
	}
	if (s->tick_event)
		event_free(s->tick_event);
	heart_stop(s->heart);
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
