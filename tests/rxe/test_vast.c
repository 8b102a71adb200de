/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * More than 4 GiB in one call: every byte arrives, all of them are counted, and a length that is wrong only
 * beyond 32 bits is refused.
 *
 * What moves is a run of bytes far longer than the memory on either side: both sides go around an area of the
 * same layout, so that each byte of it is copied many times, always from the same place. The pieces of the two
 * sides end at different places. Two short stretches are part of the run once only: around byte 4 GiB, and at
 * the end. Nothing in the layout repeats after a power of two: what went to a place 4 GiB off would show.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/rxe/lib.h"
#include "tests/rxe/pattern.h"

#define GIB (1024 * MIB)
#define PIECES_MAX 1024

/* An area: what is gone around, and what is used once. */
#define BODY (24 * MIB)
#define ONCE (128 * KIB) /* long enough to be registered, not copied */
#define AREA (BODY + 2 * ONCE)

/* The run. */
#define CROSSING (4 * GIB - ONCE / 2)
#define TAIL (4 * GIB + 64 * MIB)
#define TOTAL (TAIL + ONCE)

/* Remotely an area is in several allocations. */
#define PART (12 * MIB)
#define PARTS 3

#define SEED 4096

struct vast {
	struct rmem *rm;
	rmem_addr_t parts[PARTS];
	struct iovec local[PIECES_MAX];
	struct rmem_iovec remote[PIECES_MAX];
	int nlocal, nremote;
};

/* ---- the run ---- */

/* Where in an area the run is at a position; returns for how many bytes it goes on there. */
static size_t run_at(uint64_t position, size_t *out_offset)
{
	uint64_t first = 0, end = CROSSING;

	if (position >= TAIL) {
		*out_offset = BODY + ONCE + (position - TAIL);
		return TOTAL - position;
	}
	if (position >= CROSSING && position < CROSSING + ONCE) {
		*out_offset = BODY + (position - CROSSING);
		return CROSSING + ONCE - position;
	}
	if (position > CROSSING) {
		first = CROSSING + ONCE;
		end = TAIL;
	}
	*out_offset = (position - first) % BODY;
	return end - position < BODY - *out_offset ? end - position : BODY - *out_offset;
}

/* The next piece of at most so many bytes. */
static size_t cut(uint64_t position, size_t limit, size_t *out_offset)
{
	size_t len = run_at(position, out_offset);

	return len < limit ? len : limit;
}

static void list_local(struct vast *v, uint8_t *area)
{
	size_t len, offset;

	v->nlocal = 0;
	for (uint64_t position = 0; position < TOTAL; position += len) {
		assert_true(v->nlocal < PIECES_MAX);
		len = cut(position, 8 * MIB, &offset);
		v->local[v->nlocal++] = (struct iovec){ area + offset, len };
	}
}

static void list_remote(struct vast *v)
{
	size_t len, offset;

	v->nremote = 0;
	for (uint64_t position = 0; position < TOTAL; position += len) {
		assert_true(v->nremote < PIECES_MAX);
		len = cut(position, 7 * MIB, &offset);
		if (len > PART - offset % PART)
			len = PART - offset % PART;
		v->remote[v->nremote++] =
			(struct rmem_iovec){ v->parts[offset / PART] + offset % PART, len };
	}
}

/* ---- the remote area ---- */

static void vast_create(struct vast *v, struct rig *r)
{
	rig_start(r, NULL);
	*v = (struct vast){ .rm = lib_open(r->server, 0) };
	for (int i = 0; i < PARTS; i++)
		v->parts[i] = lib_alloc(v->rm, i < PARTS - 1 ? PART : AREA - (PARTS - 1) * PART);
	list_remote(v);
}

static void vast_destroy(struct vast *v, struct rig *r)
{
	for (int i = 0; i < PARTS; i++)
		lib_succeed(rmem_free(v->rm, v->parts[i]));
	lib_succeed(rmem_close(v->rm));
	rig_stop(r, false);
}

/* The whole area at once, as a list of its parts. */
static int list_parts(const struct vast *v, struct rmem_iovec parts[PARTS])
{
	for (size_t i = 0; i < PARTS; i++)
		parts[i] = (struct rmem_iovec){ v->parts[i],
			i < PARTS - 1 ? PART : AREA - (PARTS - 1) * PART };
	return PARTS;
}

static void check_area(const uint8_t *area)
{
	ssize_t wrong = pattern_check(area, AREA, SEED);

	if (wrong >= 0)
		fail_msg("byte %zd of %zu is wrong", wrong, (size_t)AREA);
}

/* All of it travelled one way, in requests that carry no more than they may, and is counted in full. */
static void check_counters(const struct rmem_stats *d, uint64_t bytes, uint64_t requests)
{
	assert_true(bytes == TOTAL);
	assert_true(lib_bytes(d) == TOTAL);
	assert_true(requests >= TOTAL / MIB);
	printf("%" PRIu64 " bytes in %" PRIu64 " requests, %" PRIu64 " registrations, %" PRIu64
	       " doorbells\n",
		bytes, requests, d->registrations, d->doorbells);
}

/* ---- tests ---- */

static void test_read_of_many_pieces(void **state)
{
	struct rmem_stats last = RMEM_STATS_INIT, d;
	struct rmem_iovec parts[PARTS];
	static struct vast v;
	struct iovec whole;

	vast_create(&v, *state);
	whole = (struct iovec){ lib_buffer(v.rm, AREA), AREA };
	pattern_fill(whole.iov_base, AREA, SEED);
	lib_succeed(rmem_writev(v.rm, &whole, 1, parts, list_parts(&v, parts)));
	memset(whole.iov_base, 0, AREA);
	list_local(&v, whole.iov_base);
	assert_true(v.nlocal > 512 && v.nremote > 512);
	lib_news(v.rm, &last);
	lib_succeed(rmem_readv(v.rm, v.local, v.nlocal, v.remote, v.nremote));
	d = lib_news(v.rm, &last);
	check_counters(&d, d.in_place_bytes, d.in_place_requests);
	check_area(whole.iov_base);
	lib_succeed(rmem_buf_release(v.rm, whole.iov_base));
	vast_destroy(&v, *state);
}

/* An area in the order of the run: TOTAL bytes of addresses, the same few pages again and again. */
static uint8_t *map_run(int fd)
{
	uint8_t *start = mmap(NULL, TOTAL, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t len, offset;

	assert_true(start != MAP_FAILED);
	for (uint64_t position = 0; position < TOTAL; position += len) {
		len = run_at(position, &offset);
		assert_true(mmap(start + position, len, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_FIXED, fd, (off_t)offset) != MAP_FAILED);
	}
	return start;
}

/* By a queue, between two short operations: from one piece, registered bit by bit for the operation. */
static void test_queued_write_of_one_piece(void **state)
{
	struct rmem_completion done[3];
	struct rmem_stats last = RMEM_STATS_INIT, d;
	int fd = memfd_create("area", MFD_CLOEXEC), n = 0;
	uint64_t before = 0, after = 0;
	struct rmem_iovec parts[PARTS];
	static struct vast v;
	struct rmem_queue *q;
	struct iovec whole, run;

	vast_create(&v, *state);
	assert_true(fd >= 0 && ftruncate(fd, AREA) == 0);
	run = (struct iovec){ map_run(fd), TOTAL };
	pattern_fill(run.iov_base, BODY, SEED);
	pattern_fill_at((uint8_t *)run.iov_base + CROSSING, BODY, ONCE, SEED);
	pattern_fill_at((uint8_t *)run.iov_base + TAIL, BODY + ONCE, ONCE, SEED);
	q = lib_queue(v.rm, 3);
	lib_succeed(rmem_start_fetch_add(q, v.parts[0], 0, &before, 1));
	lib_succeed(rmem_fence(q));
	lib_news(v.rm, &last);
	lib_succeed(rmem_start_writev(q, &run, 1, v.remote, v.nremote, 2));
	lib_succeed(rmem_start_fetch_add(q, v.parts[0], 0, &after, 3));
	while (n < 3)
		n += rmem_reap(q, done + n, 3 - n, -1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(done[i].tag, i + 1);
		assert_int_equal(done[i].status, 0);
	}
	assert_int_equal(before, 0);
	assert_true(after == pattern_word(SEED, 0));
	d = lib_news(v.rm, &last);
	check_counters(&d, d.registered_bytes, d.registered_requests);
	rmem_queue_destroy(q);
	munmap(run.iov_base, TOTAL);
	close(fd);
	whole = (struct iovec){ lib_zeroes(AREA), AREA };
	lib_succeed(rmem_readv(v.rm, &whole, 1, parts, list_parts(&v, parts)));
	check_area(whole.iov_base);
	free(whole.iov_base);
	vast_destroy(&v, *state);
}

static void expect_both(struct vast *v, struct rmem_queue *q, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, int wanted, const char *mention)
{
	lib_expect(rmem_readv(v->rm, local, nlocal, remote, nremote), wanted, mention);
	lib_expect(rmem_writev(v->rm, local, nlocal, remote, nremote), wanted, mention);
	lib_expect(rmem_start_readv(q, local, nlocal, remote, nremote, 0), wanted, mention);
	lib_expect(rmem_start_writev(q, local, nlocal, remote, nremote, 0), wanted, mention);
}

/* Lengths that would be fine, were only their low 32 bits looked at; and those that nothing can hold. */
static void test_limits(void **state)
{
	struct rmem_stats before = RMEM_STATS_INIT, after = RMEM_STATS_INIT;
	static struct iovec many_local[PIECES_MAX + 1];
	static struct rmem_iovec many_remote[PIECES_MAX + 1];
	static struct vast v;
	struct rmem_iovec remote[2];
	struct iovec local[2];
	struct rmem_queue *q;
	rmem_addr_t addr = 0;
	char *word;

	vast_create(&v, *state);
	q = lib_queue(v.rm, 1);
	word = lib_buffer(v.rm, 8);
	lib_succeed(rmem_stats(v.rm, &before));

	lib_expect(rmem_alloc(v.rm, 4 * GIB + 8, NULL, &addr), -EFBIG, "at most");
	lib_expect(rmem_read(v.rm, word, v.parts[0], 4 * GIB + 8), -EFAULT, "4294967304");
	lib_expect(rmem_write(v.rm, v.parts[0], word, 4 * GIB + 8), -EFAULT, "4294967304");
	lib_expect(rmem_start_read(q, word, v.parts[0], 4 * GIB + 8, 0), -EFAULT, "4294967304");

	local[0] = (struct iovec){ word, 8 };
	remote[0] = (struct rmem_iovec){ v.parts[0], 4 * GIB + 8 };
	expect_both(&v, q, local, 1, remote, 1, -EINVAL,
		"local pieces hold 8 bytes, the remote pieces 4294967304");
	local[0].iov_len = 4 * GIB + 8;
	remote[0].len = 8;
	expect_both(&v, q, local, 1, remote, 1, -EINVAL,
		"local pieces hold 4294967304 bytes, the remote pieces 8");

	local[0].iov_len = remote[0].len = SSIZE_MAX;
	local[1] = (struct iovec){ word, 8 };
	remote[1] = (struct rmem_iovec){ v.parts[0], 8 };
	expect_both(&v, q, local, 2, remote, 2, -EINVAL, "local piece 1 is too long");
	local[0].iov_len = SSIZE_MAX - 8;
	expect_both(&v, q, local, 2, remote, 2, -EINVAL, "remote piece 1 is too long");

	expect_both(&v, q, many_local, PIECES_MAX + 1, many_remote, 1, -EINVAL, "1025 local");
	expect_both(&v, q, many_local, 1, many_remote, PIECES_MAX + 1, -EINVAL, "1025 remote");

	lib_succeed(rmem_stats(v.rm, &after));
	assert_memory_equal(&before, &after, sizeof(before)); /* nothing was sent */
	rmem_queue_destroy(q);
	vast_destroy(&v, *state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_read_of_many_pieces),
		RIG_TEST(test_queued_write_of_one_piece),
		RIG_TEST(test_limits),
	};

	return rig_main(RIG_PORT_VAST, tests, sizeof(tests) / sizeof(tests[0]));
}
