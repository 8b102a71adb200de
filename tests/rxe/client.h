/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client processes: real ones, each with a librmem of its own, so that they can be killed and
 * stopped. The test program runs itself again in a role (tests/rxe/role.c):
 *
 *	puppet	does what it is told, one call at a time
 *	worker	allocates, writes, verifies and frees as fast as it can until it is told to stop
 *
 * A client writes a record to a pipe before and after each call of the library, so that whoever
 * kills it knows what it surely held and which call was in flight.
 *
 * One thread. ERRORS: what goes wrong here fails the running test.
 */
#ifndef RMEM_TESTS_CLIENT_H
#define RMEM_TESTS_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/rxe/process.h"

enum client_call {
	CLIENT_OPEN = 1,
	CLIENT_CLOSE,
	CLIENT_ALLOC, /* a block, however small */
	CLIENT_FREE,
	CLIENT_ALLOC_OBJECT, /* as rmem_alloc() without attributes */
	CLIENT_FILL,         /* write the pattern of a seed */
	CLIENT_CHECK,        /* read, and compare with the pattern of a seed */
};

struct client_order {
	uint32_t call; /* enum client_call */
	int32_t node;
	uint64_t addr, bytes, seed;
};

#define CLIENT_WRONG_BYTES 1 /* err of a CHECK that read something else */

struct client_record {
	uint32_t call;
	uint32_t ended; /* 0: about to be made; 1: returned */
	int32_t err;
	uint32_t took_ms;
	uint64_t addr, bytes;
	char errinfo[216]; /* rmem_errmsg(), cut */
};

struct client_block {
	uint64_t addr, bytes;
};

struct client {
	struct process process;
	pid_t pid; /* also when it is gone */
	int orders, records;
	struct client_block *held; /* what it surely holds, but for unsure */
	size_t nheld, capacity;
	struct client_record unsure; /* an ALLOC or FREE whose outcome is not known; call 0: none */
	struct client_record last;   /* the last call that returned */
	uint64_t calls;              /* that returned without an error */
	uint64_t failures;           /* that did not */
	struct client_record failure; /* the first of those */
	struct client *next;
};

/* A puppet; not open yet. */
struct client *client_start_puppet(const char *server, int timeout_ms);

struct client_work {
	uint64_t seed;
	unsigned max_held;  /* blocks */
	unsigned max_bytes; /* of one block */
	bool persistent;    /* repeats a call that failed because of the connection */
	bool idles;         /* when it holds max_held it does nothing any more, but verifies */
};

/* A worker. */
struct client *client_start_worker(const char *server, const struct client_work *work);

/* Have a puppet make a call and wait for its end; the record is also c->last. */
const struct client_record *client_do(struct client *c, const struct client_order *order);

/* Short forms of client_do() that must succeed. */
void client_open(struct client *c);
uint64_t client_alloc(struct client *c, uint64_t bytes, int node);
uint64_t client_alloc_object(struct client *c, uint64_t bytes);
void client_fill(struct client *c, uint64_t addr, uint64_t bytes, uint64_t seed);
void client_check(struct client *c, uint64_t addr, uint64_t bytes, uint64_t seed);
void client_free(struct client *c, uint64_t addr);
void client_close(struct client *c);

/* Take in what clients (of all that run) have told; waits at most so long for the first news. */
void client_listen(int wait_ms);

/* Listen until it has made so many calls that succeeded. */
void client_await_calls(struct client *c, uint64_t calls);

void client_kill(struct client *c);   /* SIGKILL; afterwards all it told is known */
void client_freeze(struct client *c); /* SIGSTOP, and wait until it stands */
void client_thaw(struct client *c);

/*
 * Tell it to stop: a worker verifies and frees all it holds and closes its session, a puppet exits
 * as it is. It must end by itself, with exit status 0.
 */
void client_finish(struct client *c);

/* Tell it to stop, and wait; returns its exit status: a worker whose call failed ends with 1. */
int client_end(struct client *c);

/* Kill all clients of this program and forget them: what a test leaves. Never fails a test. */
void client_end_all(void);

/*
 * Compare what a report of the map says that a client holds with what it told: each block it surely
 * holds is there, live and of the right size; beyond those at most the one of an ALLOC that was in
 * flight. Returns the blocks and bytes that the report says.
 */
struct client_total {
	long long blocks, bytes;
};
struct client_total client_assert_map(const struct client *c, const json_t *map);

/* main() of the program when it runs itself: argv[1] is a role. */
int client_role(int argc, char **argv);

#endif
