/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session on bare verbs (raw.h) with its control connection and some channels, and memory whose bytes
 * are known: what the tests of channels work with. One thread.
 *
 * A key that is refused breaks the connection it was tried on. ERRORS: what goes wrong here fails the
 * running test (cmocka).
 */
#ifndef RMEM_TESTS_RXE_CREW_H
#define RMEM_TESTS_RXE_CREW_H

#include "tests/rxe/raw_session.h"
#include "tests/rxe/rig.h"

#define CREW_CHANNELS_MAX CHANNELS_PER_SESSION_MAX
#define CREW_BLOCK 4096

struct crew {
	struct rig *rig;
	struct raw_session session;
	struct raw *control; /* NULL: not connected */
	struct raw *channels[CREW_CHANNELS_MAX];
	unsigned nchannels;
};

/*
 * main() of a test program: with the argument "window" rmemd runs with --protection window, where
 * revoking is an invalidation that has to come back, and on the port after the given one.
 */
int crew_main(int argc, char **argv, uint16_t port, const struct CMUnitTest *tests, size_t count);

/* With the argument "window"? What has nothing to do with protection is tested without it only. */
bool crew_has_windows(void);

/* rmemd in that mode, with leases that do not end by accident, and these options (NULL: none) besides. */
void crew_start(struct rig *r, const char *const options[]);

/* Open a session with n channels. */
void crew_open(struct crew *w, struct rig *r, unsigned n);

/* The same, and an allocation of CREW_BLOCK bytes known by a seed, with a key on each channel. */
uint64_t crew_open_holding(
	struct crew *w, struct rig *r, unsigned n, uint32_t keys[], uint64_t seed);

/* Join with one more channel. */
struct raw *crew_join(struct crew *w);

/* Leave without a goodbye: the connections go, the session stays. */
void crew_drop(struct crew *w);

/* Goodbye; it must hold nothing if rmemd is to leave nothing behind. */
void crew_close(struct crew *w);

/* Wait until the server has cut all connections, then let go of them. */
void crew_await_gone(struct crew *w);

/* An allocation of CREW_BLOCK bytes; no grant on it. */
uint64_t crew_alloc(struct crew *w);

/* A key on this connection, which works: what is written through it can be read through it. */
uint32_t crew_attach(struct raw *r, uint64_t addr);

/* Bytes known by a seed, through a key; and that they are there. */
void crew_fill(struct raw *r, uint64_t addr, uint32_t rkey, uint64_t seed);
void crew_check(struct raw *r, uint64_t addr, uint32_t rkey, uint64_t seed);

/* The device of rmemd refuses this key on this connection, which is then broken. */
void crew_refused(struct raw *r, uint64_t addr, uint32_t rkey);

#endif
