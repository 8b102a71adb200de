/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What rmemd and librmem are told at their start: devices and addresses, kinds of protection, how many peers there may
 * be, how much is said.
 */
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/outside.h"
#include "tests/rxe/raw_session.h"
#include "tests/rxe/rig.h"

#define OPTIONS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define CANNOT_START 3 /* exit status of rmemd */

static char device[64];

/* ---- devices and addresses ---- */

static void find_device(void)
{
	struct ibv_device **list = ibv_get_device_list(NULL);

	assert_non_null(list);
	assert_non_null(list[0]);
	snprintf(device, sizeof(device), "%s", ibv_get_device_name(list[0]));
	ibv_free_device_list(list);
}

/* Writes, reads and frees in the test's own process. */
static void use(struct rig *r)
{
	struct rmem *rm = lib_open(r->server, 0);
	rmem_addr_t addr = lib_alloc(rm, 10000);
	uint64_t word = 4711;

	lib_succeed(rmem_write(rm, addr + 8, &word, sizeof(word)));
	assert_int_equal(lib_read_word(rm, addr + 8), 4711);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
}

static void test_device_and_address(void **state)
{
	struct rig *r = *state;

	find_device();
	rig_start(r, OPTIONS("--device", device, "--bind", rig_host()));
	use(r);
	rig_stop(r, false);
	assert_int_equal(rig_start_refused(r, OPTIONS("--device", "nosuch0")), CANNOT_START);
	assert_true(rig_log_says(r, "there is no RDMA device nosuch0 here; there is"));
	assert_true(rig_log_says(r, device));
	assert_int_equal(rig_start_refused(r, OPTIONS("--bind", "192.0.2.1")), CANNOT_START);
	assert_true(rig_log_says(r, "192.0.2.1 is not the address of an RDMA device here"));
}

/* ---- protection ---- */

static void test_protections(void **state)
{
	static const char *const modes[] = { "auto", "region", "window" };
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		json_t *status;
		bool enforced;

		rig_start(r, OPTIONS("--protection", modes[i]));
		status = rig_ask(r, "status");
		enforced = strcmp(rig_text(status, "devices.0.outside_window"), "refused") == 0;
		assert_string_equal(rig_text(status, "devices.0.protection"), i ? modes[i]
									      : enforced
										      ? "window"
										      : "region");
		json_decref(status);
		use(r);
		rig_end(r);
		if (!enforced)
			assert_int_equal(
				rig_log_says(r, "with --protection window, clients can"), i == 2);
	}
	assert_int_equal(rig_start_refused(r, OPTIONS("--protection", "none")), 2);
	assert_true(rig_log_says(r, "must be auto, window or region"));
}

/* ---- how many ---- */

#define CONNECTIONS 6
#define OBSERVERS 2
#define CHANNELS 4

/* A peer that says what it is there for, so that it may stay. A channel joins session. */
static int arrive(
	struct rig *r, enum purpose purpose, const struct raw_session *session, struct raw **out)
{
	const struct raw_attr attr = { .purpose = purpose };
	const struct report_request q = { "{\"cmd\":\"status\"}" };
	struct raw_session own;
	struct report_reply a;
	int err;

	*out = NULL;
	if (purpose == PURPOSE_SESSION) {
		raw_session_init(&own);
		return raw_open(r->port, &own, out);
	}
	if (purpose == PURPOSE_CHANNEL)
		return raw_channel(r->port, session, out);
	err = raw_connect(r->port, &attr, out);
	if (!err)
		err = RAW_ASK(*out, MESSAGE_REPORT, report, &q, report, &a);
	if (err) {
		raw_close(*out);
		*out = NULL;
	}
	return err;
}

/* One too many is told so. */
static void turned_away(struct rig *r, enum purpose purpose)
{
	const struct raw_attr attr = { .purpose = purpose };
	struct raw *raw = NULL;

	assert_int_equal(raw_connect(r->port, &attr, &raw), -ECONNREFUSED);
	assert_true(raw->has_answer);
	assert_int_equal(raw->answer.status, -EUSERS);
	raw_close(raw);
}

/* Who leaves makes room, as soon as rmemd has seen to it. */
static struct raw *take_a_place(
	struct rig *r, enum purpose purpose, const struct raw_session *session)
{
	uint64_t until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;
	struct raw *raw;
	int err;

	while ((err = arrive(r, purpose, session, &raw)) != 0) {
		/* Its connection may be gone before its record is. */
		assert_true(err == -ECONNREFUSED || err == -EUSERS);
		assert_true(clock_boot_ns() < until_ns);
	}
	return raw;
}

/* A session that does not say goodbye keeps its place until its lease is over. */
static void leave(enum purpose purpose, struct raw *raw)
{
	if (purpose == PURPOSE_SESSION)
		assert_int_equal(raw_bye(raw), 0);
	raw_close(raw);
}

/* So many at most, beside what is there; and as many again when one has left. */
static void reach(struct rig *r, enum purpose purpose, unsigned room, struct raw_session *session)
{
	struct raw *all[CONNECTIONS];

	for (unsigned i = 0; i < room; i++) {
		session->channel = i;
		all[i] = take_a_place(r, purpose, session);
	}
	turned_away(r, purpose);
	leave(purpose, all[0]);
	session->channel = room;
	all[0] = take_a_place(r, purpose, session);
	turned_away(r, purpose);
	for (unsigned i = 0; i < room; i++)
		leave(purpose, all[i]);
}

static void test_too_many(void **state)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct raw_session session;
	struct raw *first = NULL, *keep[CONNECTIONS];
	struct rig *r = *state;
	struct rmem *rm = NULL;

	rig_start(r, OPTIONS("--ttl", "10m", "--max-sessions", "6", "--max-channels", "4",
			     "--max-observers", "2"));
	raw_session_init(&session);
	assert_int_equal(raw_open(r->port, &session, &first), 0);
	reach(r, PURPOSE_OBSERVER, OBSERVERS, &session);
	reach(r, PURPOSE_CHANNEL, CHANNELS, &session);
	reach(r, PURPOSE_SESSION, CONNECTIONS - 1, &session);
	assert_true(rig_log_says(r, "a peer was turned away: Too many users"));
	/* Whoever was there first has noticed nothing. */
	assert_int_equal(raw_call(first, MESSAGE_RENEW, NULL, NULL), 0);
	for (unsigned i = 0; i < CONNECTIONS - 1; i++)
		keep[i] = take_a_place(r, PURPOSE_SESSION, &session);
	attr.timeout_ms = RIG_LIMIT_MS;
	lib_expect(rmem_open(r->server, &attr, &rm), -EUSERS, "all the clients");
	for (unsigned i = 0; i < CONNECTIONS - 1; i++)
		raw_close(keep[i]);
	raw_close(first);
	rig_stop(r, false);
}

/* ---- what librmem says ---- */

/* The role "speak SERVER": one call that fails in between. */
static int speak(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm;

	attr.timeout_ms = RIG_LIMIT_MS;
	if (rmem_open(server, &attr, &rm))
		return 1;
	return rmem_free(rm, 42) == -EINVAL && rmem_close(rm) == 0 ? 0 : 1;
}

/* What it wrote on standard error. */
static void hear(struct rig *r, const char *level, char *out, size_t size)
{
	const char *const argv[] = { "/proc/self/exe", "speak", r->server, NULL };
	char path[128];
	struct process p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/speaks", r->dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	if (level)
		setenv("RMEM_LOG", level, 1);
	process_start(&p, argv, (const int[]){ -1, -1, fd });
	unsetenv("RMEM_LOG");
	assert_int_equal(process_wait(&p, RIG_LIMIT_MS, "speaker"), 0);
	n = pread(fd, out, size - 1, 0);
	assert_true(n >= 0);
	out[n] = '\0';
	close(fd);
}

static void test_log_of_librmem(void **state)
{
	static const char *const silent[] = { NULL, "", "off", "error", "nonsense" };
	static char said[1 << 16];
	struct rig *r = *state;

	rig_start(r, NULL);
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
		hear(r, silent[i], said, sizeof(said));
		assert_string_equal(said, "");
	}
	hear(r, "info", said, sizeof(said));
	assert_non_null(strstr(said, "librmem: rmem_free: "));
	assert_null(strstr(said, "debug: "));
	hear(r, "debug", said, sizeof(said));
	assert_non_null(strstr(said, "librmem: rmem_free: "));
	assert_non_null(strstr(said, "librmem: debug: "));
	rig_stop(r, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_device_and_address),
		RIG_TEST(test_protections),
		RIG_TEST(test_too_many),
		RIG_TEST(test_log_of_librmem),
	};

	if (argc == 3 && strcmp(argv[1], "speak") == 0)
		return speak(argv[2]);
	return rig_main(RIG_PORT_SETTINGS, tests, sizeof(tests) / sizeof(tests[0]));
}
