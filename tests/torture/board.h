/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all processes of the torture on one host share: counts, the last things that were done to allocations,
 * and the shelf of allocations that several processes use. A file that is mapped by all of them, so that nothing
 * of it is lost when one is killed at any instruction.
 *
 * Everything is changed by atomic operations, from any thread of any process.
 */
#ifndef RMEM_TESTS_TORTURE_BOARD_H
#define RMEM_TESTS_TORTURE_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "rmem/rmem.h"

/* Public calls, and the operations of queues as they are reaped. */
#define BOARD_CALLS(X) \
	X(OPEN, "open") \
	X(CLOSE, "close") \
	X(ALLOC, "alloc") \
	X(FREE, "free") \
	X(SHARE, "share") \
	X(ATTACH, "attach") \
	X(DETACH, "detach") \
	X(READ, "read") \
	X(WRITE, "write") \
	X(READV, "readv") \
	X(WRITEV, "writev") \
	X(FETCH_ADD, "fetch_add") \
	X(COMPARE_SWAP, "compare_swap") \
	X(BUF_ALLOC, "buf_alloc") \
	X(BUF_RELEASE, "buf_release") \
	X(QUEUE_CREATE, "queue_create") \
	X(QUEUE_DESTROY, "queue_destroy") \
	X(START_READ, "start_read") \
	X(START_WRITE, "start_write") \
	X(START_FETCH_ADD, "start_fetch_add") \
	X(FENCE, "fence") \
	X(SUBMIT, "submit") \
	X(REAP, "reap") \
	X(LOCK_ACQUIRE, "lock_acquire") \
	X(LOCK_RELEASE, "lock_release") \
	X(LOCK_DESTROY, "lock_destroy") \
	X(QUEUED_READ, "(queued read)") \
	X(QUEUED_WRITE, "(queued write)") \
	X(QUEUED_ADD, "(queued fetch_add)")

/* What must have happened in a run, what is only counted, and what must never happen. */
#define BOARD_EVENTS(X) \
	X(CLIENTS, "client processes started", MUST) \
	X(SESSIONS, "sessions opened", MUST) \
	X(STOPS_SHORT, "clients stopped for less than the lease", MUST) \
	X(STOPS_LONG, "clients stopped for longer than the lease", MUST) \
	X(KILLS, "clients killed", MUST) \
	X(HOGS, "hogs that took all the memory there was", MUST) \
	X(RMEMD_KILLS, "rmemd killed and restarted", MUST_SERVER) \
	X(RMEMD_TERMS, "rmemd terminated and restarted", MUST_SERVER) \
	X(RMEMD_STOPS, "rmemd stopped and continued", MUST_SERVER) \
	X(RMEMD_EXPIRED, "leases that rmemd saw expire", MUST_SERVER) \
	X(RMEMD_RECLAIMED, "reclaims by rmemd", MUST_SERVER) \
	X(AUDITS, "audits that accounted for every byte", MUST_SERVER) \
	X(WIRE_BAD, "times with loss and reordering", MUST_WIRE) \
	X(WIRE_CUT, "times cut off", MUST_WIRE) \
	X(CLOCK_FORWARD, "clock steps forward", MUST_CLOCK) \
	X(CLOCK_BACK, "clock steps back", MUST_CLOCK) \
	X(FRESH_BYTES, "bytes of fresh allocations seen to be zero", MUST) \
	X(CHECKED_BYTES, "bytes read and checked", MUST) \
	X(WRITTEN_BYTES, "bytes written", MUST) \
	X(REUSED, "allocations at an address that the process had before", MUST) \
	X(LOST, "allocations that were lost", MUST) \
	X(LOST_REFUSED, "calls on lost allocations that were refused", MUST) \
	X(UNCERTAIN, "writes that may be done or not", MUST) \
	X(UNCERTAIN_ADDS, "additions that may be done or not", COUNT) \
	X(FREES_IN_FLIGHT, "frees with operations in flight", MUST) \
	X(FREED_DONE, "operations reaped with success after the free", COUNT) \
	X(FREED_REFUSED, "operations reaped with an error after the free", MUST) \
	X(QUEUES_CUT, "queues destroyed with operations outstanding", MUST) \
	X(FREE_UNSURE, "frees without an answer, repeated", COUNT) \
	X(PEER_BYTES, "bytes of other processes read and checked", MUST) \
	X(PEER_ADDS, "additions to words of other processes", MUST) \
	X(PEER_LOST, "attached allocations that ended", MUST) \
	X(LOCKED, "turns with a lock", MUST) \
	X(LOCK_INHERITED, "locks taken over from the dead or expired", COUNT) \
	X(LOCK_LOST, "locks lost with the lease", COUNT) \
	X(EXCUSED_MS, "ms of calls in which the process did not run", COUNT) \
	X(LEAKED, "allocations left behind by a close", MUST) \
	X(WRONG_BYTES, "WRONG BYTES", NEVER) \
	X(WRONG_RESULT, "WRONG RESULTS", NEVER) \
	X(ALIAS, "ADDRESSES LENT AGAIN TO A PROCESS THAT STILL HAS THEM", NEVER) \
	X(OVER, "CALLS OVER THEIR BOUND", NEVER) \
	X(STUCK, "CLIENTS THAT DID NOT COME BACK", NEVER) \
	X(CRASHED, "PROCESSES THAT CRASHED", NEVER) \
	X(UNACCOUNTED, "AUDITS THAT FAILED", NEVER)

enum board_call {
#define X(name, text) CALL_##name,
	BOARD_CALLS(X)
#undef X
		CALLS
};

enum board_event {
#define X(name, text, when) EVENT_##name,
	BOARD_EVENTS(X)
#undef X
		EVENTS
};

#define BOARD_RESULTS 134 /* 0, and errno values */

struct board_counts {
	_Atomic uint64_t results[CALLS][BOARD_RESULTS];
	_Atomic uint64_t longest_ms[CALLS];
	_Atomic uint64_t events[EVENTS];
};

/* Something that was done to an allocation. */
struct board_note {
	int64_t ns;
	uint64_t addr, bytes;
	uint32_t owner, gen, seq;
	int rc;
	char what[20];
};
#define BOARD_NOTES 65536U

/* ---- shared allocations ---- */

#define BOARD_UNITS 256 /* of 8 bytes: the longest that is shared is 2 KiB */
#define BOARD_SLOTS 32768U

/* One for each allocation that was shared, and never for another one. */
struct board_slot {
	_Atomic bool open; /* what is below is there, and the allocation is not known to be gone */
	rmem_addr_t addr;
	uint64_t bytes;
	unsigned owner, gen;
	struct rmem_share_key key;
	_Atomic uint32_t adds_started, adds_done;          /* to the first word */
	_Atomic uint32_t turns_started, turns_done;        /* to the one under the lock */
	_Atomic uint16_t lo[BOARD_UNITS], hi[BOARD_UNITS]; /* as in block.h */
};

struct board {
	struct board_counts counts;
	int64_t began_ns;
	_Atomic int calm; /* no more faults: check everything, free it and end */
	_Atomic uint64_t next_note;
	struct board_note notes[BOARD_NOTES];
	_Atomic unsigned nslots;
	struct board_slot slots[BOARD_SLOTS];
};

/* Of this process. */
extern struct board *board;

/* Map the file at path, make it if create. 0 or -errno. */
int board_open(const char *path, int create);

void board_event(enum board_event e, uint64_t n);
void board_result(enum board_call c, int rc);
void board_longest(enum board_call c, uint64_t ms);
const char *board_call_name(enum board_call c);

void board_note(const char *what, unsigned owner, unsigned gen, unsigned seq, uint64_t addr,
	uint64_t bytes, int rc);

/* What was done to these addresses lately, on this host. */
void board_history(FILE *out, uint64_t addr, uint64_t bytes);

/* Tell a failure: one text on standard error, with the history of these addresses (0 bytes: none). */
void board_complain(enum board_event e, uint64_t n, uint64_t addr, uint64_t bytes, const char *fmt,
	...) __attribute__((format(printf, 5, 6)));

#endif
