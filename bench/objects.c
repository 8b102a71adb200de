/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What small objects cost rmemd: slabs full of objects of 64 bytes, of which the server keeps nothing but the slabs'
 * records in its ledger. Measured: a restart, and an audit, which reads what the clients keep of each object. Needs no
 * device, no arena and no client.
 *
 * A line per measurement, as scale-bench prints them: name, how many objects, milliseconds in all, nanoseconds each, and
 * milliseconds of the longest single call, for which the loop or the audit's thread is busy. Times are processor time.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/object_record.h"
#include "common/size_class.h"
#include "common/units.h"
#include "server/audit/audit.h"
#include "server/lease/slab.h"
#include "server/lease/session.h"
#include "server/memory/buddy.h"

#define SLOT_BYTES 64
#define SLAB_BYTES (64 * KIB)
#define SESSIONS 1000
#define SITES 64
#define WORDS 65536 /* of a batch in server/audit/pass.c */

static struct {
	uint32_t nobjects, nslabs, slots;
	unsigned size_class;
	char path[32];
	int dir;
	struct pool pool;
	struct segment segment; /* its only one */
	struct sessions *sessions;
	struct sites *sites;
	struct leases leases;
	uint64_t arena_bytes;
} b = { .nobjects = 10000000, .path = "/dev/shm/rmem-slabs-XXXXXX" };

struct timing {
	uint64_t began_ns, total_ns, longest_ns;
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "slab-bench: %s\n", what);
	exit(1);
}

static void begin(struct timing *t)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	t->began_ns = (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

static void end(struct timing *t)
{
	struct timing now = { 0 };
	uint64_t took_ns;

	begin(&now);
	took_ns = now.began_ns - t->began_ns;
	t->total_ns += took_ns;
	t->longest_ns = took_ns > t->longest_ns ? took_ns : t->longest_ns;
}

static void print(const char *name, const struct timing *t)
{
	printf("%s\t%" PRIu32 "\t%.3f\t%.1f\t%.3f\n", name, b.nobjects, (double)t->total_ns / 1e6,
		(double)t->total_ns / b.nobjects, (double)t->longest_ns / 1e6);
}

static uint64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char line[160] = "", *second;

	must(f && fgets(line, sizeof(line), f), "no /proc/self/statm");
	fclose(f);
	(void)strtoull(line, &second, 10);
	return strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- the tables ---- */

static void open_tables(void)
{
	must(!ledger_open(&b.pool.ledger, b.dir, "ledger", b.nslabs + 16),
		"cannot open the ledger");
	must(!sessions_open(&b.sessions, b.dir, "sessions"), "cannot open the sessions");
	must(!sites_open(&b.sites, b.dir, "sites", b.pool.ledger), "cannot open the sites");
	must(!buddy_create(b.arena_bytes, &b.segment.buddy), "no memory for an allocator");
	b.leases.records = b.sessions;
	b.leases.sites = b.sites;
	b.leases.pool = &b.pool;
}

static void close_tables(void)
{
	ledger_close(b.pool.ledger);
	sessions_close(b.sessions);
	sites_close(b.sites);
	buddy_destroy(b.segment.buddy);
}

static void remove_files(void)
{
	unlinkat(b.dir, "ledger", 0);
	unlinkat(b.dir, "sessions", 0);
	unlinkat(b.dir, "sites", 0);
	rmdir(b.path);
}

static void add_sessions(void)
{
	struct site_request f = { .nmodules = 1, .nframes = 1 };
	uint8_t id[ID_SIZE] = { 0 }, secret[ID_SIZE] = { 0 };
	const struct identity who = { .pid = 1 };
	uint32_t slot, site;

	for (uint32_t i = 0; i < SESSIONS; i++) {
		memcpy(id, &i, sizeof(i));
		must(!sessions_add(b.sessions, id, secret, &who, NSEC_PER_SEC, &slot),
			"no session");
		sessions_set_state(
			b.sessions, slot, SESSION_DEAD, HOLDER_PID_GONE, 2 * NSEC_PER_SEC);
		b.leases.sessions[slot].used = true;
		for (uint32_t n = 0; n < SITES; n++) {
			f.frames[0].offset = n + 1;
			must(!sites_intern(b.sites, &b.leases.sessions[slot].sites, &f, &site),
				"no call site");
		}
	}
}

/* A session's slabs, and in each slot an object. */
static void add_slabs(void)
{
	struct object_record r = { .state = OBJECT_LIVE, .slack = 4, .birth_s = 1 };
	const struct allocation *a;
	uint64_t offset, *records;

	for (uint32_t i = 0; i < b.nslabs; i++) {
		struct allocation d = { .session = i % SESSIONS,
			.session_serial = sessions_get(b.sessions, i % SESSIONS)->serial,
			.bytes = SLAB_BYTES,
			.birth_ns = NSEC_PER_SEC,
			.size_class = (uint8_t)b.size_class };

		must(!buddy_alloc(b.segment.buddy, d.bytes, &offset), "the arena is full");
		d.addr = addr_make(0, offset);
		must(!ledger_add(b.pool.ledger, &d, &a), "cannot add a slab");
		records = (uint64_t *)(b.segment.arena.base + offset +
				       slab_records_offset(b.size_class, b.slots));
		for (uint32_t slot = 0; slot < b.slots; slot++) {
			r.site = 1 + (i + slot * slot) % SITES;
			records[slot] = object_record_pack(&r);
		}
	}
}

/* ---- what rmemd does with them ---- */

static void measure_restart(void)
{
	struct timing all = { 0 };
	const struct allocation *a;
	uint32_t cursor = 0;

	close_tables();
	begin(&all);
	open_tables();
	while ((a = ledger_next(b.pool.ledger, &cursor)) != NULL) {
		sessions_expect(b.sessions, a->session, a->session_serial);
		must(!buddy_reserve(
			     b.segment.buddy, addr_offset(a->addr), allocation_block_bytes(a)),
			"a slab does not fit");
	}
	end(&all);
	print("restart", &all);
}

/* As server/audit/pass.c divides it between the loop and a thread. */
static void measure_audit(void)
{
	static uint64_t words[WORDS];
	static uint32_t slots[WORDS / 16];
	static struct allocation records[WORDS / 16];
	const size_t per_batch = WORDS / b.slots;
	struct audit_node node = { .registered_bytes = b.arena_bytes,
		.free_bytes = buddy_free_bytes(b.segment.buddy) };
	const struct audit_input in = { .ledger = b.pool.ledger,
		.sessions = b.sessions,
		.sites = b.sites,
		.now_ns = 3 * NSEC_PER_SEC,
		.nodes = &node,
		.nnodes = 1 };
	const uint64_t before_bytes = resident_bytes();
	struct timing loop = { 0 }, thread = { 0 };
	struct audit_result *result;
	struct audit_scan *scan;
	struct audit *audit;
	size_t n;

	must(!audit_begin(&in, NULL, AUDIT_FULL, &audit), "no memory for an audit");
	must(!ledger_begin_snapshot(b.pool.ledger), "no memory for a snapshot");
	do {
		begin(&loop);
		n = ledger_next_of_snapshot(b.pool.ledger, slots, records, per_batch);
		for (size_t i = 0; i < n; i++)
			slab_read(&b.leases, &records[i], words + i * b.slots, b.slots);
		end(&loop);
		begin(&thread);
		for (size_t i = 0; i < n; i++)
			audit_add_slab(audit, slots[i], &records[i], words + i * b.slots);
		end(&thread);
	} while (n > 0);
	must(!ledger_end_snapshot(b.pool.ledger), "a snapshot is not whole");
	printf("audit, memory\t%" PRIu32 "\t%.1f MiB\t-\t-\n", b.nobjects,
		(double)(resident_bytes() - before_bytes) / (double)MIB);
	begin(&thread);
	must(!audit_end(audit, &scan, &result), "no memory for the result of an audit");
	end(&thread);
	print("audit: loop", &loop);
	print("audit: thread", &thread);
	must(result->objects_total == (uint64_t)b.nslabs * b.slots, "objects are missing");
	must(result->corrupt_records == 0, "records are corrupt");
	must(result->nodes[0].unaccounted_bytes == 0, "bytes are unaccounted for");
	audit_result_release(result);
	audit_scan_destroy(scan);
}

int main(int argc, char *argv[])
{
	if (argc > 1)
		b.nobjects = (uint32_t)strtoul(argv[1], NULL, 10);
	b.size_class = size_class_of(SLOT_BYTES, 8);
	b.slots = slab_slots(b.size_class, SLAB_BYTES);
	b.nslabs = b.nobjects / b.slots + 1;
	b.arena_bytes = (b.nslabs + 16) * SLAB_BYTES;
	must(mkdtemp(b.path), "cannot make a directory in /dev/shm");
	b.dir = open(b.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(b.dir >= 0, "cannot open a directory in /dev/shm");
	atexit(remove_files);
	b.pool.segments[0] = &b.segment;
	b.segment.arena.base = mmap(NULL, b.arena_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(b.segment.arena.base != MAP_FAILED, "no addresses for an arena");
	b.leases.sessions = calloc(SESSIONS_MAX, sizeof(*b.leases.sessions));
	must(b.leases.sessions != NULL, "no memory for sessions");
	printf("what\tn\ttotal ms\tns each\tlongest ms\n");
	open_tables();
	add_sessions();
	add_slabs();
	measure_audit();
	measure_restart();
	close_tables();
	return 0;
}
