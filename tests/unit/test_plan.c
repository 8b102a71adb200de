/* SPDX-License-Identifier: BSD-3-Clause */
/* The planner against the naive idea of it: a list of byte pairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "client/data/plan.h"
#include "tests/support/random.h"

#define SHAPES 4000
#define PIECES 12
#define BYTES_MAX 600

struct shape {
	struct iovec local[PIECES];
	struct rmem_iovec remote[PIECES];
	int nlocal, nremote;
	size_t total;
	char *local_bytes[BYTES_MAX];
	uint64_t remote_bytes[BYTES_MAX];
};

static char memory[1 << 16];

/* Cut total into n lengths, many of them 0. */
static void cut(uint64_t *seed, size_t total, size_t *lens, int n)
{
	for (int i = 0; i < n; i++) {
		lens[i] = i == n - 1 ? total : random_below(seed, total + 1);
		if (i < n - 1 && random_below(seed, 4) == 0)
			lens[i] = 0;
		total -= lens[i];
	}
}

static void make_shape(uint64_t *seed, struct shape *s)
{
	size_t lens[PIECES], k = 0;

	s->nlocal = 1 + (int)random_below(seed, PIECES);
	s->nremote = 1 + (int)random_below(seed, PIECES);
	s->total = random_below(seed, BYTES_MAX + 1);
	cut(seed, s->total, lens, s->nlocal);
	for (int i = 0; i < s->nlocal; i++) {
		s->local[i].iov_base = memory + random_below(seed, sizeof(memory) - BYTES_MAX);
		s->local[i].iov_len = lens[i];
		for (size_t b = 0; b < lens[i]; b++)
			s->local_bytes[k++] = (char *)s->local[i].iov_base + b;
	}
	cut(seed, s->total, lens, s->nremote);
	k = 0;
	for (int i = 0; i < s->nremote; i++) {
		s->remote[i].base = 0x9e00000000000000ULL + random_below(seed, 1 << 20);
		s->remote[i].len = lens[i];
		for (size_t b = 0; b < lens[i]; b++)
			s->remote_bytes[k++] = s->remote[i].base + b;
	}
}

/* Is byte k the last of its piece on either side? */
static bool ends_piece(const struct shape *s, size_t k)
{
	size_t l = 0, r = 0;

	for (int i = 0; i < s->nlocal; i++) {
		l += s->local[i].iov_len;
		if (s->local[i].iov_len && l == k + 1)
			return true;
	}
	for (int i = 0; i < s->nremote; i++) {
		r += s->remote[i].len;
		if (s->remote[i].len && r == k + 1)
			return true;
	}
	return false;
}

static void check_walk(uint64_t *seed, const struct shape *s)
{
	struct plan_segment seg;
	struct plan p;
	size_t k = 0;

	assert_int_equal(plan_start(&p, s->local, s->nlocal, s->remote, s->nremote, NULL), 0);
	while (plan_peek(&p, &seg)) {
		size_t step;

		assert_true(seg.len > 0 && k + seg.len <= s->total);
		for (size_t b = 0; b < seg.len; b++) {
			assert_ptr_equal((char *)seg.local + b, s->local_bytes[k + b]);
			assert_true(seg.remote + b == s->remote_bytes[k + b]);
			assert_int_equal(ends_piece(s, k + b), b == seg.len - 1);
		}
		assert_true((char *)seg.local >= (char *)s->local[seg.local_piece].iov_base);
		/* Inside the segment, to its end, or over several. */
		step = random_below(seed, 2) ? seg.len : 1 + random_below(seed, s->total - k);
		plan_advance(&p, step);
		k += step;
		assert_int_equal(p.left, s->total - k);
	}
	assert_int_equal(k, s->total);
}

static void test_shapes(void **state)
{
	static struct shape s;
	uint64_t seed = 1;

	(void)state;
	for (int i = 0; i < SHAPES; i++) {
		make_shape(&seed, &s);
		check_walk(&seed, &s);
	}
}

static void test_long_pieces_are_cut(void **state)
{
	struct iovec local = { (void *)0x10000, 3 * PLAN_SEGMENT_MAX + 5 };
	struct rmem_iovec remote = { 0x9e00000000001000ULL, 3 * PLAN_SEGMENT_MAX + 5 };
	struct plan_segment seg;
	struct plan p;
	size_t n = 0, k = 0;

	(void)state;
	assert_int_equal(plan_start(&p, &local, 1, &remote, 1, NULL), 0);
	for (; plan_peek(&p, &seg); plan_advance(&p, seg.len), n++) {
		assert_int_equal(seg.len, n < 3 ? PLAN_SEGMENT_MAX : 5);
		assert_true(seg.remote == remote.base + k);
		k += seg.len;
	}
	assert_int_equal(n, 4);
}

/* Where byte k of a list of two pieces is. */
static uint64_t byte_at(const uint64_t base[2], const uint64_t len[2], uint64_t k)
{
	return k < len[0] ? base[0] + k : base[1] + (k - len[0]);
}

/* Offsets, lengths and sums of more than 32 bits, on both sides. (With real memory: tests/rxe/test_vast.c.) */
static void test_beyond_32_bits(void **state)
{
	static const uint64_t gib = 1ULL << 30;
	const uint64_t lbase[2] = { 0x100000, 0x7000000000 };
	const uint64_t rbase[2] = { 0x9e00000000001000ULL, 0x9f00000000000000ULL };
	const uint64_t llen[2] = { 4 * gib + 5, 5 * gib }, rlen[2] = { 6 * gib + 1, 3 * gib + 4 };
	const struct iovec local[2] = { { (void *)lbase[0], llen[0] },
		{ (void *)lbase[1], llen[1] } };
	const struct rmem_iovec remote[2] = { { rbase[0], rlen[0] }, { rbase[1], rlen[1] } };
	struct plan_segment seg;
	uint64_t k = 0;
	struct plan p;

	(void)state;
	assert_int_equal(plan_start(&p, local, 2, remote, 2, NULL), 0);
	for (; plan_peek(&p, &seg); plan_advance(&p, seg.len), k += seg.len) {
		assert_true((uintptr_t)seg.local == byte_at(lbase, llen, k));
		assert_true(seg.remote == byte_at(rbase, rlen, k));
		assert_true((uintptr_t)seg.local + seg.len - 1 ==
			    byte_at(lbase, llen, k + seg.len - 1));
		assert_true(seg.remote + seg.len - 1 == byte_at(rbase, rlen, k + seg.len - 1));
	}
	assert_true(k == 9 * gib + 5);
	/* A sum that agrees in its lower 32 bits only. */
	assert_int_equal(
		plan_start(&p, local, 1, &(struct rmem_iovec){ rbase[0], 5 }, 1, NULL), -EINVAL);
}

static void test_nothing_to_do(void **state)
{
	struct iovec local = { NULL, 0 };
	struct rmem_iovec remote = { 0, 0 };
	struct plan_segment seg;
	struct plan p;

	(void)state;
	assert_int_equal(plan_start(&p, NULL, 0, NULL, 0, NULL), 0);
	assert_false(plan_peek(&p, &seg));
	assert_int_equal(plan_start(&p, &local, 1, &remote, 1, NULL), 0);
	assert_false(plan_peek(&p, &seg));
	plan_advance(&p, 7);
	assert_false(plan_peek(&p, &seg));
}

static void says(const char *mention, const struct iovec *local, const struct rmem_iovec *remote)
{
	struct errinfo errinfo = { "" };
	struct plan p;

	assert_int_equal(plan_start(&p, local, 1, remote, 1, &errinfo), -EINVAL);
	assert_non_null(strstr(errinfo.text, mention));
	assert_null(strstr(errinfo.text, "piece"));
}

/* Of one piece each, which is what rmem_read() makes, no piece is spoken of. */
static void test_no_pieces(void **state)
{
	const struct iovec null = { NULL, 1 }, wraps = { (void *)(UINTPTR_MAX - 3), 8 };
	const struct iovec huge = { (void *)1, (size_t)SSIZE_MAX + 1 }, one = { memory, 1 };
	const struct rmem_iovec remote = { 0x9e00000000001000ULL, 1 };
	const struct rmem_iovec rhuge = { 0x9e00000000001000ULL, SIZE_MAX };

	(void)state;
	says("the local memory is NULL", &null, &remote);
	says("the end of the address space", &wraps, &remote);
	says("at most 9223372036854775807", &huge, &remote);
	says("18446744073709551615 bytes: at most", &one, &rhuge);
}

static void refused(
	const struct iovec *local, int nlocal, const struct rmem_iovec *remote, int nremote)
{
	struct plan p = { .left = 77 };
	struct errinfo errinfo = { "" };

	assert_int_equal(plan_start(&p, local, nlocal, remote, nremote, &errinfo), -EINVAL);
	assert_true(errinfo.text[0]);
	assert_int_equal(p.left, 77);
}

static void test_bad_lists(void **state)
{
	static struct iovec many_local[PLAN_PIECES_MAX + 1];
	static struct rmem_iovec many_remote[PLAN_PIECES_MAX + 1];
	struct iovec one = { memory, 1 }, null = { NULL, 1 };
	struct iovec wraps = { (void *)(UINTPTR_MAX - 3), 8 };
	struct iovec huge[2] = { { (void *)1, SSIZE_MAX }, { (void *)1, 1 } };
	struct rmem_iovec rone = { 0x9e00000000001000ULL, 1 };
	struct rmem_iovec rtwo[2] = { { 0x9e00000000001000ULL, 1 }, { 0x9e00000000002000ULL, 1 } };
	struct rmem_iovec reight = { 0x9e00000000001000ULL, 8 };
	struct rmem_iovec rhuge[2] = { { 1, SIZE_MAX }, { 1, 2 } };
	struct plan p;

	(void)state;
	refused(&one, -1, &rone, 1);
	refused(&one, 1, &rone, -1);
	refused(NULL, 1, &rone, 1);
	refused(&one, 1, NULL, 1);
	refused(&null, 1, &rone, 1);
	refused(&wraps, 1, &reight, 1);
	refused(huge, 2, &rone, 1);
	refused(&one, 1, rhuge, 2);
	refused(&one, 1, rtwo, 2);
	refused(&one, 1, NULL, 0);
	refused(many_local, PLAN_PIECES_MAX + 1, NULL, 0);
	refused(NULL, 0, many_remote, PLAN_PIECES_MAX + 1);
	assert_int_equal(
		plan_start(&p, many_local, PLAN_PIECES_MAX, many_remote, PLAN_PIECES_MAX, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_no_pieces),
		cmocka_unit_test(test_long_pieces_are_cut),
		cmocka_unit_test(test_beyond_32_bits),
		cmocka_unit_test(test_nothing_to_do),
		cmocka_unit_test(test_bad_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
