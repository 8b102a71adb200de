/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RMEM_CHECK over a real device: the NIC refuses what passes the end of a sample, and what comes after it was freed;
 * canaries and patterns are really there.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rxe/lib.h"
#include "tests/rxe/raw_session.h"
#include "tests/rxe/rig.h"

#define OBJECTS 100

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char heard[32768];

static void hear(void *user, int level, const char *text)
{
	size_t at;

	(void)user;
	(void)level;
	pthread_mutex_lock(&lock);
	at = strlen(heard);
	snprintf(heard + at, sizeof(heard) - at, "%s\n", text);
	pthread_mutex_unlock(&lock);
}

/* What was heard until now: the last function gets nothing any more. */
static const char *all_heard(void)
{
	lib_succeed(rmem_set_log(RMEM_LOG_ERROR, NULL, NULL));
	return heard;
}

static struct rmem *open_checked(struct rig *r, const char *mode, const char *journal)
{
	struct rmem *rm;

	heard[0] = '\0';
	lib_succeed(rmem_set_log(RMEM_LOG_ERROR, hear, NULL));
	assert_int_equal(setenv("RMEM_CHECK", mode, 1), 0);
	assert_int_equal(setenv("RMEM_JOURNAL", journal, 1), 0);
	rm = lib_open(r->server, 0);
	assert_int_equal(unsetenv("RMEM_CHECK"), 0);
	assert_int_equal(unsetenv("RMEM_JOURNAL"), 0);
	return rm;
}

/* Another session, on bare verbs, which has a share key. */
static struct raw *attach(
	struct rig *r, rmem_addr_t addr, const struct rmem_share_key *key, struct grant_reply *out)
{
	static struct raw_session s;
	struct lookup_request q = { .addr = addr };
	struct lookup_reply found;
	struct raw *raw = NULL;

	memcpy(q.key, key->bytes, sizeof(q.key));
	raw_session_init(&s);
	assert_int_equal(raw_open(r->port, &s, &raw), 0);
	assert_int_equal(RAW_ASK(raw, MESSAGE_LOOKUP, lookup, &q, lookup, &found), 0);
	assert_int_equal(found.bytes, 100);
	raw_remember(addr, found.serial);
	assert_int_equal(raw_attach_with(raw, addr, key->bytes, out), 0);
	return raw;
}

static void samples_are_guarded(void **state)
{
	const char *const options[] = { NULL };
	struct rmem_share_key key;
	struct grant_reply grant;
	struct rig *r = *state;
	struct raw *raw;
	struct rmem *rm;
	rmem_addr_t addr;

	rig_start(r, options);
	rm = open_checked(r, "sample:1", "lazy");
	lib_succeed(rmem_alloc(rm, 100, NULL, &addr));
	lib_succeed(rmem_share(rm, addr, &key));
	raw = attach(r, addr, &key, &grant);
	assert_int_equal(raw_access(raw, IBV_WR_RDMA_WRITE, addr, 100, grant.rkey), IBV_WC_SUCCESS);
	assert_int_not_equal(
		raw_access(raw, IBV_WR_RDMA_WRITE, addr + 100, 1, grant.rkey), IBV_WC_SUCCESS);
	raw_close(raw);
	raw = attach(r, addr, &key, &grant);
	lib_succeed(rmem_free(rm, addr));
	assert_int_not_equal(
		raw_access(raw, IBV_WR_RDMA_WRITE, addr, 1, grant.rkey), IBV_WC_SUCCESS);
	raw_close(raw);
	lib_succeed(rmem_close(rm));
	rig_await_no_session(r);
	rig_end(r);
}

static void use_checked(struct rig *r, const char *journal)
{
	struct rmem *rm = open_checked(r, "full", journal);
	rmem_addr_t addr[OBJECTS];
	char bytes[300] = "";

	for (size_t i = 0; i < OBJECTS; i++) {
		lib_succeed(rmem_alloc(rm, 3 * i + 1, NULL, &addr[i]));
		lib_succeed(rmem_write(rm, addr[i], bytes, 3 * i + 1));
	}
	for (size_t i = 0; i < OBJECTS; i++)
		lib_succeed(rmem_free(rm, addr[i]));
	pthread_mutex_lock(&lock);
	assert_string_equal(heard, "");
	pthread_mutex_unlock(&lock);
	lib_expect(rmem_read(rm, bytes, addr[50], 1), -EFAULT, "has freed");
	lib_expect(rmem_free(rm, addr[50]), -EINVAL, "freed already");
	lib_succeed(rmem_close(rm));
	assert_non_null(strstr(all_heard(), "use after free, a read at"));
	assert_non_null(strstr(heard, "double free of"));
	assert_non_null(strstr(heard, "freed at site"));
	assert_non_null(strstr(heard, " fd fd fd fd"));
	assert_null(strstr(heard, "found now"));
}

static void patterns_are_there(void **state)
{
	const char *const options[] = { NULL };
	struct rig *r = *state;

	rig_start(r, options);
	use_checked(r, "lazy");
	use_checked(r, "exact");
	rig_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(samples_are_guarded),
		RIG_TEST(patterns_are_there),
	};

	return rig_main(RIG_PORT_SAMPLES, tests, sizeof(tests) / sizeof(tests[0]));
}
