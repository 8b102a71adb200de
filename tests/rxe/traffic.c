/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client for wires that are not good (tests/hosts/run): it moves bytes in every way, and knows what must
 * come of it.
 *
 *	traffic SERVER steady SEED OPERATIONS	over a wire that loses, repeats and reorders
 *	traffic SERVER open TIMES LATE		over such a wire: each opens, and has its first use, within the
 *						default timeout; so many at most may not
 *	traffic SERVER cut			in the middle of 10 000 operations it says "halfway", and
 *						waits for a line; the wire is cut meanwhile. When it knows
 *						what has become of all, it says "known", and waits for the
 *						line that says that the wire is whole again
 *
 * Exit status: 0 all was as it must be, 1 something was not (said on standard error), 2 usage.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/rxe/pattern.h"
#include "tests/rxe/storm.h"
#include "tests/support/random.h"

#define CUT_OPERATIONS 10000UL
#define CUT_DEPTH 16384
#define LONG_BYTES 100000UL
#define FENCED_BYTES 16384UL
#define STEADY_TIMEOUT_MS 60000 /* a bad wire is slow, and that is not what is asked about it */
#define CUT_TIMEOUT_MS 8000     /* all but what is cut off must fit into it */

static int complain(const char *what, int rc)
{
	fprintf(stderr, "traffic: %s: %d %s\n", what, rc, rc ? rmem_errmsg() : "");
	return 1;
}

static uint64_t ms_since(uint64_t began_ns)
{
	return (clock_boot_ns() - began_ns) / NSEC_PER_MSEC;
}

/* ---- steady ---- */

/* By the calls that wait: what is written is read, and what is counted is counted once. */
static int copy_and_wait(struct rmem *rm, uint64_t seed, unsigned rounds)
{
	uint8_t *bytes = malloc(LONG_BYTES);
	rmem_addr_t addr = 0;
	uint64_t old = 0;
	int rc = bytes ? rmem_alloc(rm, LONG_BYTES + 8, NULL, &addr) : -ENOMEM;

	addr = (addr + 7) & ~7ULL;
	for (unsigned i = 0; i < rounds && rc == 0; i++) {
		size_t len = 1 + random_below(&seed, i % 10 ? 600 : LONG_BYTES - 8);
		uint64_t pattern = random_u64(&seed) | 1;

		pattern_fill(bytes, len, pattern);
		rc = rmem_write(rm, addr + 8, bytes, len);
		memset(bytes, 0, len);
		if (rc == 0)
			rc = rmem_read(rm, bytes, addr + 8, len);
		if (rc == 0 && pattern_check(bytes, len, pattern) >= 0)
			return complain("other bytes than were written", 0);
		if (rc == 0)
			rc = rmem_fetch_add(rm, addr, 1, &old);
		if (rc == 0 && old != i)
			return complain("an addition was lost, or done twice", 0);
	}
	free(bytes);
	if (rc == 0)
		rc = rmem_free(rm, addr);
	return rc ? complain("waiting", rc) : 0;
}

/* A read that the wire has to repeat must not see the write behind the fence. */
static int fence(struct rmem *rm, unsigned rounds)
{
	const struct rmem_alloc_attr zeroed = {
		.size = sizeof(zeroed), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ZERO
	};
	uint8_t *bytes = malloc(3 * FENCED_BYTES);
	struct rmem_completion done[2];
	struct rmem_queue *q = NULL;
	rmem_addr_t addr = 0;
	int rc = bytes ? rmem_queue_create(rm, NULL, &q) : -ENOMEM;

	if (rc == 0)
		rc = rmem_alloc(rm, FENCED_BYTES, &zeroed, &addr);
	for (unsigned i = 1; i <= rounds && rc == 0; i++) {
		pattern_fill(bytes, FENCED_BYTES, i);
		rc = rmem_start_read(q, bytes + FENCED_BYTES, addr, FENCED_BYTES, 0);
		if (rc == 0)
			rc = rmem_fence(q);
		if (rc == 0)
			rc = rmem_start_write(q, addr, bytes, FENCED_BYTES, 1);
		for (int n = 0; n < 2 && rc == 0;) {
			int got = rmem_reap(q, done, 2 - n, -1);

			rc = got < 0 ? got : done[0].status ? done[0].status : done[got - 1].status;
			n += got;
		}
		if (rc == 0 && pattern_check(bytes + FENCED_BYTES, FENCED_BYTES, i - 1) >= 0)
			return complain("a read has seen what was behind a fence", 0);
	}
	rmem_queue_destroy(q);
	free(bytes);
	if (rc == 0)
		rc = rmem_free(rm, addr);
	return rc ? complain("fence", rc) : 0;
}

static int storm_passes(struct rmem *rm, uint64_t seed, size_t operations)
{
	struct storm s;
	int rc = storm_create(&s, rm, operations, (unsigned)operations, seed);

	if (rc)
		return complain("storm", rc);
	if (!storm_start(&s, operations) || !storm_reap(&s, operations) || !storm_verify(&s))
		return complain(s.wrong, 0);
	if (s.failed)
		return complain(s.errinfo, 0);
	rc = storm_destroy(&s);
	return rc ? complain("end of the storm", rc) : 0;
}

static int steady(struct rmem *rm, uint64_t seed, size_t operations)
{
	uint64_t began = clock_boot_ns();

	if (storm_passes(rm, seed, operations) ||
		copy_and_wait(rm, seed, (unsigned)operations / 10) ||
		fence(rm, (unsigned)operations / 16))
		return 1;
	printf("steady: %zu operations and more in %" PRIu64 " ms\n", operations, ms_since(began));
	return 0;
}

/* ---- cut ---- */

static void say(const char *what)
{
	printf("%s\n", what);
	fflush(stdout);
}

static int await_line(void)
{
	char line[80];

	return fgets(line, sizeof(line), stdin) ? 0 : complain("nobody says go on", 0);
}

static int cut(struct rmem *rm)
{
	uint64_t began, word;
	struct storm s;
	int rc = storm_create(&s, rm, CUT_OPERATIONS, CUT_DEPTH, 5);

	if (rc)
		return complain("storm", rc);
	if (!storm_start(&s, CUT_OPERATIONS) || !storm_reap(&s, CUT_OPERATIONS / 4))
		return complain(s.wrong, 0);
	say("halfway");
	if (await_line())
		return 1;
	began = clock_boot_ns();
	if (!storm_reap(&s, CUT_OPERATIONS))
		return complain(s.wrong, 0);
	printf("%zu failed, %zu of them unknown, all known after %" PRIu64 " ms: %s\n", s.failed,
		s.unknown, ms_since(began), s.errinfo);
	began = clock_boot_ns();
	rc = rmem_read(rm, &word, s.slots, sizeof(word));
	printf("a new call: %d after %" PRIu64 " ms: %s\n", rc, ms_since(began), rmem_errmsg());
	if (!s.failed || (rc != -ECONNRESET && rc != -ETIMEDOUT))
		return complain("the wire was not cut", 0);
	say("known");
	if (await_line())
		return 1;
	if (!storm_await_back(&s) || !storm_verify(&s))
		return complain(s.wrong, 0);
	/* Requests went out, and answers did not come in. */
	printf("%zu of those that failed were done\n", s.done_unanswered);
	if (!s.done_unanswered)
		return complain("nothing was done that was not answered", 0);
	rc = storm_destroy(&s);
	return rc ? complain("end of the storm", rc) : 0;
}

/* ---- open ---- */

/* The first use connects a channel; -ETIMEDOUT is that. */
static int use(struct rmem *rm)
{
	uint64_t word = 0;
	rmem_addr_t addr;
	int late, rc = rmem_alloc(rm, sizeof(word), NULL, &addr);

	if (rc)
		return complain("rmem_alloc", rc);
	late = rmem_write(rm, addr, &word, sizeof(word));
	if (late && late != -ETIMEDOUT)
		return complain("rmem_write", late);
	rc = rmem_free(rm, addr);
	return rc ? complain("rmem_free", rc) : late;
}

/*
 * A request of the connection manager that was lost, or its answer, must not cost the timeout. All that are sent
 * until then may be lost, which is rare; if only one were sent, one in ten would cost it.
 */
static int open_often(const char *server, unsigned long times, unsigned long late_max)
{
	uint64_t longest = 0;
	unsigned long late = 0;

	for (unsigned long i = 0; i < times; i++) {
		uint64_t began = clock_boot_ns();
		struct rmem *rm;
		int rc = rmem_open(server, NULL, &rm);

		if (rc && rc != -ETIMEDOUT)
			return complain("rmem_open", rc);
		if (rc == 0) {
			rc = use(rm);
			if (rmem_close(rm) || rc > 0)
				return 1;
		}
		late += rc != 0;
		if (ms_since(began) > longest)
			longest = ms_since(began);
	}
	printf("open: %lu times, %lu not in time, the longest from open to close took %" PRIu64
	       " ms\n",
		times, late, longest);
	return late > late_max ? complain("too many were late", 0) : 0;
}

/* ---- */

static int with_session(int argc, char **argv)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm;
	int rc, status;

	attr.timeout_ms = argc == 5 ? STEADY_TIMEOUT_MS : CUT_TIMEOUT_MS;
	rc = rmem_open(argv[1], &attr, &rm);
	if (rc)
		return complain("rmem_open", rc);
	status = argc == 5 ? steady(rm, strtoull(argv[3], NULL, 0), strtoul(argv[4], NULL, 0))
			   : cut(rm);
	rc = rmem_close(rm);
	return rc && status == 0 ? complain("rmem_close", rc) : status;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[2], "open") == 0)
		return open_often(argv[1], strtoul(argv[3], NULL, 0), strtoul(argv[4], NULL, 0));
	if ((argc == 5 && strcmp(argv[2], "steady") == 0) ||
		(argc == 3 && strcmp(argv[2], "cut") == 0))
		return with_session(argc, argv);
	fprintf(stderr, "usage: traffic SERVER steady SEED OPERATIONS | open TIMES LATE | cut\n");
	return 2;
}
