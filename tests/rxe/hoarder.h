/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process that allocates, writes and frees small objects of four sizes, each from a function of its own, until it is
 * killed; and its books. It tells each call on a pipe, before and after.
 *
 * One thread. ERRORS: what goes wrong here fails the running test.
 */
#ifndef RMEM_TESTS_HOARDER_H
#define RMEM_TESTS_HOARDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/rxe/process.h"

#define HOARDER_SITES 4
#define HOARDER_OBJECTS_MAX 8192
#define HOARDER_KEPT 24 /* objects that it never frees: the first ones */

/* The function that allocates. */
extern const char *const hoarder_sites[HOARDER_SITES];

enum hoarder_call {
	HOARDER_ALLOC = 1,
	HOARDER_WRITE,
	HOARDER_FREE,
	HOARDER_READY,
	HOARDER_RENEWAL, /* its records of before time_ns are on the server, and a renewal that says so */
};

struct hoarder_news {
	uint32_t call, ended; /* as struct client_record */
	int32_t err;
	uint32_t site;
	uint64_t addr, bytes;
	uint64_t time_ns; /* of the boot clock */
};

/* The last one at its address. */
struct hoarder_object {
	uint64_t addr, bytes;
	uint32_t site;
	bool written;          /* a write to it has returned */
	bool freeing;          /* rmem_free() has been called */
	uint64_t allocated_ns; /* rmem_alloc() had returned */
	uint64_t freed_ns;     /* rmem_free() had returned; 0: it has not */
};

struct hoarder {
	struct process process;
	pid_t pid; /* also when it is gone */
	int news, orders;
	bool exact;
	struct hoarder_object *objects;
	size_t nobjects;
	struct hoarder_news unsure; /* an ALLOC or FREE that has not returned; call 0: none */
	uint64_t calls;             /* that have returned */
	uint64_t killed_ns;         /* it lived until then at least */
	uint64_t journaled_ns;      /* of the last HOARDER_RENEWAL; 0: there was none */
};

/* At work until it is killed; journal: RMEM_JOURNAL_… */
void hoarder_start(struct hoarder *h, const char *server, uint64_t seed, uint32_t journal);
/* It allocates so many objects from each of the first two sites, and then waits to be killed. */
void hoarder_start_full(struct hoarder *h, const char *server, uint64_t objects);
/* It uses each site once, has it named, and ends. */
void hoarder_introduce(const char *server);

/* Take in what it has told; waits at most so long for the first news. */
void hoarder_listen(struct hoarder *h, int wait_ms);
/* Is the journal to know the object, whenever the process is killed from now on? */
bool hoarder_is_due(const struct hoarder *h, const struct hoarder_object *o);
/* ... all that it keeps? */
bool hoarder_is_settled(const struct hoarder *h);
/* SIGKILL; afterwards all it told is known. */
void hoarder_kill(struct hoarder *h);
void hoarder_end(struct hoarder *h); /* never fails a test */

/* Bytes of an object that hoarder_start_full() allocates. */
uint64_t hoarder_bytes(uint32_t site);

/* main() in this role: argv[1] is "hoarder". */
int hoarder_role(int argc, char **argv);

#endif
