/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is measured, and who does it.
 *
 * A job says what to do: so many operations of so many bytes. A party is a way to do it: librmem
 * (rmem.c), bare verbs (raw.c), librpma (rpma.c). Each is a program of its own, linked with the same
 * loops, clocks and counters (measure.c), so that they differ in nothing but the calls they make.
 *
 * A lane is what one thread of a job has to itself: a connection, local memory that is registered,
 * and remote memory. Every operation of a lane touches the same bytes, as perftest's do.
 */
#ifndef BENCH_PARTY_H
#define BENCH_PARTY_H

#include <stdbool.h>
#include <stddef.h>

#define PIECES_MAX 64
#define DEPTH_MAX 1024
#define REGION_BYTES (2 * 1024 * 1024) /* of a lane, on either side */

enum mode {
	MODE_CALL,  /* one operation at a time, each waited for */
	MODE_FLOW,  /* up to depth operations under way */
	MODE_ALLOC, /* allocate and free, one pair at a time */
};

struct job {
	enum mode mode;
	bool write;
	size_t bytes; /* of each piece */
	unsigned pieces;
	unsigned depth;
	unsigned threads;
	unsigned count; /* operations of each thread */
};

/* Functions return 0, or -1 after saying on standard error what is wrong. */
struct party {
	const char *name;
	int (*serve)(void); /* be the other side until killed; NULL: it needs none of ours */
	int (*open)(void);
	void (*close)(void);
	int (*attach)(const struct job *job, void **lane);
	void (*detach)(void *lane);
	int (*call)(void *lane);             /* do one operation, all pieces of it */
	int (*start)(void *lane, bool last); /* start one, or put it in line until reap() */
	int (*reap)(void *lane); /* wait for some that were started: how many, negative: error */
};

extern const struct party party;

/* The address to connect to and to listen at: $RMEM_HOST. NULL after saying that it is not set. */
const char *party_host(void);

/* Of serve(): from now on connections are accepted. Says so on standard output. */
void party_ready(void);

/* Say what is wrong, with the name of the party. Returns -1. */
int party_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Where piece number n begins, so that no two pieces can be taken for one run of bytes. */
static inline size_t piece_offset(const struct job *job, unsigned n)
{
	return n * 2 * job->bytes;
}

/*
 * Every how many operations one asks for a completion. perftest gets the same number, as -Q.
 */
static inline unsigned moderation(const struct job *job)
{
	return job->depth < 8 ? 1 : job->depth / 4;
}

#endif
