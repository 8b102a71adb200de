/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How rmemd's tables scale: fill a ledger, then do each thing that the event loop does with all of it. Needs no device,
 * no arena and no client: the pure files of the server and its reports, over tables in /dev/shm.
 *
 * A line per measurement on standard output: name, how many, milliseconds in all, nanoseconds each, and milliseconds of
 * the longest single call, for which the loop (or, where it says so, another thread) is busy. Times are processor time of this thread, with that of
 * the kernel in it: whatever else runs on the machine does not count.
 *
 * The mixture: two nodes; sizes from 4 KiB to 1 MiB, mostly small; one session with a sixteenth of everything; four call sites per session; an eighth
 * was freed and lent again, so that slots and addresses are not in the same order; five sessions in eight are connected.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/units.h"
#include "server/admin/report.h"
#include "server/audit/audit.h"
#include "server/memory/buddy.h"

#define NODES 2
#define SITES 64
#define BATCH \
	64 /* additions and removals are timed by so many: the clock takes longer than they do */

struct scale {
	uint32_t nsessions, nallocations;
	char path[32];
	int dir;
	struct ledger *ledger;
	struct sessions *sessions;
	struct sites *sites;
	struct site_holder holder;
	struct buddy *buddies[NODES];
	uint64_t arena_bytes;
	uint64_t seed;
	struct report_node nodes[NODES];
	struct report_segment segments[NODES];
	struct report_view view;
};

static struct scale scale = { .nsessions = 16000,
	.nallocations = 10000000,
	.path = "/dev/shm/rmem-scale-XXXXXX",
	.arena_bytes = 2 * MIB,
	.seed = 42 };

struct timing {
	uint64_t began_ns, total_ns, longest_ns;
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "scale-bench: %s\n", what);
	exit(1);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void begin(struct timing *t)
{
	t->began_ns = cpu_ns();
}

static void end(struct timing *t)
{
	uint64_t took_ns = cpu_ns() - t->began_ns;

	t->total_ns += took_ns;
	t->longest_ns = took_ns > t->longest_ns ? took_ns : t->longest_ns;
}

static void print(const char *name, uint64_t n, const struct timing *t)
{
	printf("%s\t%" PRIu64 "\t%.3f\t%.0f\t%.3f\n", name, n, (double)t->total_ns / 1e6,
		(double)t->total_ns / (double)n, (double)t->longest_ns / 1e6);
	fflush(stdout);
}

static uint32_t draw(struct scale *s, uint32_t below)
{
	s->seed = s->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)((s->seed >> 33) % below);
}

static uint64_t resident_bytes(void)
{
	unsigned long long all, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	must(f && fscanf(f, "%llu %llu", &all, &resident) == 2, "no /proc/self/statm");
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- the tables ---- */

static void open_tables(struct scale *s)
{
	must(!sessions_open(&s->sessions, s->dir, "sessions"), "cannot open the sessions");
	sessions_tell(s->sessions, s->ledger);
	must(!sites_open(&s->sites, s->dir, "sites", s->ledger), "cannot open the sites");
}

static void open_ledger(struct scale *s)
{
	must(!ledger_open(&s->ledger, s->dir, "ledger", s->nallocations), "cannot open the ledger");
}

static void make_allocators(struct scale *s)
{
	for (unsigned i = 0; i < NODES; i++)
		must(!buddy_create(s->arena_bytes, &s->buddies[i]), "no memory for an allocator");
}

static void close_all(struct scale *s)
{
	ledger_close(s->ledger);
	sessions_close(s->sessions);
	sites_close(s->sites);
	for (unsigned i = 0; i < NODES; i++)
		buddy_destroy(s->buddies[i]);
}

/* Whatever happens: they are large. */
static void remove_files(void)
{
	unlinkat(scale.dir, "ledger", 0);
	unlinkat(scale.dir, "sessions", 0);
	unlinkat(scale.dir, "sites", 0);
	close(scale.dir);
	rmdir(scale.path);
}

static void add_sessions(struct scale *s)
{
	static const enum session_state states[] = { SESSION_CONNECTED, SESSION_CONNECTED,
		SESSION_CONNECTED, SESSION_CONNECTED, SESSION_CONNECTED, SESSION_DETACHED,
		SESSION_CLOSED, SESSION_DEAD };
	static const enum holder_evidence evidence[] = {
		[SESSION_CLOSED] = HOLDER_CLOSED, [SESSION_DEAD] = HOLDER_PID_GONE
	};
	uint8_t id[ID_SIZE] = { 0 }, secret[ID_SIZE] = { 0 };
	struct identity who;

	memset(&who, 0, sizeof(who));
	strcpy(who.exe, "/usr/bin/ingestd");
	strcpy(who.host, "n12");
	for (uint32_t i = 0; i < s->nsessions; i++) {
		enum session_state state = states[i % 8];
		uint32_t slot;

		memcpy(id, &i, sizeof(i));
		who.pid = i + 1;
		must(!sessions_add(s->sessions, id, secret, &who, NSEC_PER_SEC, &slot),
			"cannot add a session");
		if (state != SESSION_CONNECTED)
			sessions_set_state(
				s->sessions, slot, state, evidence[state], 2 * NSEC_PER_SEC);
	}
}

static void add_sites(struct scale *s)
{
	struct site_request f;
	uint32_t site;

	memset(&f, 0, sizeof(f));
	f.nmodules = f.nframes = 1;
	f.modules[0].build_id[0] = 7;
	for (uint32_t i = 0; i < SITES; i++) {
		f.frames[0].offset = i + 1;
		must(!sites_intern(s->sites, &s->holder, &f, &site), "cannot add a site");
	}
}

static uint64_t draw_bytes(struct scale *s)
{
	uint32_t kind = draw(s, 1000);

	if (kind < 750)
		return 4096;
	if (kind < 900)
		return 8192;
	return kind < 999 ? 4096U << (2 + draw(s, 3)) : MIB;
}

static struct allocation draw_draft(struct scale *s)
{
	uint32_t session = draw(s, 16) == 0 ? 0 : draw(s, s->nsessions), node = draw(s, NODES);
	struct allocation d = { .session = session,
		.session_serial = sessions_get(s->sessions, session)->serial,
		.bytes = draw_bytes(s),
		.birth_ns = NSEC_PER_SEC,
		.site = 1 + (session + draw(s, 4)) % SITES };
	uint64_t offset;

	must(!buddy_alloc(s->buddies[node], d.bytes, &offset), "an arena is full");
	d.addr = addr_make(64 + node, offset);
	return d;
}

static void add_allocations(struct scale *s, uint32_t n, struct timing *t)
{
	struct allocation drafts[BATCH];
	const struct allocation *out;
	bool ok = true;

	for (uint32_t done = 0; done < n; done += BATCH) {
		uint32_t now = n - done < BATCH ? n - done : BATCH;

		for (uint32_t i = 0; i < now; i++)
			drafts[i] = draw_draft(s);
		begin(t);
		for (uint32_t i = 0; i < now; i++)
			ok &= !ledger_add(s->ledger, &drafts[i], &out);
		end(t);
	}
	must(ok, "cannot add an allocation");
}

static void end_allocations(struct scale *s, uint32_t n, struct timing *t)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct allocation *a = NULL;
		uint64_t addr, bytes;

		while (!a)
			a = ledger_at(s->ledger, draw(s, s->nallocations));
		addr = a->addr;
		bytes = allocation_block_bytes(a);
		begin(t);
		ledger_set_state(s->ledger, a, ALLOCATION_REVOKING);
		ledger_set_state(s->ledger, a, ALLOCATION_QUARANTINE);
		ledger_set_state(s->ledger, a, ALLOCATION_FREE);
		end(t);
		must(!buddy_free(s->buddies[addr_segment(addr) - 64], addr_offset(addr), bytes),
			"allocator and ledger disagree");
	}
}

static void measure_changes(struct scale *s)
{
	struct timing adding = { 0 }, ending = { 0 };
	uint64_t before_bytes = resident_bytes(), bytes;

	add_allocations(s, s->nallocations, &adding);
	print("ledger add", s->nallocations, &adding);
	end_allocations(s, s->nallocations / 8, &ending);
	print("ledger free (3 steps)", s->nallocations / 8, &ending);
	add_allocations(s, s->nallocations / 8, &(struct timing){ 0 });
	bytes = resident_bytes() - before_bytes;
	printf("memory\t%" PRIu32 "\t%.0f MiB\t%.1f bytes\t-\n", s->nallocations,
		(double)bytes / (double)MIB, (double)bytes / s->nallocations);
}

/* ---- what the server does with all of it ---- */

static void measure_restart(struct scale *s)
{
	struct timing ledger = { 0 }, sessions = { 0 }, allocators = { 0 }, all = { 0 };
	const struct allocation *a;
	uint32_t cursor = 0;

	close_all(s);
	begin(&all);
	begin(&ledger);
	open_ledger(s);
	end(&ledger);
	make_allocators(s);
	begin(&allocators);
	while ((a = ledger_next(s->ledger, &cursor)) != NULL)
		must(!buddy_reserve(s->buddies[allocation_node(a)], addr_offset(a->addr),
			     allocation_block_bytes(a)),
			"a block does not fit");
	end(&allocators);
	begin(&sessions);
	open_tables(s);
	for (cursor = 0; (a = ledger_next(s->ledger, &cursor)) != NULL;)
		sessions_expect(s->sessions, a->session, a->session_serial);
	end(&sessions);
	end(&all);
	must(ledger_count(s->ledger) == s->nallocations, "the ledger has lost something");
	print("restart", s->nallocations, &all);
	print("  ledger_open", s->nallocations, &ledger);
	print("  allocators", s->nallocations, &allocators);
	print("  sessions_open, expect", s->nallocations, &sessions);
}

static void fill_view(struct scale *s)
{
	for (unsigned i = 0; i < NODES; i++)
		s->nodes[i] = (struct report_node){ .given = { .node = i,
							    .registered_bytes = s->arena_bytes,
							    .free_bytes = buddy_free_bytes(
								    s->buddies[i]) },
			.size_bytes = s->arena_bytes,
			.page_bytes = 4096,
			.largest_free_bytes = buddy_largest_free_bytes(s->buddies[i]) };
	for (unsigned i = 0; i < NODES; i++)
		s->segments[i] = (struct report_segment){ .number = 64 + i,
			.node = i,
			.size_bytes = s->arena_bytes,
			.blocks = s->buddies[i] };
	s->view = (struct report_view){ .ledger = s->ledger,
		.sessions = s->sessions,
		.sites = s->sites,
		.now_ns = 3 * NSEC_PER_SEC,
		.now_real_ns = 3 * NSEC_PER_SEC,
		.server = { .version = "", .host = "", .data_dir = "", .admin_socket = "" },
		.nodes = s->nodes,
		.nnodes = NODES,
		.segments = s->segments,
		.nsegments = NODES,
		.terms = { .reclaim = "" } };
}

/* Piece by piece, as server/admin/commands.c does it; it puts pieces together to slices of 1 ms. */
static void write_report(struct scale *s, struct report *r, struct timing *t)
{
	struct text text = { .at = NULL };
	int more;

	must(r != NULL, "no memory for a report");
	do {
		begin(t);
		more = report_write(r, &s->view, &text);
		end(t);
	} while (more > 0);
	begin(t);
	report_end(r);
	end(t);
	must(more == 0 && !strstr(text.at, "\"error\""), "a report failed");
	free(text.at);
}

/* The loop's part of an audit and the thread's, as server/audit/pass.c divides them. */
static void measure_pass(struct scale *s, const struct audit_scan *previous, enum audit_depth depth,
	struct audit_scan **out_scan, struct audit_result **out_result)
{
	static struct allocation records[4096];
	static uint32_t slots[4096];
	const char *name = depth == AUDIT_SCAN ? "audit, first scan" : "audit, second scan";
	struct timing loop = { 0 }, thread = { 0 };
	struct audit_node given[NODES] = { s->nodes[0].given, s->nodes[1].given };
	struct audit_input in = { .ledger = s->ledger,
		.sessions = s->sessions,
		.sites = s->sites,
		.now_ns = s->view.now_ns,
		.nodes = given,
		.nnodes = NODES };
	struct audit *audit;
	char text[64];
	size_t n;

	begin(&loop);
	must(!audit_begin(&in, previous, depth, &audit), "no memory for an audit");
	must(!ledger_begin_snapshot(s->ledger), "no memory for a snapshot");
	end(&loop);
	do {
		begin(&loop);
		n = ledger_next_of_snapshot(s->ledger, slots, records, 4096);
		end(&loop);
		begin(&thread);
		audit_add(audit, slots, records, n);
		end(&thread);
	} while (n > 0);
	begin(&loop);
	must(!ledger_end_snapshot(s->ledger), "a snapshot is not whole");
	end(&loop);
	begin(&thread);
	must(!audit_end(audit, out_scan, out_result), "no memory for the result of an audit");
	end(&thread);
	snprintf(text, sizeof(text), "%s: loop", name);
	print(text, s->nallocations, &loop);
	snprintf(text, sizeof(text), "%s: thread", name);
	print(text, s->nallocations, &thread);
}

static void measure_audit(struct scale *s)
{
	struct timing report = { 0 };
	struct audit_scan *previous, *next;
	struct audit_result *result;

	measure_pass(s, NULL, AUDIT_SCAN, &previous, &result);
	measure_pass(s, previous, AUDIT_FULL, &next, &result);
	for (size_t i = 0; i < result->nnodes; i++)
		must(result->nodes[i].unaccounted_bytes == 0, "bytes are unaccounted for");
	write_report(s, report_leaks(&s->view, result, true), &report);
	begin(&report);
	audit_result_release(result);
	audit_scan_destroy(previous);
	end(&report);
	audit_scan_destroy(next);
	print("audit, report: loop", 1, &report);
}

static struct report *make_status(struct scale *s)
{
	return report_of(report_status(&s->view));
}

static struct report *make_sessions(struct scale *s)
{
	return report_sessions(&s->view);
}

static struct report *make_map_1(struct scale *s)
{
	return report_map(&s->view, 1, -1);
}

static struct report *make_map_1000(struct scale *s)
{
	return report_map(&s->view, REPORT_MAP_LIMIT, -1);
}

/* The session that holds most. */
static struct report *make_who_holds(struct scale *s)
{
	return report_of(
		report_who_holds(&s->view, ledger_next_of_session(s->ledger, 0, NULL)->addr));
}

static void measure_report(
	struct scale *s, const char *name, struct report *(*make)(struct scale *s))
{
	struct timing t = { 0 };
	unsigned n = 0;

	for (; n < 3; n++) {
		struct report *r;

		begin(&t);
		r = make(s);
		end(&t);
		write_report(s, r, &t);
	}
	print(name, n, &t);
}

static uint32_t number_of(const char *text, uint32_t max)
{
	char *stop;
	unsigned long n = strtoul(text, &stop, 10);

	if (*stop || n < 16 || n > max) {
		fprintf(stderr,
			"usage: scale-bench [SESSIONS [ALLOCATIONS]]: 16 or more of each\n");
		exit(2);
	}
	return (uint32_t)n;
}

int main(int argc, char *argv[])
{
	struct scale *s = &scale;

	if (argc > 1)
		s->nsessions = number_of(argv[1], SESSIONS_MAX);
	if (argc > 2)
		s->nallocations = number_of(argv[2], 1U << 24);
	while (s->arena_bytes / 16384 < s->nallocations)
		s->arena_bytes *= 2;
	must(mkdtemp(s->path), "cannot make a directory in /dev/shm");
	s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(s->dir >= 0, "cannot open a directory in /dev/shm");
	atexit(remove_files);
	printf("what\tn\ttotal ms\tns each\tlongest ms\n");
	open_ledger(s);
	open_tables(s);
	make_allocators(s);
	add_sessions(s);
	add_sites(s);
	measure_changes(s);
	measure_restart(s);
	fill_view(s);
	measure_audit(s);
	measure_report(s, "report status", make_status);
	measure_report(s, "report sessions", make_sessions);
	measure_report(s, "report map, limit 1", make_map_1);
	measure_report(s, "report map, limit 1000", make_map_1000);
	measure_report(s, "report who-holds", make_who_holds);
	close_all(s);
	return 0;
}
