/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a program that was built with another header, or runs beside one, can rely on: structs with a size, flags, what is
 * in a completion, keys. What needs no session is tested natively (unit/test_attr.c, tests/abi).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/rxe/desk.h"

#define LONG (128 * KIB) /* registered for the call, if it is mapped */
#define DEPTH 16
#define FAILURES 20 /* more than a queue of that depth keeps sentences */

/* What a program of a later version hands over: the same structs, and a field more. */
struct later_alloc_attr {
	struct rmem_alloc_attr attr;
	uint64_t more;
};
struct later_queue_attr {
	struct rmem_queue_attr attr;
	uint64_t more;
};
struct later_stats {
	struct rmem_stats stats;
	uint64_t more;
};

static void check_alloc_attr(struct rmem *rm)
{
	struct later_alloc_attr later = { RMEM_ALLOC_ATTR_INIT, 0 };
	rmem_addr_t addr = 0, untouched = 77;

	later.attr.size = sizeof(later);
	lib_succeed(rmem_alloc(rm, 100, &later.attr, &addr));
	lib_succeed(rmem_free(rm, addr));
	later.more = 1;
	lib_expect(rmem_alloc(rm, 100, &later.attr, &untouched), -E2BIG, "newer librmem");
	later.attr.size = sizeof(later.attr) - 1;
	lib_expect(rmem_alloc(rm, 100, &later.attr, &untouched), -EINVAL, "initializer");
	later.attr.size = sizeof(later.attr);
	later.attr.flags = 1U << 31;
	lib_expect(rmem_alloc(rm, 100, &later.attr, &untouched), -EINVAL, "0x80000000");
	assert_int_equal(untouched, 77);
}

static void check_queue_attr(struct rmem *rm)
{
	struct later_queue_attr later = { RMEM_QUEUE_ATTR_INIT, 0 };
	struct rmem_queue *q = NULL;

	later.attr.size = sizeof(later);
	lib_succeed(rmem_queue_create(rm, &later.attr, &q));
	rmem_queue_destroy(q);
	q = (void *)&later;
	later.more = 1;
	lib_expect(rmem_queue_create(rm, &later.attr, &q), -E2BIG, "newer librmem");
	later.attr.size = sizeof(later.attr) - 1;
	lib_expect(rmem_queue_create(rm, &later.attr, &q), -EINVAL, "initializer");
	later.attr.size = sizeof(later.attr);
	later.attr.flags = 1U << 31;
	lib_expect(rmem_queue_create(rm, &later.attr, &q), -EINVAL, "0x80000000");
	assert_ptr_equal(q, &later);
}

static void check_stats(struct rmem *rm)
{
	struct later_stats later = { RMEM_STATS_INIT, 77 };

	lib_succeed(rmem_stats(rm, &later.stats));
	assert_int_equal(later.more, 77);
	later.stats.size = sizeof(later);
	lib_succeed(rmem_stats(rm, &later.stats));
	assert_int_equal(later.more, 0);
	assert_int_equal(later.stats.size, sizeof(later));
	later.stats.size = sizeof(later.stats) - 1;
	lib_expect(rmem_stats(rm, &later.stats), -EINVAL, "initializer");
}

static void reap_one(struct rmem_queue *q, uint64_t tag, int status, uint64_t result)
{
	struct rmem_completion done = { .flags = 1 };

	assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
	assert_int_equal(done.tag, tag);
	if (done.status != status)
		fail_msg("%" PRIu64 ": %s: %s", tag, rmem_err_name(done.status),
			rmem_completion_errmsg(q, &done));
	assert_int_equal(done.result, result);
	assert_int_equal(done.flags & 0xff, 0);
	assert_true((rmem_completion_errmsg(q, &done)[0] == '\0') == (status == 0));
}

static void check_results(struct desk *d)
{
	const struct iovec local[] = { { d->bytes, 100 }, { d->bytes + 4096, 11 } };
	const struct rmem_iovec remote = { d->addr + 64, 111 };
	static uint8_t elsewhere[100 * KIB]; /* in no registered buffer: many requests */

	lib_succeed(rmem_start_write(d->q, d->addr, "eightful", 8, 1));
	lib_succeed(rmem_start_fetch_add(d->q, d->addr, 0, NULL, 2));
	lib_succeed(rmem_start_read(d->q, d->bytes, d->addr, 5000, 3));
	lib_succeed(rmem_start_readv(d->q, local, 2, &remote, 1, 4));
	lib_succeed(rmem_start_write(d->q, d->addr, d->bytes, 0, 5));
	lib_succeed(rmem_start_write(d->q, d->addr, elsewhere, 64 * KIB, 6));
	lib_succeed(rmem_start_compare_swap(d->q, d->addr, 0, 9, NULL, 7));
	lib_succeed(rmem_start_compare_swap(d->q, d->addr, 0, 8, NULL, 8));
	reap_one(d->q, 1, 0, 8);
	reap_one(d->q, 2, 0, *(const uint64_t *)(const void *)"eightful");
	reap_one(d->q, 3, 0, 5000);
	reap_one(d->q, 4, 0, 111);
	reap_one(d->q, 5, 0, 0);
	reap_one(d->q, 6, 0, 64 * KIB);
	reap_one(d->q, 7, 0, 0);
	reap_one(d->q, 8, 0, 9);
}

/* Local memory that is not there is noticed after the operation was started. */
static void start_bad(struct desk *d, rmem_addr_t addr, uint8_t *nowhere, uint64_t i)
{
	lib_succeed(rmem_start_write(d->q, addr, nowhere + i * 4096, LONG, i));
}

static void check_reason(
	const struct rmem_queue *q, const struct rmem_completion *c, const uint8_t *nowhere)
{
	char mention[32];

	snprintf(mention, sizeof(mention), "%p", (const void *)(nowhere + c->tag * 4096));
	assert_int_equal(c->status, -EFAULT);
	assert_int_equal(c->result, 0);
	if (!strstr(rmem_completion_errmsg(q, c), mention))
		fail_msg("%s: has no %s", rmem_completion_errmsg(q, c), mention);
}

/* Each has its own, in whatever order they are asked for, until there have been too many. */
static void check_reasons(struct desk *d)
{
	const size_t bytes = (FAILURES + 64) * 4096;
	uint8_t *nowhere = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct rmem_completion done[3], all[FAILURES];
	rmem_addr_t addr = lib_alloc(d->rm, LONG);
	char first[512];

	assert_true(nowhere != MAP_FAILED);
	start_bad(d, addr, nowhere, 0);
	lib_succeed(rmem_start_write(d->q, d->addr, d->bytes, 8, 99));
	start_bad(d, addr, nowhere, 2);
	for (int n = 0; n < 3;) {
		int got = rmem_reap(d->q, done + n, 3 - n, -1);

		assert_true(got > 0);
		n += got;
	}
	assert_non_null(strstr(rmem_errmsg(), "not all of it is mapped"));
	check_reason(d->q, &done[2], nowhere);
	check_reason(d->q, &done[0], nowhere);
	lib_succeed(done[1].status);
	assert_string_equal(rmem_completion_errmsg(d->q, &done[1]), "");
	snprintf(first, sizeof(first), "%s", rmem_completion_errmsg(d->q, &done[0]));
	for (unsigned i = 0; i < FAILURES; i++) {
		start_bad(d, addr, nowhere, i + 3);
		assert_int_equal(rmem_reap(d->q, &all[i], 1, -1), 1);
	}
	for (unsigned i = FAILURES - 15; i < FAILURES; i++)
		check_reason(d->q, &all[i], nowhere);
	assert_string_equal(rmem_completion_errmsg(d->q, &done[0]), "Bad address");
	assert_non_null(strstr(first, "mapped"));
	munmap(nowhere, bytes);
	lib_succeed(rmem_free(d->rm, addr));
}

static void test_structs(void **state)
{
	struct desk d;

	desk_create(&d, *state, DEPTH);
	check_alloc_attr(d.rm);
	check_queue_attr(d.rm);
	check_stats(d.rm);
	check_results(&d);
	check_reasons(&d);
	desk_destroy(&d);
}

static void test_keys(void **state)
{
	struct rmem_share_key key, bad;
	struct rig *r = *state;
	struct rmem *a, *b;
	rmem_addr_t addr;

	rig_start(r, NULL);
	a = lib_open(r->server, 0);
	b = lib_open(r->server, 0);
	addr = lib_alloc(a, 4096);
	lib_succeed(rmem_share(a, addr, &key));
	for (size_t i = 0; i < sizeof(key.bytes); i++) {
		bad = key;
		bad.bytes[i] ^= 0x40;
		assert_true(rmem_attach(b, addr, &bad, NULL) < 0);
	}
	lib_expect(rmem_attach(b, addr, &bad, NULL), -EINVAL, "64 bytes");
	memset(&bad, 0, sizeof(bad));
	lib_expect(rmem_attach(b, addr, &bad, NULL), -EINVAL, "64 bytes");
	lib_succeed(rmem_attach(b, addr, &key, NULL));
	lib_succeed(rmem_close(b));
	lib_succeed(rmem_free(a, addr));
	lib_succeed(rmem_close(a));
	rig_stop(r, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = { RIG_TEST(test_structs), RIG_TEST(test_keys) };

	return rig_main(RIG_PORT_ABI, tests, sizeof(tests) / sizeof(tests[0]));
}
