/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The probe on a real RDMA device, the one with address $RMEM_HOST. Skipped (77) where there is none.
 * What must hold on every device is asserted on every device; what soft-RoCE is known not to enforce
 * is asserted on soft-RoCE, so that a kernel that learns it is noticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/verbs.h"
#include "server/net/probe.h"

static struct ibv_context *context;
static struct in_addr address;

/* The device that has the address, or NULL. */
static struct ibv_context *open_device(struct in_addr addr)
{
	struct ibv_context *found = NULL;
	struct ibv_device **list;
	int n = 0;

	list = ibv_get_device_list(&n);
	for (int i = 0; i < n && !found; i++) {
		struct verbs_port port;

		found = ibv_open_device(list[i]);
		if (found && verbs_find_port(found, addr, &port, NULL) != 0) {
			ibv_close_device(found);
			found = NULL;
		}
	}
	if (list)
		ibv_free_device_list(list);
	return found;
}

static bool is_rxe(void)
{
	return strncmp(ibv_get_device_name(context->device), "rxe", 3) == 0;
}

static void test_port_of_address(void **state)
{
	struct in_addr nobody = { htonl(0xc0000201) }; /* 192.0.2.1: never assigned */
	struct verbs_port port;
	struct errinfo errinfo = { "" };

	(void)state;
	assert_int_equal(verbs_find_port(context, address, &port, &errinfo), 0);
	assert_true(port.port >= 1);
	if (port.global)
		assert_memory_equal(port.gid.raw + 12, &address, 4);
	if (port.global) {
		assert_int_equal(verbs_find_port(context, nobody, &port, &errinfo), -EADDRNOTAVAIL);
		assert_non_null(strstr(errinfo.text, "192.0.2.1"));
	}
}

static void test_probe(void **state)
{
	struct ibv_pd *pd = ibv_alloc_pd(context);
	struct probe_result r = { 0 };
	struct errinfo errinfo = { "" };
	uint64_t start_ns;

	(void)state;
	assert_non_null(pd);
	for (int round = 0; round < 3; round++) {
		start_ns = clock_boot_ns();
		if (probe_run(context, pd, address, &r, &errinfo) != 0)
			fail_msg("%s", errinfo.text);
		printf("%s: other queue pair %s, revoked key %s, outside window %s, outside region "
		       "%s, "
		       "remote address %s%s%s; %.1f ms\n",
			ibv_get_device_name(context->device),
			probe_outcome_name(r.other_queue_pair), probe_outcome_name(r.revoked_key),
			probe_outcome_name(r.outside_window), probe_outcome_name(r.outside_region),
			probe_outcome_name(r.remote_address), r.note.text[0] ? ": " : "",
			r.note.text, (double)(clock_boot_ns() - start_ns) / (double)NSEC_PER_MSEC);
		assert_int_equal(r.other_queue_pair, PROBE_REFUSED);
		assert_int_equal(r.revoked_key, PROBE_REFUSED);
		assert_int_equal(r.write_to_read_only, PROBE_REFUSED);
		assert_int_equal(r.outside_region, PROBE_REFUSED);
		assert_int_equal(r.remote_address, PROBE_ALLOWED);
		assert_string_equal(r.note.text, "");
		assert_int_equal(r.outside_window, is_rxe() ? PROBE_ALLOWED : PROBE_REFUSED);
	}
	/* Nothing is left behind that would keep the protection domain. */
	assert_int_equal(ibv_dealloc_pd(pd), 0);
}

static void test_probe_of_an_absent_address(void **state)
{
	struct in_addr nobody = { htonl(0xc0000201) };
	struct ibv_pd *pd = ibv_alloc_pd(context);
	struct probe_result r = { .revoked_key = PROBE_ALLOWED };
	struct errinfo errinfo = { "" };
	struct verbs_port port;

	(void)state;
	assert_non_null(pd);
	assert_int_equal(verbs_find_port(context, address, &port, &errinfo), 0);
	if (port.global) {
		assert_int_equal(probe_run(context, pd, nobody, &r, &errinfo), -EADDRNOTAVAIL);
		assert_int_equal(r.revoked_key, PROBE_ALLOWED); /* untouched */
	}
	assert_int_equal(ibv_dealloc_pd(pd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_port_of_address),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_probe_of_an_absent_address),
	};
	const char *host = getenv("RMEM_HOST");
	int failed;

	if (!host || inet_pton(AF_INET, host, &address) != 1) {
		fprintf(stderr,
			"skipped: RMEM_HOST is no RDMA address (scripts/softroce run sets it)\n");
		return 77;
	}
	context = open_device(address);
	if (!context) {
		fprintf(stderr, "skipped: no RDMA device has the address %s\n", host);
		return 77;
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	ibv_close_device(context);
	return failed;
}
