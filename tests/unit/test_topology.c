/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NUMA logic on machines that are not here: recorded and synthetic hwloc topologies. And on the one
 * that is: whatever it has must be consistent with what the kernel says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "numa/pages.h"
#include "numa/place.h"
#include "numa/prefault.h"
#include "numa/topology.h"

#define GIB (1ULL << 30)
#define MIB (1ULL << 20)

/*
 * Two packages with a node each; a network card with an RDMA device on the second; a card whose bus
 * both share; a virtual interface that hangs off the machine. Node 1 has 2 MiB pages.
 */
#define SETS(mask) \
	"cpuset=\"" mask "\" complete_cpuset=\"" mask "\" nodeset=\"" mask \
	"\" complete_nodeset=\"" mask "\""
#define PACKAGE(index, mask, page_types, devices) \
	"<object type=\"Package\" os_index=\"" index \
	"\" " SETS(mask) " gp_index=\"1" index "\">" \
			 "<object type=\"NUMANode\" os_index=\"" index \
			 "\" " SETS(mask) " gp_index=\"2" index \
					  "\" local_memory=\"4294967296\"><page_type " \
					  "size=\"4096\" count=\"524288\"/>" page_types \
					  "</object><object type=\"PU\" os_index=\"" index \
					  "\" " SETS(mask) " gp_index=\"3" index "\"/>" devices \
							   "</object>"
#define BRIDGE(id, bus, devices) \
	"<object type=\"Bridge\" gp_index=\"4" id "\" bridge_type=\"0-1\" depth=\"0\" " \
	"bridge_pci=\"0000:[" bus "-" bus "]\">" \
	"<object type=\"PCIDev\" gp_index=\"5" id "\" pci_busid=\"0000:" bus ":00.0\" " \
	"pci_type=\"0200 [15b3:1017] [15b3:0007] 00\" pci_link_speed=\"0.000000\">" devices \
	"</object></object>"
#define OSDEV(id, name, type) \
	"<object type=\"OSDev\" gp_index=\"6" id "\" name=\"" name "\" osdev_type=\"" type "\"/>"

static const char two_packages[] =
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n"
	"<topology version=\"2.0\"><object type=\"Machine\" os_index=\"0\" " SETS(
		"0x00000003") " allowed_cpuset=\"0x00000003\" allowed_nodeset=\"0x00000003\" "
			      "gp_index=\"1\">" PACKAGE("0", "0x00000001", "", "") PACKAGE("1",
				      "0x00000002", "<page_type size=\"2097152\" count=\"1024\"/>",
				      BRIDGE("1", "3b",
					      OSDEV("1", "ens1", "2") OSDEV("2", "mlx5_0", "3")))
				      BRIDGE("2", "80", OSDEV("3", "ens2", "2"))
					      OSDEV("4", "dummy0", "2") "</object></topology>";

static struct topology *load_synthetic(const char *description)
{
	struct topology *t = NULL;

	assert_int_equal(setenv("HWLOC_SYNTHETIC", description, 1), 0);
	assert_int_equal(topology_load(&t), 0);
	unsetenv("HWLOC_SYNTHETIC");
	return t;
}

static struct topology *load_two_packages(void)
{
	char path[] = "/tmp/rmem-topology-XXXXXX";
	int fd = mkstemp(path);
	struct topology *t = NULL;

	assert_true(fd >= 0);
	assert_int_equal(
		write(fd, two_packages, sizeof(two_packages) - 1), sizeof(two_packages) - 1);
	close(fd);
	assert_int_equal(setenv("HWLOC_XMLFILE", path, 1), 0);
	assert_int_equal(topology_load(&t), 0);
	unsetenv("HWLOC_XMLFILE");
	unlink(path);
	return t;
}

static void test_nodes_of_another_machine(void **state)
{
	struct topology *t = load_synthetic("pack:3 [numa(memory=4294967296)] core:2 pu:1");

	(void)state;
	assert_int_equal(topology_count(t), 3);
	for (unsigned i = 0; i < 3; i++) {
		const struct topology_node *n = topology_at(t, i);

		assert_int_equal(n->node, i);
		assert_int_equal(n->total_bytes, 4 * GIB);
		assert_int_equal(n->free_bytes, 4 * GIB);
		assert_int_equal(n->cpus, 2);
		assert_int_equal(n->nhuge, 0);
		assert_ptr_equal(topology_find(t, i), n);
	}
	assert_null(topology_find(t, 3));
	assert_int_equal(topology_node_of_device(t, "eth0"), TOPOLOGY_UNKNOWN);
	topology_destroy(t);
}

static void test_nodes_come_in_os_order(void **state)
{
	struct topology *t = load_synthetic("pack:2 [numa(memory=1073741824 indexes=5,2)] pu:1");

	(void)state;
	assert_int_equal(topology_count(t), 2);
	assert_int_equal(topology_at(t, 0)->node, 2);
	assert_int_equal(topology_at(t, 1)->node, 5);
	assert_null(topology_find(t, 0));
	assert_non_null(topology_find(t, 5));
	assert_int_equal(place_thread(t, 5), 0);
	assert_int_equal(place_thread(t, 0), -ENODEV);
	assert_int_equal(place_memory(t, 0, NULL, 4096), -ENODEV);
	topology_destroy(t);
}

static void test_devices_of_another_machine(void **state)
{
	struct topology *t = load_two_packages();

	(void)state;
	assert_int_equal(topology_node_of_device(t, "ens1"), 1);
	assert_int_equal(topology_node_of_device(t, "mlx5_0"), 1);
	assert_int_equal(topology_node_of_pci(t, "0000:3b:00.0"), 1);
	assert_int_equal(topology_node_of_device(t, "ens2"), TOPOLOGY_UNKNOWN);
	assert_int_equal(topology_node_of_pci(t, "0000:80:00.0"), TOPOLOGY_UNKNOWN);
	assert_int_equal(topology_node_of_device(t, "dummy0"), TOPOLOGY_UNKNOWN);
	assert_int_equal(topology_node_of_device(t, "lo"), TOPOLOGY_UNKNOWN);
	assert_int_equal(topology_node_of_device(t, "../net/lo"), TOPOLOGY_UNKNOWN);
	assert_int_equal(topology_node_of_device(t, ""), TOPOLOGY_UNKNOWN);
	assert_int_equal(topology_node_of_pci(t, "nonsense"), TOPOLOGY_UNKNOWN);
	topology_destroy(t);
}

static void test_huge_pages_of_another_machine(void **state)
{
	struct topology *t = load_two_packages();

	(void)state;
	assert_int_equal(topology_find(t, 0)->nhuge, 0);
	assert_int_equal(topology_find(t, 1)->nhuge, 1);
	assert_int_equal(topology_find(t, 1)->huge[0].page_bytes, 2 * MIB);
	assert_int_equal(topology_find(t, 1)->huge[0].free_pages, 1024);
	topology_destroy(t);
}

static void test_this_machine(void **state)
{
	struct topology *t = NULL;

	(void)state;
	assert_int_equal(topology_load(&t), 0);
	assert_true(topology_count(t) >= 1);
	for (size_t i = 0; i < topology_count(t); i++) {
		const struct topology_node *n = topology_at(t, i);

		assert_true(n->total_bytes > 0);
		assert_true(n->free_bytes > 0);
		assert_true(n->free_bytes <= n->total_bytes);
		for (size_t h = 0; h < n->nhuge; h++) {
			assert_true(n->huge[h].page_bytes > 4096);
			assert_true(n->huge[h].free_pages <= n->huge[h].total_pages);
		}
	}
	assert_int_equal(topology_node_of_device(t, "lo"), TOPOLOGY_UNKNOWN);
	topology_destroy(t);
	topology_destroy(NULL);
}

struct progress {
	uint64_t last;
	unsigned calls;
};

static bool note_progress(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;

	assert_true(done > p->last && done <= total);
	p->last = done;
	p->calls++;
	return true;
}

static bool give_up(void *arg, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	++*(unsigned *)arg;
	return false;
}

static void test_prefault_can_be_given_up(void **state)
{
	const uint64_t bytes = 1024 * MIB; /* of which a few chunks are touched */
	struct topology *t = NULL;
	unsigned calls = 0;
	char *p;

	(void)state;
	assert_int_equal(topology_load(&t), 0);
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(
		prefault_range(t, topology_at(t, 0)->node, p, bytes, 4096, give_up, &calls),
		-ECANCELED);
	assert_true(calls >= 1 && calls < bytes / (32 * MIB));
	munmap(p, bytes);
	topology_destroy(t);
}

static void test_prefault_gives_every_page(void **state)
{
	const uint64_t bytes = 100 * MIB;
	struct progress seen = { 0 };
	struct pages_count count;
	struct topology *t = NULL;
	unsigned node;
	char *p;

	(void)state;
	assert_int_equal(topology_load(&t), 0);
	node = topology_at(t, topology_count(t) - 1)->node;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(place_memory(t, node, p, bytes), 0);

	assert_int_equal(pages_locate(p, bytes, 4096, node, 0, &count), 0);
	assert_int_equal(count.total, bytes / 4096);
	assert_int_equal(count.checked, count.total);
	assert_int_equal(count.absent, count.total);

	p[5 * MIB] = 'x';
	assert_int_equal(pages_locate(p, bytes, 4096, node, 0, &count), 0);
	assert_int_equal(count.on_node, 1);

	assert_int_equal(prefault_range(t, node, p, bytes, 4096, note_progress, &seen), 0);
	assert_int_equal(seen.last, bytes);
	assert_true(seen.calls >= 1);
	assert_int_equal(p[5 * MIB], 'x');
	assert_int_equal(pages_locate(p, bytes, 4096, node, 0, &count), 0);
	assert_int_equal(count.on_node, count.total);
	assert_int_equal(pages_locate(p, bytes, 4096, node + 1, 0, &count), 0);
	assert_int_equal(count.elsewhere, count.total);
	munmap(p, bytes);
	topology_destroy(t);
}

static void test_pages_are_sampled(void **state)
{
	const uint64_t bytes = 8 * MIB;
	struct pages_count count;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, 1, bytes / 2); /* the first half is there */
	assert_int_equal(pages_locate(p, bytes, 4096, 0, 1000, &count), 0);
	assert_int_equal(count.total, 2048);
	assert_int_equal(count.checked, 1000);
	assert_int_equal(count.absent, 500);
	assert_int_equal(count.on_node + count.elsewhere, 500);
	assert_int_equal(pages_locate(p, 4097, 4096, 0, 0, &count), 0);
	assert_int_equal(count.total, 2);
	assert_int_equal(pages_locate(p, 0, 4096, 0, 0, &count), 0);
	assert_int_equal(count.total, 0);
	assert_int_equal(pages_locate(p, bytes, 0, 0, 0, &count), -EINVAL);
	assert_int_equal(pages_locate(p, bytes, 6000, 0, 0, &count), -EINVAL);
	assert_int_equal(pages_locate(p + 1, bytes, 4096, 0, 0, &count), -EINVAL);
	munmap(p, bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes_of_another_machine),
		cmocka_unit_test(test_nodes_come_in_os_order),
		cmocka_unit_test(test_devices_of_another_machine),
		cmocka_unit_test(test_huge_pages_of_another_machine),
		cmocka_unit_test(test_this_machine),
		cmocka_unit_test(test_prefault_gives_every_page),
		cmocka_unit_test(test_prefault_can_be_given_up),
		cmocka_unit_test(test_pages_are_sampled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
