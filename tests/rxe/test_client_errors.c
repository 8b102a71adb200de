/* SPDX-License-Identifier: BSD-3-Clause */
/* What rmem_open() says where there is no server: within its timeout, and with a sentence that helps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <infiniband/verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "rmem/rmem.h"

#define NOBODYS_PORT 7999
#define LIMIT_MS 60000 /* no answer here takes that long, on a busy machine either */
#define CM_LIMIT_MS \
	50000 /* the connection manager's own is a minute: what ends before was ended by us */

static char device_name[64];

static uint64_t elapsed_ms(uint64_t since_ns)
{
	return (clock_boot_ns() - since_ns) / NSEC_PER_MSEC;
}

/* What it fails with, if time is not the reason. */
static int try_open(const char *server, const char *device)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm;

	attr.timeout_ms = LIMIT_MS;
	attr.device = device;
	return rmem_open(server, &attr, &rm);
}

static void test_nobody_listens(void **state)
{
	char server[300];

	(void)state;
	snprintf(server, sizeof(server), "%s:%d", getenv("RMEM_HOST"), NOBODYS_PORT);
	assert_int_equal(try_open(server, NULL), -ECONNREFUSED);
	assert_non_null(strstr(rmem_errmsg(), server));
	assert_non_null(strstr(rmem_errmsg(), "start rmemd"));
}

/* Loopback names stand for an address of a device. */
static void test_this_machine(void **state)
{
	static const char *const names[] = { "localhost:7999", "127.0.0.1:7999", "[::1]:7999" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(try_open(names[i], NULL), -ECONNREFUSED);
	setenv("RMEM_SERVER", "localhost:7999", 1);
	assert_int_equal(try_open(NULL, NULL), -ECONNREFUSED);
	assert_int_equal(try_open(NULL, device_name), -ECONNREFUSED);
	setenv("RMEM_SERVER", "localhost:x", 1);
	assert_int_equal(try_open(NULL, NULL), -EINVAL);
	setenv("RMEM_SERVER", "", 1); /* as if it were not set */
	assert_int_equal(try_open(NULL, NULL), -ECONNREFUSED);
	assert_int_equal(try_open("", NULL), -EINVAL);
	assert_non_null(strstr(rmem_errmsg(), "empty"));
	unsetenv("RMEM_SERVER");
}

/* An address in the device's network that no machine has. */
static void silent_neighbour(char *out, size_t size)
{
	struct in_addr addr;

	assert_int_equal(inet_pton(AF_INET, getenv("RMEM_HOST"), &addr), 1);
	addr.s_addr = htonl((ntohl(addr.s_addr) & ~0xffU) | 0xfd);
	assert_non_null(inet_ntop(AF_INET, &addr, out, (socklen_t)size));
}

/* The limit is ours, not the connection manager's minute. */
static void nobody_answers(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm = (struct rmem *)&attr;
	uint64_t began;
	int rc;

	attr.timeout_ms = 700;
	began = clock_boot_ns();
	rc = rmem_open(server, &attr, &rm);
	assert_true(rc == -ETIMEDOUT || rc == -EHOSTUNREACH);
	assert_true(elapsed_ms(began) < CM_LIMIT_MS);
	assert_non_null(strstr(rmem_errmsg(), server));
	assert_ptr_equal(rm, &attr); /* untouched */
}

static void test_silent_host(void **state)
{
	char server[INET_ADDRSTRLEN];

	(void)state;
	silent_neighbour(server, sizeof(server));
	nobody_answers(server);
	nobody_answers("192.0.2.1"); /* in another network */
}

static void test_no_such_name(void **state)
{
	(void)state;
	assert_int_equal(try_open("no-such-host.invalid", NULL), -EHOSTUNREACH);
	assert_non_null(strstr(rmem_errmsg(), "no-such-host.invalid"));
}

static void test_unknown_device(void **state)
{
	(void)state;
	assert_int_equal(try_open(NULL, "mlx9_7"), -ENODEV);
	assert_non_null(strstr(rmem_errmsg(), "mlx9_7"));
	assert_non_null(strstr(rmem_errmsg(), device_name));
}

/* Nothing is left behind by attempts that fail. */
static void test_many_failures(void **state)
{
	char server[300];

	(void)state;
	snprintf(server, sizeof(server), "%s:%d", getenv("RMEM_HOST"), NOBODYS_PORT);
	for (int i = 0; i < 50; i++)
		assert_int_equal(try_open(server, NULL), -ECONNREFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_this_machine),
		cmocka_unit_test(test_silent_host),
		cmocka_unit_test(test_no_such_name),
		cmocka_unit_test(test_unknown_device),
		cmocka_unit_test(test_many_failures),
	};
	struct ibv_device **list = ibv_get_device_list(NULL);

	if (!list || !list[0] || !getenv("RMEM_HOST")) {
		puts("no RDMA device: run this with scripts/softroce run");
		return 77;
	}
	snprintf(device_name, sizeof(device_name), "%s", ibv_get_device_name(list[0]));
	ibv_free_device_list(list);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
