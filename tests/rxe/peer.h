/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes that use an object in remote memory together with the test (include/rmem/objects.h): real
 * ones, to be killed and stopped. The test program runs itself again in a role, which says what it does
 * in numbers on a pipe, and goes on when it is told to.
 *
 * ERRORS: what goes wrong in the test fails it; what goes wrong in a peer ends it with PEER_FAILED.
 */
#ifndef RMEM_TESTS_RXE_PEER_H
#define RMEM_TESTS_RXE_PEER_H

#include <stdint.h>

#include "rmem/rmem.h"
#include "tests/rxe/process.h"
#include "tests/rxe/rig.h"

#define PEER_FAILED 3
#define PEER_DEAD INT64_MIN /* what peer_hear() says of one that has ended */

struct peer {
	struct process process;
	int orders, news;
};

/* What a peer is told at its start. */
struct peer_task {
	const char *role;
	const char *server;
	rmem_addr_t addr; /* attached with key */
	struct rmem_share_key key;
	uint64_t number; /* whatever the role makes of it */
};

/* ---- the test's side ---- */

void peer_start(struct peer *p, const struct peer_task *task);
/* The next number it says. */
int64_t peer_hear(struct peer *p);
void peer_tell(struct peer *p); /* go on */
void peer_kill(struct peer *p);
void peer_freeze(struct peer *p);
void peer_thaw(struct peer *p);
/* It must end by itself, with exit status 0. */
void peer_finish(struct peer *p);
/* What a failed test leaves. Never fails a test. */
void peer_end(struct peer *p);

/*
 * Where they meet: an rmemd, the test's own session, and an allocation of it, shared, that each peer attaches.
 * A test of these is PEER_TEST(function): its peers end with it, however it ends.
 */
#define PEERS 3

struct peer_scene {
	struct rig *rig;
	struct rmem *rm;
	struct peer_task task;
	struct peer *peers; /* PEERS of them */
};

#define PEER_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, peer_teardown)
int peer_teardown(void **state);

/* Options of rmemd: for a lease that does not end by accident, and for one that soon does. */
extern const char *const peer_patient[], *const peer_brief[];

void peer_scene_open(
	struct peer_scene *sc, struct rig *r, const char *const options[], size_t bytes);
void peer_scene_close(struct peer_scene *sc);
/* Start one in a role. */
struct peer *peer_scene_start(struct peer_scene *sc, int i, const char *role, uint64_t number);

/* ---- the peer's side ---- */

typedef int peer_role_fn(struct rmem *rm, const struct peer_task *task);

struct peer_role {
	const char *name;
	peer_role_fn *play; /* returns the exit status */
};

/* Open, attach, play; returns main()'s value. roles end with a NULL name. */
int peer_main(char **argv, const struct peer_role roles[]);

void peer_say(int64_t number);
void peer_wait(void); /* until told to go on; without a test left, ends the process */
/* Ends the process with PEER_FAILED and rmem_errmsg() if rc is negative. */
int peer_must(int rc, const char *what);

#endif
