/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a pool takes of time: its start, and wiping. Needs no device: the server's memory (server/memory/) in /dev/shm.
 *
 * Usage: pool-bench BYTES ROUNDS. A line per measurement on standard output: name, milliseconds (median), and what that is
 * in relation to.
 *
 *	memset		BYTES of fresh anonymous memory by one thread per processor, as the pool is pre-faulted
 *	start		until all of a pool of BYTES is ready; the ratio is to memset in the same round
 *	first		... until it can serve
 *	wipe, loop	processor time of the event loop's thread while a quarter of BYTES is wiped; ratio to the wall time
 *	wipe, longest	the longest call of the loop in that time
 */
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/units.h"
#include "numa/topology.h"
#include "server/memory/growth.h"

#define ROUNDS_MAX 99
#define THREADS_MAX 64

struct sample {
	uint64_t memset_ns, first_ns, start_ns, wipe_ns, loop_ns, longest_ns;
};

static struct topology *machine;
static char path[] = "/dev/shm/rmem-pool-bench-XXXXXX";

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "pool-bench: %s\n", what);
	exit(1);
}

/* ---- memset of as much ---- */

struct part {
	char *from;
	uint64_t bytes;
};

static void *set(void *arg)
{
	const struct part *part = arg;

	memset(part->from, 0, part->bytes);
	return NULL;
}

static uint64_t measure_memset(uint64_t bytes)
{
	const unsigned n =
		(unsigned)get_nprocs() < THREADS_MAX ? (unsigned)get_nprocs() : THREADS_MAX;
	struct part parts[THREADS_MAX];
	pthread_t threads[THREADS_MAX];
	uint64_t began_ns = clock_boot_ns();
	char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(map != MAP_FAILED, "no memory for memset");
	for (unsigned i = 0; i < n; i++) {
		parts[i] = (struct part){ map + bytes / n * i, bytes / n };
		must(pthread_create(&threads[i], NULL, set, &parts[i]) == 0, "no thread");
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	began_ns = clock_boot_ns() - began_ns;
	munmap(map, bytes);
	return began_ns;
}

/* ---- the pool ---- */

static uint64_t spread(struct sizes *sizes, uint64_t bytes)
{
	sizes->count = topology_count(machine);
	for (size_t i = 0; i < sizes->count; i++)
		sizes->nodes[i] = (struct sizes_node){ topology_at(machine, i)->node,
			bytes / sizes->count / MIB * MIB };
	return sizes->count;
}

static void give_up(struct pool *p, uint64_t bytes)
{
	const struct wish wish = { .bytes = bytes };
	const struct allocation draft = { .session_serial = 1 }, *a;

	must(pool_alloc(p, &wish, &draft, &a) == 0, "no block");
	must(ledger_set_state(p->ledger, a, ALLOCATION_REVOKING) == 0, "ledger");
	pool_quarantine(p, a);
}

/* As the event loop does it: sleep until a wiper has something to give back. */
static void measure_wiping(struct pool *p, uint64_t bytes, struct sample *out)
{
	struct pollfd fd = { .fd = p->wiped_fd, .events = POLLIN };
	const uint64_t block_bytes = bytes < GIB ? bytes : GIB, began_ns = clock_boot_ns();
	const uint64_t ran_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);

	for (uint64_t done = 0; done < bytes; done += block_bytes)
		give_up(p, block_bytes);
	while (p->nquarantined) {
		const uint64_t call_ns = clock_boot_ns();
		uint64_t n, took_ns;

		pool_wipe(p);
		took_ns = clock_boot_ns() - call_ns;
		out->longest_ns = took_ns > out->longest_ns ? took_ns : out->longest_ns;
		if (p->nquarantined)
			must(poll(&fd, 1, -1) == 1 && read(fd.fd, &n, sizeof(n)) > 0, "poll");
	}
	out->wipe_ns = clock_boot_ns() - began_ns;
	out->loop_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - ran_ns;
}

/* As rmemd does it while it serves. */
static void make_rest(struct pool *p, const struct datadir *data, const struct sizes *sizes)
{
	struct growth growth = { .pool = p, .data = data, .topology = machine };
	struct pollfd fd = { .events = POLLIN };
	struct errinfo errinfo = { "" };

	must(growth_open(&growth, &errinfo) == 0, errinfo.text);
	must(growth_begin(&growth, sizes, &errinfo) == 0, errinfo.text);
	fd.fd = growth.done_fd;
	while (growth.jobs) {
		must(poll(&fd, 1, -1) == 1, "poll");
		growth_finish(&growth);
	}
	must(pool_size_bytes(p, POOL_ALL_NODES) == sizes_total(sizes), growth.failure.text);
	growth_close(&growth);
}

static void measure_pool(uint64_t bytes, struct sample *out)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct datadir data = { .arenas = dir, .tables = dir };
	struct errinfo errinfo = { "" };
	struct sizes sizes;
	struct pool p;
	uint64_t began_ns;

	must(dir >= 0, "no directory");
	spread(&sizes, bytes);
	began_ns = clock_boot_ns();
	must(pool_open(&p, &data, &sizes, machine, &errinfo) == 0, errinfo.text);
	out->first_ns = clock_boot_ns() - began_ns;
	make_rest(&p, &data, &sizes);
	out->start_ns = clock_boot_ns() - began_ns;
	measure_wiping(&p, bytes / 4, out);
	datadir_remove_files(&data, p.id, false);
	pool_close(&p);
	close(dir);
}

/* ---- what is said ---- */

static int by_value(const void *left, const void *right)
{
	const double *l = left, *r = right;

	return *l < *r ? -1 : *l > *r;
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), by_value);
	return values[n / 2];
}

static void print(
	const char *name, const struct sample *samples, unsigned n, size_t field, size_t base)
{
	double ms[ROUNDS_MAX], ratios[ROUNDS_MAX];

	for (unsigned i = 0; i < n; i++) {
		uint64_t value, other;

		memcpy(&value, (const char *)&samples[i] + field, sizeof(value));
		memcpy(&other, (const char *)&samples[i] + base, sizeof(other));
		ms[i] = (double)value / NSEC_PER_MSEC;
		ratios[i] = (double)value / (double)other;
	}
	printf("%s\t%.2f\t%.3f\n", name, median(ms, n), median(ratios, n));
}

int main(int argc, char **argv)
{
	struct sample samples[ROUNDS_MAX] = { { 0 } };
	const uint64_t bytes = argc == 3 ? strtoull(argv[1], NULL, 10) / GIB * GIB : 0;
	const unsigned rounds = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;

	must(bytes && rounds && rounds <= ROUNDS_MAX, "usage: pool-bench BYTES ROUNDS");
	must(topology_load(&machine) == 0 && mkdtemp(path), "no /dev/shm, or no topology");
	for (unsigned i = 0; i < rounds; i++) {
		samples[i].memset_ns = measure_memset(bytes);
		measure_pool(bytes, &samples[i]);
	}
	rmdir(path);
	topology_destroy(machine);
	printf("name\tms\tratio\n");
#define PRINT(name, field, base) \
	print(name, samples, rounds, offsetof(struct sample, field), offsetof(struct sample, base))
	PRINT("memset", memset_ns, memset_ns);
	PRINT("start", start_ns, memset_ns);
	PRINT("first", first_ns, memset_ns);
	PRINT("wipe", wipe_ns, wipe_ns);
	PRINT("wipe,loop", loop_ns, wipe_ns);
	PRINT("wipe,longest", longest_ns, wipe_ns);
	return 0;
}
