/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every call that rmemd makes to verbs, to the connection manager, and for memory, descriptors and
 * threads fails once: while it starts, and while a client works. rmemd refuses to start with a sentence, or
 * works; it goes on, answers that client with an error or cuts it off, loses no byte and no object, and
 * another client notices nothing.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/fault/driver.h"
#include "tests/rxe/client.h"

#define LIMIT 3         /* runs for one kind, if it is not called from more places */
#define LIMIT_START 4   /* the same, of rmemd's start, where a place is */
#define DEPTH_START 2   /* two calls deep: its probe makes the same trial from seven places */
#define TRIES 40        /* of a call that did not come: a timed audit makes it, once a second */
#define SETTLE_MS 30000 /* a connection is torn down in slices */
#define BYSTANDER_BYTES (64ULL << 10)

/* rmemd does not call these while it works. */
static const enum fault_kind absent_at_work[] = { FAULT_malloc, FAULT_realloc, FAULT_aligned_alloc,
	FAULT_strdup, FAULT_heap_alloc, FAULT_heap_grow, FAULT_mmap, FAULT_eventfd,
	FAULT_epoll_create1, FAULT_epoll_ctl, FAULT_fcntl, FAULT_poll, FAULT_getifaddrs,
	FAULT_getaddrinfo, FAULT_pthread_create, FAULT_ibv_get_device_list, FAULT_ibv_query_device,
	FAULT_ibv_query_port, FAULT_ibv_query_gid, FAULT_ibv_alloc_pd,
	FAULT_ibv_create_comp_channel, FAULT_ibv_create_qp, FAULT_rdma_create_event_channel,
	FAULT_rdma_create_id, FAULT_rdma_get_devices, FAULT_rdma_bind_addr, FAULT_rdma_listen,
	FAULT_rdma_resolve_addr, FAULT_rdma_resolve_route, FAULT_rdma_connect, FAULT_rdma_reject,
	FAULT_ibv_destroy_qp, FAULT_ibv_destroy_comp_channel, FAULT_ibv_dealloc_pd,
	FAULT_cm_refused, FAULT_NONE };

/* Nor these before it is ready. */
static const enum fault_kind absent_at_start[] = { FAULT_malloc, FAULT_realloc, FAULT_aligned_alloc,
	FAULT_posix_memalign, FAULT_strdup, FAULT_heap_alloc, FAULT_heap_grow, FAULT_eventfd,
	FAULT_epoll_create1, FAULT_epoll_ctl, FAULT_poll, FAULT_getifaddrs, FAULT_getaddrinfo,
	FAULT_ibv_get_device_list, FAULT_ibv_query_port, FAULT_ibv_req_notify_cq,
	FAULT_ibv_get_cq_event, FAULT_ibv_post_recv, FAULT_rdma_resolve_addr,
	FAULT_rdma_resolve_route, FAULT_rdma_create_qp, FAULT_rdma_set_option, FAULT_rdma_connect,
	FAULT_rdma_accept, FAULT_rdma_reject, FAULT_rdma_get_cm_event, FAULT_rdma_disconnect,
	FAULT_rdma_destroy_id, FAULT_ibv_destroy_comp_channel, FAULT_ibv_dealloc_pd,
	FAULT_post_send_part, FAULT_cm_event, FAULT_cm_refused, FAULT_NONE };

static bool is_connection_object(int object)
{
	return object >= FAULT_OBJECT_domain;
}

struct server {
	struct rig *rig;
	struct fault_plan *plan;
	int64_t live[FAULT_OBJECTS]; /* with the bystander only */
	struct client *bystander;
	uint64_t bytes; /* where it wrote */
	unsigned runs, fired, wrong;
	bool sticks; /* what a failed call should have destroyed can never be */
};

static bool has_ended(const struct rig *r)
{
	struct pollfd ended = { .fd = r->daemon.fd, .events = POLLIN };

	return poll(&ended, 1, 0) == 1;
}

static void note_live(struct server *s)
{
	for (int i = 0; i < FAULT_OBJECTS; i++)
		s->live[i] = s->plan->live[i];
}

/* Wait until what the client's end brought down is down. */
static bool has_settled(struct server *s, const char *about)
{
	uint64_t until = clock_boot_ns() + SETTLE_MS * NSEC_PER_MSEC;
	int i = 0;

	while (i < FAULT_OBJECTS) {
		if (!is_connection_object(i) || s->plan->live[i] == s->live[i]) {
			i++;
			continue;
		}
		if (clock_boot_ns() > until) {
			fault_complain(s->rig, s->plan, FAULT_RMEMD, about,
				"rmemd has %lld of kind %s, and had %lld before",
				(long long)s->plan->live[i], fault_object_names[i],
				(long long)s->live[i]);
			note_live(s);
			return false;
		}
		rig_elapse(5);
		i = 0;
	}
	return true;
}

static bool accounts_balance(struct server *s)
{
	json_t *leaks = rig_ask(s->rig, "leaks");

	rig_assert_accounted(leaks);
	json_decref(leaks);
	return true;
}

/* A client works while rmemd's nth call fails, or with 0 one at each target. */
static bool run_armed(
	struct server *s, enum fault_kind kind, uint64_t nth, size_t faults, const char *about)
{
	char mode[32];
	bool good;

	snprintf(mode, sizeof(mode), "server:%zu", faults);
	fault_plan_arm(s->plan, kind, nth);
	good = fault_scenario(s->rig, mode, -1, NULL, NULL, about);
	fault_plan_disarm(s->plan);
	s->runs++;
	s->fired += s->plan->fired;
	if (has_ended(s->rig)) {
		fault_complain(s->rig, s->plan, FAULT_RMEMD, about, "rmemd has ended");
		fail_msg("rmemd has ended");
	}
	if (!good) /* what the client said has been told; here is where */
		fault_complain(s->rig, s->plan, FAULT_RMEMD, about, "see above");
	client_check(s->bystander, s->bytes, BYSTANDER_BYTES, 5);
	good = has_settled(s, about) && good;
	return good && accounts_balance(s);
}

static bool run_one(struct server *s, enum fault_kind kind, uint64_t n)
{
	char about[96];

	snprintf(about, sizeof(about), "rmemd: %s call %llu", fault_names[kind],
		(unsigned long long)n);
	return run_armed(s, kind, n, 1, about);
}

/*
 * All these calls fail while one client works, each the first from its place. Leaves in chosen those of places that were
 * not reached; all, if it ended wrong: alone, each shows whether it was the cause. Returns how many.
 */
static size_t run_together(struct server *s, const struct fault_plan *counted, enum fault_kind kind,
	uint64_t chosen[], size_t n, unsigned *wrong)
{
	char about[96];
	size_t left = 0;
	bool good;

	assert_true(n <= FAULT_TARGETS);
	snprintf(about, sizeof(about), "rmemd: %s at %zu places, one after the other",
		fault_names[kind], n);
	for (size_t i = 0; i < n; i++) {
		s->plan->targets[i] = counted->points[kind][chosen[i] - 1];
		s->plan->hit[i] = 0;
	}
	s->plan->ntargets = (uint32_t)n;
	good = run_armed(s, kind, 0, n, about);
	for (size_t i = 0; i < n; i++)
		if (!good || !s->plan->hit[i])
			chosen[left++] = chosen[i];
	*wrong += !good;
	return left;
}

static void try_kind(struct server *s, const struct fault_plan *counted, enum fault_kind kind)
{
	static uint64_t chosen[FAULT_CHOSEN_MAX];
	uint64_t total = counted->counts[kind] - counted->base[kind], began = clock_boot_ns();
	unsigned wrong = 0, fired = s->fired, runs = s->runs;
	size_t places, n;

	n = fault_choose(counted, kind, fault_limit(LIMIT), chosen, &places);
	if (fault_only_n()) {
		chosen[0] = fault_only_n();
		n = 1;
	}
	for (size_t before = 0; n > 1 && n != before && fault_in_one_run(kind);) {
		before = n;
		n = run_together(s, counted, kind, chosen, n, &wrong);
	}
	/* A timed audit makes some of the calls, and a run may be over before the next one. */
	for (size_t i = 0; i < n; i++) {
		unsigned tries = 0;

		do
			wrong += !run_one(s, kind, chosen[i]);
		while (!s->plan->fired && ++tries < TRIES);
	}
	if (total)
		printf("%-26s %6llu calls %4zu places %4u runs %4u failed %3u wrong %6llu ms\n",
			fault_names[kind], (unsigned long long)total, places, s->runs - runs,
			s->fired - fired, wrong,
			(unsigned long long)((clock_boot_ns() - began) / NSEC_PER_MSEC));
	wrong += !fault_happened(kind, absent_at_work, total, s->fired - fired);
	s->wrong += wrong;
}

static void start_preloaded(struct server *s, char path[128])
{
	s->plan = fault_share(s->rig, "server-plan", path);
	fault_preload_begin(path, "");
	rig_start(s->rig, NULL);
	fault_preload_end();
}

static void start_bystander(struct server *s)
{
	s->bystander = client_start_puppet(s->rig->server, RIG_LIMIT_MS);
	client_open(s->bystander);
	s->bytes = client_alloc(s->bystander, BYSTANDER_BYTES, -1);
	client_fill(s->bystander, s->bytes, BYSTANDER_BYTES, 5);
}

static bool is_one_session(const json_t *sessions, void *arg)
{
	(void)arg;
	return json_array_size(json_object_get(sessions, "sessions")) == 1;
}

static void test_at_work(void **state)
{
	struct server s = { .rig = *state };
	static struct fault_plan counted;
	char path[128];
	int kinds = 0;

	start_preloaded(&s, path);
	start_bystander(&s);
	assert_true(fault_scenario(s.rig, "client", -1, NULL, NULL, "unharmed"));
	json_decref(
		rig_await(s.rig, "sessions", is_one_session, NULL, "only the bystander is there"));
	note_live(&s);
	s.plan->depth = fault_depth();
	fault_plan_arm(s.plan, FAULT_NONE, 0);
	assert_true(fault_scenario(s.rig, "client", -1, NULL, NULL, "counting"));
	memcpy(&counted, s.plan, sizeof(counted));
	assert_true(has_settled(&s, "counting"));
	for (int kind = FAULT_NONE + 1; kind < FAULT_KINDS; kind++)
		if (fault_wanted(kind)) {
			try_kind(&s, &counted, kind);
			kinds++;
		}
	assert_true(kinds > 0);
	printf("%u runs, in which %u calls failed, %u ended wrong\n", s.runs, s.fired, s.wrong);

	assert_int_equal(s.bystander->failures, 0);
	client_free(s.bystander, s.bytes);
	client_close(s.bystander);
	client_finish(s.bystander);
	rig_await_no_session(s.rig);
	assert_int_equal(rig_ask_number(s.rig, "status", "allocations.blocks"), 0);
	assert_true(accounts_balance(&s));
	assert_int_equal(s.wrong, 0);
	rig_stop(s.rig, false);
	fault_unshare(s.plan);
}

/* ---- the start ---- */

/* Start rmemd until it is ready or has ended: true, ready. */
static bool try_start(struct rig *r, const char *plan_path)
{
	char port[16], text[64];
	const char *const argv[] = { FAULT_RMEMD, "--data", r->data, "--admin", r->admin, "--size",
		"4M", "--audit-interval", "1s", "--port", port, NULL };
	struct pollfd fds[2] = { { .fd = r->notify, .events = POLLIN }, { .events = POLLIN } };
	int log = open(r->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	snprintf(port, sizeof(port), "%u", r->port);
	assert_true(log >= 0);
	fault_preload_begin(plan_path, "");
	process_start(&r->daemon, argv, (const int[]){ -1, log, log });
	fault_preload_end();
	close(log);
	fds[1].fd = r->daemon.fd;
	if (poll(fds, 2, RIG_LIMIT_MS) <= 0)
		fail_msg("rmemd neither starts nor ends");
	return (fds[0].revents & POLLIN) && recv(r->notify, text, sizeof(text), 0) > 0 &&
	       strncmp(text, "READY=1", 7) == 0;
}

static void print_log(const struct rig *r)
{
	FILE *f = fopen(r->log, "r");
	char line[1024];

	while (f && fgets(line, sizeof(line), f))
		fprintf(stderr, "    | %s", line);
	if (f)
		fclose(f);
}

/* What is left when it has ended, and was not after an undisturbed life. */
static bool nothing_is_left(struct server *s, const char *about)
{
	for (int i = 0; i < FAULT_OBJECTS; i++) {
		if (s->plan->live[i] <= s->live[i])
			continue;
		fault_complain(s->rig, s->plan, FAULT_RMEMD, about, "%lld left of kind %s",
			(long long)s->plan->live[i], fault_object_names[i]);
		return false;
	}
	return true;
}

/* counted: where to keep what it called until it was ready, or NULL. */
static bool start_once(
	struct server *s, enum fault_kind kind, uint64_t n, struct fault_plan *counted)
{
	struct rig *r = s->rig;
	char path[128], about[96];
	bool ready, good = true, kept;
	int status;

	snprintf(about, sizeof(about), "rmemd's start: %s call %llu", fault_names[kind],
		(unsigned long long)n);
	s->plan = fault_share(r, "server-plan", path);
	s->plan->depth = DEPTH_START;
	s->plan->sticks = s->sticks;
	fault_plan_arm(s->plan, kind, n);
	ready = try_start(r, path);
	s->runs++;
	s->fired += s->plan->fired != 0;
	if (counted)
		memcpy(counted, s->plan, sizeof(*counted));
	if (ready) {
		fault_plan_disarm(s->plan);
		good = fault_scenario(r, "brief", -1, NULL, NULL, about);
		process_signal(&r->daemon, SIGTERM);
	}
	status = process_wait(&r->daemon, RIG_LIMIT_MS, "rmemd");
	/* It leaves nothing, or says so. */
	kept = access(r->data, F_OK) == 0 && !fault_log_says(r, "are kept in", "");
	if (!WIFEXITED(status) || (WEXITSTATUS(status) == 0) != ready ||
		(!ready && !fault_log_says(r, "error: ", "")) || kept) {
		fault_complain(r, s->plan, FAULT_RMEMD, about, "it %s, then status 0x%x%s",
			ready ? "was ready" : "did not get ready", (unsigned)status,
			kept ? ", and its data is left" : "");
		print_log(r);
		good = false;
	}
	while (recv(r->notify, path, sizeof(path), MSG_DONTWAIT) > 0)
		;
	return (s->plan->sticks || nothing_is_left(s, about)) && good;
}

static void try_kind_at_start(
	struct server *s, const struct fault_plan *counted, enum fault_kind kind)
{
	static uint64_t chosen[FAULT_CHOSEN_MAX];
	uint64_t total = counted->counts[kind];
	unsigned wrong = 0, fired = s->fired;
	size_t places, n;

	n = fault_choose(counted, kind, fault_limit(LIMIT_START), chosen, &places);
	if (fault_only_n()) {
		chosen[0] = fault_only_n();
		n = 1;
	}
	for (size_t i = 0; i < n; i++) {
		fault_unshare(s->plan);
		wrong += !start_once(s, kind, chosen[i], NULL);
	}
	if (n)
		printf("%-26s %6llu calls %4zu places %4zu runs %4u failed %3u wrong\n",
			fault_names[kind], (unsigned long long)total, places, n, s->fired - fired,
			wrong);
	wrong += !fault_happened(kind, absent_at_start, total, s->fired - fired);
	s->wrong += wrong;
}

static void test_start(void **state)
{
	static struct fault_plan counted;
	struct server s = { .rig = *state };
	int kinds = 0;

	for (int i = 0; i < FAULT_OBJECTS; i++)
		s.live[i] = INT64_MAX;
	assert_true(start_once(&s, FAULT_NONE, 0, &counted));
	note_live(&s);
	printf("after an undisturbed life:%s\n", s.plan->leaks);
	for (int kind = FAULT_NONE + 1; kind < FAULT_KINDS; kind++)
		if (fault_wanted(kind)) {
			try_kind_at_start(&s, &counted, kind);
			kinds++;
		}
	assert_true(kinds > 0);
	printf("%u starts, in %u the call failed, %u ended wrong\n", s.runs, s.fired, s.wrong);
	fault_unshare(s.plan);
	assert_int_equal(s.wrong, 0);
}

/*
 * A window, or a region under one, that is there for ever, bound to a queue pair of the probe: rmemd does not lend
 * by such a device, and the kernel has nothing to complain about when it ends.
 */
static void test_start_stuck(void **state)
{
	static const enum fault_kind kinds[] = { FAULT_ibv_dealloc_mw, FAULT_ibv_dereg_mr };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct server s = { .rig = *state, .sticks = true };

		assert_true(start_once(&s, kinds[i], 1, NULL));
		assert_int_equal(s.fired, 1);
		assert_true(fault_log_says(s.rig, "error: ", "does not destroy"));
		fault_unshare(s.plan);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_at_work),
		RIG_TEST(test_start),
		RIG_TEST(test_start_stuck),
	};

	if (argc > 1)
		return client_role(argc, argv);
	cmocka_set_test_filter(getenv("RMEM_FAULT_TEST"));
	return rig_main(RIG_PORT_FAULT_SERVER, tests, sizeof(tests) / sizeof(tests[0]));
}
