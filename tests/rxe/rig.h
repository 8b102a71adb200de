/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a test on RDMA stands on: an rmemd of its own (port, directories, admin socket), its reports,
 * rmemctl, and an end that leaves nothing behind.
 *
 * Everything is the real program. Nothing sleeps: readiness comes as rmemd's notification, ends come
 * through pidfds, and what only time brings is awaited by asking for a report until it says so.
 *
 * A test is RIG_TEST(function) and finds its struct rig in *state; no rmemd runs yet. When the test
 * is over, however it ended, rmemd and all clients are gone. One thread.
 *
 * ERRORS: what goes wrong here fails the running test.
 */
#ifndef RMEM_TESTS_RIG_H
#define RMEM_TESTS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdbool.h>

#include "tests/rxe/process.h"

/* Each test program has a port of its own. */
enum rig_port {
	RIG_PORT_API = 7481,
	RIG_PORT_FULL,
	RIG_PORT_KILL,
	RIG_PORT_STALL,
	RIG_PORT_RESTART,
	RIG_PORT_NUMA,
	RIG_PORT_IMPOSTOR = 7488,
	RIG_PORT_REPORTS,
	RIG_PORT_REGISTERED,
	RIG_PORT_EXAMPLES,
	RIG_PORT_HOSTILE = 7501,
	RIG_PORT_OLD_KEYS,
	RIG_PORT_MALFORMED,
	RIG_PORT_MANNERS,
	RIG_PORT_REQUESTS,
	RIG_PORT_OPEN,
	RIG_PORT_FAULT = 7521,
	RIG_PORT_FAULT_SERVER,
	RIG_PORT_CHANNELS_SERVER = 7531, /* and the next, as all of crew_main() */
	RIG_PORT_CHANNELS_END = 7533,
	RIG_PORT_SHAPES = 7541,
	RIG_PORT_ATOMICS,
	RIG_PORT_QUEUE,
	RIG_PORT_THREADS,
	RIG_PORT_OUTAGE,
	RIG_PORT_VAST,
	RIG_PORT_DESCRIPTOR,
	RIG_PORT_SHARE = 7561,  /* and the next */
	RIG_PORT_TOKENS = 7563, /* and the next */
	RIG_PORT_SHARING = 7565,
	RIG_PORT_LOCKS,
	RIG_PORT_OBJECTS,
	RIG_PORT_STALE,
	RIG_PORT_CLOCK = 7571,
	RIG_PORT_EXEC,
	RIG_PORT_EMBEDDED,
	RIG_PORT_BOUNDS,
	RIG_PORT_SILENCE,
	RIG_PORT_LOST_RIGHTS,
	RIG_PORT_SETTINGS = 7581,
	RIG_PORT_HUGEPAGES,
	RIG_PORT_SITES,
	RIG_PORT_ABI,
	RIG_PORT_EVENTS,
	RIG_PORT_OPS,
	RIG_PORT_GUESTS,
	RIG_PORT_RESIZE,
	RIG_PORT_POLICIES,
	RIG_PORT_SMALL_KILL,
	RIG_PORT_SLAB_RECORDS,
	RIG_PORT_SAMPLES,
	RIG_PORT_PARTS,
};

#define RIG_LIMIT_MS \
	90000 /* nothing that is going well takes that long, on a busy machine either */

struct rig {
	struct process daemon;
	uint16_t port;
	int notify;      /* where rmemd says that it is ready */
	char server[80]; /* "address:port", for rmem_open() */
	const char
		*program; /* rmemd; a test may set another one before it starts it, or other data */
	char dir[64], data[64], admin[96], log[96], notify_path[96];
};

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int rig_setup(void **state);
int rig_teardown(void **state);

/*
 * Run tests; the return value is main()'s. 77 (skipped, with a reason) where there is no RDMA
 * address. If a test failed, the logs of its rmemd are printed.
 */
int rig_main(uint16_t port, const struct CMUnitTest *tests, size_t count);

const char *rig_host(void); /* $RMEM_HOST */

/* How often to repeat what is left to chance: all with $RMEM_TEST_FULL, which scripts/test --full sets, else some. */
unsigned rig_rounds(unsigned all, unsigned some);

/* Start rmemd with these options (NULL-terminated) and 16 MiB, and wait until it is ready. It audits every second. */
void rig_start(struct rig *r, const char *const options[]);

/* It must not start; returns its exit status. */
int rig_start_refused(struct rig *r, const char *const options[]);

/* Has any rmemd of this test written a line with this text? */
bool rig_log_says(const struct rig *r, const char *text);

/* SIGTERM; it must exit with 0, and leave its data if and only if somebody holds memory. */
void rig_stop(struct rig *r, bool keeps_data);

void rig_kill(struct rig *r);   /* SIGKILL, and wait */
void rig_freeze(struct rig *r); /* SIGSTOP, and wait until it stands */
void rig_thaw(struct rig *r);

/* Ask for a report, by name or as a whole request; the caller releases it. */
json_t *rig_ask(struct rig *r, const char *report);

/* A number (or truth value) in a report: "summary.definite.blocks", "nodes.0.live_bytes". */
long long rig_number(const json_t *report, const char *path);
/* A text in a report, "" for null. */
const char *rig_text(const json_t *report, const char *path);

/* The same of a fresh report. */
long long rig_ask_number(struct rig *r, const char *report, const char *path);

/* Ask for a report until it is what the test waits for; returns it. */
typedef bool rig_condition(const json_t *report, void *arg);
json_t *rig_await(
	struct rig *r, const char *report, rig_condition *is_so, void *arg, const char *what);

/* Wait until all that was given back is wiped and can be lent again: an answer to a FREE does not say that. */
void rig_await_wiped(struct rig *r);

/* Wait until rmemd keeps no session any more. */
void rig_await_no_session(struct rig *r);

/* Wait until it is known that this process, which has a session, is dead: that it is gone does not say that. */
void rig_await_dead(struct rig *r, pid_t pid);

/* Wait until the lease of this process has ended, and all its access with it. */
void rig_await_revoked(struct rig *r, pid_t pid);

/* The session of a process in a report of sessions, NULL if it has none. */
const json_t *rig_session(const json_t *sessions, pid_t pid);

/* The conservation line of every node of a report of leaks adds up, and nothing is an orphan. */
void rig_assert_accounted(const json_t *leaks);

/* So it is now, and no revocation is unconfirmed. */
void rig_assert_well(struct rig *r);

/* It is well, nobody holds anything, and nothing stays behind when it stops. */
void rig_end(struct rig *r);

/* Let time pass that a test is about (a lease's term): at least this long on the boot clock. */
void rig_elapse(int ms);

#endif
