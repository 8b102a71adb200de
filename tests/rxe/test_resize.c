/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmemctl resize while a program uses the pool, with each kind of protection: what it holds stays, new memory is reached over
 * RDMA, and memory leaves only if nothing in it is lent; over a kill of rmemd, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "tests/rxe/client.h"
#include "tests/rxe/outside.h"
#include "tests/rxe/rig.h"

#define MIB_4 (4ULL << 20)

/* rmemctl's answer; it must say so. */
static json_t *resize(struct rig *r, const char *size)
{
	static struct rig_output out;
	json_t *answer;

	rig_ctl(r, (const char *const[]){ "resize", "--node", "0", "--size", size, "--json", NULL },
		&out);
	if (out.status != 0)
		fail_msg("%s%s", out.out, out.err);
	answer = json_loads(out.out, 0, NULL);
	assert_non_null(answer);
	return answer;
}

static bool is_that_large(const json_t *status, void *arg)
{
	return rig_number(status, "nodes.0.registered_bytes") == *(long long *)arg &&
	       rig_number(status, "growth.coming_bytes") == 0;
}

static void await_size(struct rig *r, long long bytes)
{
	json_decref(rig_await(r, "status", is_that_large, &bytes, "node 0 has another size"));
}

static void use_and_resize(struct rig *r, const char *protection)
{
	struct client_order too_much = { .call = CLIENT_ALLOC, .bytes = MIB_4, .node = 0 };
	uint64_t first, second;
	struct client *c;
	json_t *answer;

	rig_start(r, (const char *const[]){ "--size", "0:4M", "--protection", protection, NULL });
	c = client_start_puppet(r->server, RIG_LIMIT_MS);
	client_open(c);
	first = client_alloc(c, MIB_4, 0);
	client_fill(c, first, MIB_4, 1);
	assert_int_equal(client_do(c, &too_much)->err, -ENOSPC);

	answer = resize(r, "12M");
	assert_int_equal(rig_number(answer, "nodes.0.coming_bytes"), 2 * MIB_4);
	json_decref(answer);
	await_size(r, 3 * MIB_4);
	second = client_alloc(c, MIB_4, 0);
	assert_int_not_equal(addr_segment(second), addr_segment(first));
	client_fill(c, second, MIB_4, 2);
	client_check(c, first, MIB_4, 1);

	/* Both are there after a kill. */
	rig_kill(r);
	rig_start(r, (const char *const[]){ "--size", "0:12M", "--protection", protection, NULL });
	client_check(c, second, MIB_4, 2);
	client_check(c, first, MIB_4, 1);
	rig_assert_well(r);

	answer = resize(r, "4M");
	assert_int_equal(rig_number(answer, "nodes.0.size_bytes"), 3 * MIB_4);
	assert_int_equal(rig_number(answer, "holders.0.blocks"), 1);
	assert_int_equal(rig_number(answer, "holders.0.bytes"), MIB_4);
	json_decref(answer);
	client_free(c, second);
	rig_await_wiped(r);
	answer = resize(r, "4M");
	assert_int_equal(rig_number(answer, "nodes.0.size_bytes"), MIB_4);
	json_decref(answer);
	await_size(r, MIB_4);
	client_check(c, first, MIB_4, 1);
	assert_int_equal(client_do(c, &too_much)->err, -ENOSPC);
	client_free(c, first);
	client_close(c);
	rig_end(r);
}

static void test_region(void **state)
{
	use_and_resize(*state, "region");
}

/* Here the new segment is registered, and leaves the device again. */
static void test_window(void **state)
{
	use_and_resize(*state, "window");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_region),
		RIG_TEST(test_window),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_RESIZE, tests, sizeof(tests) / sizeof(tests[0]));
}
