/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs that were built with other headers than the library, with a session (natively: tests/abi); what is in a
 * completion, and in a key.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/rxe/desk.h"

#define LONG (128 * KIB) /* registered for the call, if it is mapped */
#define DEPTH 16
#define FAILURES 20 /* more than a queue of that depth keeps sentences */

/* What is mapped nowhere. */
static uint8_t *const nowhere = (uint8_t *)16;

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
static void start_bad(struct desk *d, rmem_addr_t addr, uint64_t i)
{
	lib_succeed(rmem_start_write(d->q, addr, nowhere + i * 4096, LONG, i));
}

static void check_reason(const struct rmem_queue *q, const struct rmem_completion *c)
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
	struct rmem_completion done[3], all[FAILURES];
	rmem_addr_t addr = lib_alloc(d->rm, LONG);
	char first[512];

	start_bad(d, addr, 0);
	lib_succeed(rmem_start_write(d->q, d->addr, d->bytes, 8, 99));
	start_bad(d, addr, 2);
	for (int n = 0; n < 3;) {
		int got = rmem_reap(d->q, done + n, 3 - n, -1);

		assert_true(got > 0);
		n += got;
	}
	assert_non_null(strstr(rmem_errmsg(), "not all of it is mapped"));
	check_reason(d->q, &done[2]);
	check_reason(d->q, &done[0]);
	lib_succeed(done[1].status);
	assert_string_equal(rmem_completion_errmsg(d->q, &done[1]), "");
	snprintf(first, sizeof(first), "%s", rmem_completion_errmsg(d->q, &done[0]));
	for (unsigned i = 0; i < FAILURES; i++) {
		start_bad(d, addr, i + 3);
		assert_int_equal(rmem_reap(d->q, &all[i], 1, -1), 1);
	}
	for (unsigned i = FAILURES - 15; i < FAILURES; i++)
		check_reason(d->q, &all[i]);
	assert_string_equal(rmem_completion_errmsg(d->q, &done[0]), "Bad address");
	assert_non_null(strstr(first, "mapped"));
	lib_succeed(rmem_free(d->rm, addr));
}

/* Programs that were built with the oldest header, and with one that is to come (tests/abi). */
static void test_programs(void **state)
{
	static const char *const paths[] = { ABI_V1_PATH, ABI_NEWER_PATH };
	struct rig *r = *state;

	rig_start(r, NULL);
	for (size_t i = 0; i < 2; i++) {
		const char *const argv[] = { paths[i], r->server, NULL };
		struct process p = { 0 };

		process_start(&p, argv, (const int[]){ -1, -1, -1 });
		assert_int_equal(process_wait(&p, RIG_LIMIT_MS, paths[i]), 0);
	}
	rig_stop(r, false);
}

static void test_completions(void **state)
{
	struct desk d;

	desk_create(&d, *state, DEPTH);
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
	const struct CMUnitTest tests[] = { RIG_TEST(test_programs), RIG_TEST(test_completions),
		RIG_TEST(test_keys) };

	return rig_main(RIG_PORT_ABI, tests, sizeof(tests) / sizeof(tests[0]));
}
