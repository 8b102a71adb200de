/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data directories of former versions are read as what they are, to the byte; and today's rmemd stores nothing else than
 * what the newest of them has. tests/fixture/README.md says what a fixture is, and what to do when this fails.
 */
#include "tests/support/dir.h"

#include <inttypes.h>
#include <sys/wait.h>

#include "common/addr.h"
#include "numa/topology.h"
#include "rmem/rmem.h"
#include "server/ledger/sites.h"
#include "server/memory/pool.h"
#include "server/memory/proof.h"
#include "tests/fixture/contents.h"
#include "tests/fixture/layout.h"
#include "tests/fixture/objects.h"

#define TABLES 4
#define LEDGER 1 /* these are their places in versions[] */
#define SESSION_TABLE 2
#define LAYOUT_BYTES 16384
#define WHAT_TO_DO \
	"If what is stored has changed: raise its version (PROOF_, LEDGER_, SESSIONS_, SITES_ or " \
	"HISTORY_FORMAT), keep reading the one before, and add a fixture beside this one; never " \
	"change this one. See tests/fixture/README.md"

/* The versions are those of the tables of a pool. */
static const struct fixture {
	const char *name;
	uint32_t versions[TABLES];
} fixtures[] = {
	{ "1", { 1, 2, 4, 2 } },
	{ "2", { 2, 2, 4, 2 } },
	{ "3", { 2, 2, 4, 3 } },
	{ "4", { 2, 3, 5, 3 } },
	{ "5", { 3, 3, 5, 3 } },
};
#define FIXTURES (sizeof(fixtures) / sizeof(fixtures[0]))
#define NEWEST (&fixtures[FIXTURES - 1])

static const char *const files[] = { DATADIR_POOL, DATADIR_LEDGER, DATADIR_SESSIONS, DATADIR_SITES,
	DATADIR_HISTORY, DATADIR_TIME, "arena-0-0123456789abcdef", "arena-1-0123456789abcdef" };
#define FILES (sizeof(files) / sizeof(files[0]))
#define ARENA_FILES 6 /* they begin there */

static const uint64_t site_hashes[SITES + 1] = { 0, 0xb375453a6076b09b, 0xe8b66c5250d92e5d,
	0xbcd857a126f98ba5 };

/* All that rmemd opens. */
static struct {
	struct datadir data;
	struct topology *topology;
	struct pool pool;
	struct sessions *sessions;
	struct sites *sites;
	struct site_holder holder;
	struct history *history;
} in;

/* ---- files ---- */

static void run(const char *command)
{
	const int status = system(command);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s: status %d", command, status);
}

static void unpack(const struct fixture *f, const char *path)
{
	char command[1024];

	snprintf(command, sizeof(command),
		"tar -xzf '%s/fixture/%s.tar.gz' -C '%s' --no-same-owner", TESTS_DIR, f->name,
		path);
	run(command);
	for (unsigned i = 0; i < FILES; i++)
		assert_int_equal(faccessat(dir, files[i], F_OK, 0), 0);
}

static void empty_dir(void)
{
	for (unsigned i = 0; i < FILES; i++)
		assert_int_equal(unlinkat(dir, files[i], 0), 0);
}

/* Each fixture by itself, in a copy. */
static void each(void **state, void (*test)(const struct fixture *f, const char *path))
{
	for (unsigned i = 0; i < FIXTURES; i++) {
		unpack(&fixtures[i], *state);
		test(&fixtures[i], *state);
		empty_dir();
	}
}

/* ---- as rmemd opens it ---- */

static void open_all(const char *path)
{
	struct errinfo errinfo = { "" };
	const struct allocation *a;
	uint32_t cursor = 0;

	memset(&in, 0, sizeof(in));
	setenv("HWLOC_SYNTHETIC", MACHINE, 1);
	assert_int_equal(topology_load(&in.topology), 0);
	in.data = (struct datadir){ .arenas = dir, .tables = dir };
	snprintf(in.data.arenas_path, sizeof(in.data.arenas_path), "%s", path);
	snprintf(in.data.tables_path, sizeof(in.data.tables_path), "%s", path);
	if (pool_open(&in.pool, &in.data, &arena_sizes, in.topology, &errinfo) != 0)
		fail_msg("%s", errinfo.text);
	assert_int_equal(sessions_open(&in.sessions, dir, DATADIR_SESSIONS), 0);
	while ((a = ledger_next(in.pool.ledger, &cursor)) != NULL)
		sessions_expect(in.sessions, a->session, a->session_serial);
	assert_int_equal(sites_open(&in.sites, dir, DATADIR_SITES, in.pool.ledger), 0);
	assert_int_equal(history_open(&in.history, dir, DATADIR_HISTORY), 0);
}

static void close_all(void)
{
	history_close(in.history);
	sites_release(in.sites, &in.holder);
	sites_close(in.sites);
	sessions_close(in.sessions);
	pool_close(&in.pool);
	topology_destroy(in.topology);
}

/* ---- allocations ---- */

static void check_allocation(
	const struct fixture *f, const struct ledger *l, uint64_t serial, bool opened)
{
	const struct put_allocation *put = &put_allocations[serial - 1];
	const bool orders = f->versions[LEDGER] == 2;
	const struct allocation *a = ledger_find(l, addr_make(put->node, put->offset));

	assert_non_null(a);
	assert_int_equal(a->serial, serial);
	assert_int_equal(a->bytes, put->bytes);
	assert_int_equal(a->order_or_node, orders ? put->order : 0);
	assert_int_equal(a->size_class, orders || serial != SLAB_SERIAL ? 0 : SLAB_CLASS);
	assert_int_equal(a->session, put->session);
	assert_int_equal(a->session_serial, put->session + 1);
	assert_int_equal(a->site, put->site);
	assert_int_equal(a->seq, put->seq);
	assert_int_equal(a->birth_ns, birth_ns(serial));
	/* Nobody can reach any more what is not lent. */
	assert_int_equal(a->state,
		opened && put->state != ALLOCATION_LIVE ? ALLOCATION_QUARANTINE : put->state);
}

static void check_contents(void)
{
	for (uint64_t serial = 1; serial <= ALLOCATIONS; serial++) {
		const struct put_allocation *put = &put_allocations[serial - 1];
		const char *at = in.pool.segments[put->node]->arena.base + put->offset;
		const uint64_t bytes =
			put->state == ALLOCATION_LIVE ? block_bytes_for(put->bytes) : 0;

		for (uint64_t i = 0; i < bytes; i++)
			if (at[i] != content(serial, i))
				fail_msg("byte %" PRIu64 " of allocation %" PRIu64, i, serial);
	}
}

static bool is_lent(unsigned node, uint64_t offset)
{
	const struct allocation *a =
		ledger_find_containing(in.pool.ledger, addr_make(node, offset));

	return a && a->state == ALLOCATION_LIVE;
}

static void check_free_is_zero(void)
{
	static const char zero[BLOCK_MIN_BYTES];

	for (unsigned node = 0; node < NODES; node++) {
		const char *base = in.pool.segments[node]->arena.base;

		for (uint64_t at = 0; at < ARENA_BYTES; at += sizeof(zero))
			if (!is_lent(node, at) && memcmp(base + at, zero, sizeof(zero)) != 0)
				fail_msg("node %u has old contents at %" PRIu64, node, at);
	}
}

/* In the files, before rmemd looks at them: what is not free, and what is free and not zero. */
static void check_stored(const struct fixture *f, const char *path)
{
	static const char magics[TABLES][9] = { "rmempool", "rmemledg", "rmemsess", "rmemsite" };
	struct proof proofs[SEGMENTS_MAX];
	struct table_facts facts;
	struct ledger *l;
	char last;

	(void)path;
	for (unsigned i = 0; i < TABLES; i++) {
		assert_int_equal(table_look(dir, files[i], &facts), 0);
		assert_memory_equal(facts.magic, magics[i], sizeof(facts.magic));
		assert_int_equal(facts.version, f->versions[i]);
		assert_true(facts.mark.pool == POOL_ID);
		assert_true(facts.mark.run == (i == LEDGER ? POOL_RUN : 0));
	}
	proof_read(dir, DATADIR_POOL, proofs);
	for (unsigned node = 0; node < SEGMENTS_MAX; node++) {
		assert_int_equal(proofs[node].state, node < NODES ? PROOF_CLEAN : PROOF_NONE);
		assert_int_equal(proofs[node].bytes, node < NODES ? ARENA_BYTES : 0);
		assert_true(proofs[node].run == (node < NODES ? POOL_RUN : 0));
	}
	assert_int_equal(table_look(dir, DATADIR_LEDGER, &facts), 0);
	assert_int_equal(ledger_open(&l, dir, DATADIR_LEDGER, facts.count), 0);
	assert_int_equal(ledger_rejected(l), 0);
	assert_int_equal(ledger_count(l), ALLOCATIONS);
	for (uint64_t serial = 1; serial <= ALLOCATIONS; serial++)
		check_allocation(f, l, serial, false);
	ledger_close(l);
	for (unsigned node = 0; node < NODES; node++) {
		int fd = open_file(files[ARENA_FILES + node]);

		assert_int_equal(pread(fd, &last, 1, ARENA_BYTES - 1), 1);
		assert_int_equal(last, GARBAGE);
		close(fd);
	}
}

static void test_stored(void **state)
{
	each(state, check_stored);
}

static const struct allocation *try_lend(void)
{
	const struct wish wish = { .bytes = BLOCK_MIN_BYTES };
	const struct allocation draft = { .session_serial = 1 }, *a = NULL;

	return pool_alloc(&in.pool, &wish, &draft, &a) == 0 ? a : NULL;
}

/* Then rmemd goes on: it wipes, and lends everything that is left. */
static void check_memory(const struct fixture *f, const char *path)
{
	const struct allocation *a;
	uint64_t next = SERIAL_NEXT;

	open_all(path);
	assert_int_equal(in.pool.rejected, 0);
	assert_int_equal(ledger_count(in.pool.ledger), ALLOCATIONS);
	for (uint64_t serial = 1; serial <= ALLOCATIONS; serial++)
		check_allocation(f, in.pool.ledger, serial, true);
	/* No proof goes with a copy. */
	assert_true(in.pool.unproven_bytes >= NODES * GARBAGE_BYTES);
	pool_wipe_all(&in.pool);
	check_free_is_zero();
	check_contents();
	while ((a = try_lend()) != NULL) {
		assert_int_equal(a->serial, next++);
		memset(pool_pointer(&in.pool, a), 'N', BLOCK_MIN_BYTES);
	}
	check_contents();
	close_all();
	open_all(path);
	assert_int_equal(in.pool.rejected, 0);
	check_contents();
	close_all();
}

static void test_memory(void **state)
{
	each(state, check_memory);
}

/* ---- sessions ---- */

#define SAME(kind, name, ...) assert_memory_equal(&have->name, &want.name, sizeof(want.name));

static void check_identity(const struct identity *have, unsigned i)
{
	struct identity want;

	session_identity(i, &want);
	IDENTITY_FIELDS(SAME)
}

static void check_journal(const struct session_record *r, const struct put_journal *put)
{
	assert_int_equal(!!(r->marks & SESSION_EXACT), put->mode == JOURNAL_EXACT);
	assert_true(session_journaled_ns(r) == r->opened_ns + put->journaled_s * NSEC_PER_SEC);
}

static void check_session(const struct fixture *f, uint32_t slot)
{
	const struct put_session *put = &put_sessions[slot];
	const struct session_record *r = sessions_get(in.sessions, slot);
	uint8_t id[ID_SIZE], secret[ID_SIZE];
	uint32_t found;

	session_id(slot, id);
	session_secret(slot, secret);
	assert_int_equal(sessions_find(in.sessions, id, &found), 0);
	assert_int_equal(found, slot);
	assert_memory_equal(r->secret, secret, ID_SIZE);
	assert_int_equal(r->serial, slot + 1);
	assert_int_equal(r->state, put->state);
	assert_int_equal(r->evidence, put->evidence);
	assert_int_equal(r->opened_ns, put->opened_ns);
	assert_int_equal(r->seen_ns, put->seen_ns);
	assert_int_equal(r->state_since_ns, put->state_since_ns);
	assert_int_equal(r->expired_ns, put->expired_ns);
	assert_int_equal(r->last_seq, put->last_seq);
	assert_int_equal(!!(r->marks & SESSION_NO_SITES), put->no_sites);
	if (f->versions[SESSION_TABLE] == 4)
		assert_int_equal(r->marks & ~SESSION_NO_SITES, 0);
	else
		check_journal(r, &put_journals[slot]);
	assert_true(r->fencing_token ==
		    (put->fencing_token | (put->retired ? FENCING_TOKEN_RETIRED : 0)));
	assert_int_equal(sessions_find_token(in.sessions, put->fencing_token, &found),
		put->retired ? -ENOENT : 0);
	assert_true(put->retired || found == slot);
	assert_true(sessions_gave_token(in.sessions, put->fencing_token));
	check_identity(&r->identity, slot);
}

static void check_sessions(const struct fixture *f, const char *path)
{
	uint8_t id[ID_SIZE], secret[ID_SIZE];
	struct identity who;
	uint32_t slot;

	open_all(path);
	assert_int_equal(sessions_rejected(in.sessions), 0);
	assert_int_equal(sessions_count(in.sessions), SESSIONS);
	for (slot = 0; slot < SESSIONS; slot++)
		check_session(f, slot);
	session_id(SESSIONS, id);
	session_secret(SESSIONS, secret);
	session_identity(SESSIONS, &who);
	assert_int_equal(sessions_find(in.sessions, id, &slot), -ENOENT);
	assert_int_equal(sessions_add(in.sessions, id, secret, &who, BEGUN_NS, &slot), 0);
	assert_int_equal(sessions_get(in.sessions, slot)->serial, SESSION_SERIAL_NEXT);
	assert_int_equal(sessions_get(in.sessions, slot)->fencing_token, TOKEN_NEXT);
	close_all();
}

static void test_sessions(void **state)
{
	each(state, check_sessions);
}

/* ---- sites ---- */

static void check_module(const struct site_module *have, const struct site_module *to)
{
	const struct site_module want = *to;

	SITE_MODULE_FIELDS(SAME)
}

static void check_frame(const struct site_frame *have, const struct site_frame *to)
{
	const struct site_frame want = *to;

	SITE_FRAME_FIELDS(SAME)
}

static void check_name(const struct stored_name *have, const struct stored_name *want)
{
	assert_string_equal(have->function, want->function);
	assert_string_equal(have->file, want->file);
	assert_int_equal(have->line, want->line);
}

static void check_names(const struct site_record *r, const struct fixed_names *want)
{
	struct site_name name;
	unsigned cursor = 0;

	for (unsigned i = 0; i < want->nnames; i++) {
		assert_true(sites_next_name(r, &cursor, &name));
		assert_string_equal(name.function, want->names[i].function);
		assert_string_equal(name.file, want->names[i].file);
		assert_int_equal(name.line, want->names[i].line);
		assert_int_equal(name.inlined, 0);
	}
	assert_false(sites_next_name(r, &cursor, &name));
}

static void check_site(uint32_t site)
{
	const struct site_record *r = sites_get(in.sites, site);
	struct fixed_names names;
	struct site_request frames;
	uint32_t found;

	site_frames(site, &frames);
	site_names(site, &names);
	assert_non_null(r);
	assert_int_equal(r->hash, site_hashes[site]);
	assert_int_equal(r->frames.nmodules, frames.nmodules);
	assert_int_equal(r->frames.nframes, frames.nframes);
	for (unsigned i = 0; i < frames.nmodules; i++)
		check_module(&r->frames.modules[i], &frames.modules[i]);
	for (unsigned i = 0; i < frames.nframes; i++)
		check_frame(&r->frames.frames[i], &frames.frames[i]);
	assert_int_equal(sites_named(in.sites, site), site != BARE_SITE);
	if (site == BARE_SITE)
		names.nnames = 0;
	check_names(r, &names);
	assert_int_equal(sites_intern(in.sites, &in.holder, &frames, &found), 0);
	assert_int_equal(found, site);
}

static void check_sites(const struct fixture *f, const char *path)
{
	struct site_names_request names;
	struct table_facts facts;

	open_all(path);
	assert_int_equal(sites_rejected(in.sites), 0);
	assert_int_equal(sites_count(in.sites), SITES);
	for (uint32_t site = 1; site <= SITES; site++)
		check_site(site);
	/* From the first names on that it could not read, an earlier rmemd does not read the file. */
	assert_int_equal(table_look(dir, DATADIR_SITES, &facts), 0);
	assert_int_equal(facts.version, f->versions[TABLES - 1]);
	names_to_send(BARE_SITE, &names);
	assert_int_equal(sites_set_names(in.sites, &in.holder, &names), 0);
	assert_true(sites_named(in.sites, BARE_SITE));
	assert_int_equal(table_look(dir, DATADIR_SITES, &facts), 0);
	assert_int_equal(facts.version, SITES_FORMAT);
	close_all();
}

static void test_sites(void **state)
{
	each(state, check_sites);
}

/* ---- history ---- */

static void check_line(const struct history_line *line, uint64_t id)
{
	const struct put_line *put = &put_lines[id - 1];
	struct fixed_names names;

	assert_non_null(line);
	assert_int_equal(line->id, id);
	assert_int_equal(line->state, put->state);
	assert_int_equal(line->session_state, put_sessions[put->session].state);
	assert_int_equal(line->evidence, put_sessions[put->session].evidence);
	assert_int_equal(line->session_serial, put->session + 1);
	assert_int_equal(line->since_ns, put_sessions[put->session].state_since_ns);
	assert_int_equal(line->site_hash, site_hashes[put->site]);
	assert_int_equal(line->taken_ns, put->taken_ns);
	assert_int_equal(line->born_ns, put->born_ns);
	assert_int_equal(line->blocks, put->blocks);
	assert_int_equal(line->bytes, put->bytes);
	assert_int_equal(line->block_bytes, put->block_bytes);
	check_identity(&line->identity, put->session);
	if (put->site)
		site_names(put->site, &names);
	assert_int_equal(line->nframes, !put->site ? 0 : names.nnames < 3 ? names.nnames : 3);
	for (unsigned i = 0; i < line->nframes; i++)
		check_name(&line->frames[i], &names.names[i]);
}

static void check_history(const struct fixture *f, const char *path)
{
	const struct allocation a = { .bytes = 1, .birth_ns = BEGUN_NS };
	uint64_t cursor = 0;

	(void)f;
	open_all(path);
	assert_int_equal(history_count(in.history), LINES);
	assert_int_equal(history_news(in.history), LINES - 1);
	for (uint64_t id = LINES; id > 0; id--)
		check_line(history_next(in.history, &cursor), id);
	assert_null(history_next(in.history, &cursor));
	history_note(in.history, sessions_get(in.sessions, 3), NULL, &a, BEGUN_NS + 50);
	cursor = 0;
	assert_int_equal(history_next(in.history, &cursor)->id, LINES + 1);
	close_all();
}

static void test_history(void **state)
{
	each(state, check_history);
}

/* ---- time ---- */

/* In the same boot it goes on with the boot clock, and in another one from where it was kept. */
static void check_time(const struct fixture *f, const char *path)
{
	struct timeline_clocks clocks = boot_at(10 * NSEC_PER_SEC);
	struct timeline *t;

	(void)f;
	(void)path;
	clocks.real_ns = 1;
	assert_int_equal(timeline_open(&t, dir, DATADIR_TIME, &clocks), 0);
	assert_int_equal(timeline_at(t, clocks.boot_ns), KEPT_NS + NSEC_PER_SEC);
	timeline_close(t);
	clocks.boot_id[0]++;
	clocks.boot_ns = 3;
	assert_int_equal(timeline_open(&t, dir, DATADIR_TIME, &clocks), 0);
	assert_int_equal(timeline_at(t, clocks.boot_ns), KEPT_NS + NSEC_PER_SEC);
	timeline_close(t);
}

static void check_time_of_another_boot(const struct fixture *f, const char *path)
{
	struct timeline_clocks clocks = boot_at(10 * NSEC_PER_SEC);
	struct timeline *t;

	(void)f;
	(void)path;
	clocks.real_ns = 1;
	clocks.boot_id[0]++;
	assert_int_equal(timeline_open(&t, dir, DATADIR_TIME, &clocks), 0);
	assert_int_equal(timeline_at(t, clocks.boot_ns), KEPT_NS);
	timeline_close(t);
}

static void test_time(void **state)
{
	each(state, check_time);
	each(state, check_time_of_another_boot);
}

/* ---- what today's rmemd stores ---- */

static void test_layout(void **state)
{
	static char now[LAYOUT_BYTES], then[LAYOUT_BYTES];
	char path[512];
	FILE *out = fmemopen(now, sizeof(now), "w"), *file;

	(void)state;
	layout_print(out);
	fclose(out);
	snprintf(path, sizeof(path), TESTS_DIR "/fixture/%s.layout", NEWEST->name);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_in_range(fread(then, 1, sizeof(then) - 1, file), 1, sizeof(then) - 2);
	fclose(file);
	if (strcmp(now, then) != 0)
		fail_msg("stored records are not laid out as in %s (fixture_make "
			 "--layout). " WHAT_TO_DO,
			path);
}

/* The next byte at or after at that is not in a hole; the file's size if there is none. */
static off_t next_data(int fd, off_t at, off_t size)
{
	const off_t data = lseek(fd, at, SEEK_DATA);

	return data >= 0 ? data : errno == ENXIO ? size : at;
}

/* Where the files of that name differ, and -1 if they do not; they are as large, then. */
static off_t find_difference(const char *name, int other)
{
	static char here[BLOCK_MIN_BYTES], there[BLOCK_MIN_BYTES];
	int a = open_file(name), b = openat(other, name, O_RDONLY | O_CLOEXEC);
	const off_t size = lseek(a, 0, SEEK_END);
	off_t at = 0, found = lseek(b, 0, SEEK_END) == size ? -1 : size;

	while (at < size && found < 0) {
		const off_t in_a = next_data(a, at, size), in_b = next_data(b, at, size);
		ssize_t n;

		at = (in_a < in_b ? in_a : in_b) / (off_t)sizeof(here) * (off_t)sizeof(here);
		n = pread(a, here, sizeof(here), at);
		if (n < 0 || pread(b, there, sizeof(there), at) != n)
			found = at;
		for (ssize_t i = 0; i < n && found < 0; i++)
			found = here[i] != there[i] ? at + i : -1;
		at += (off_t)sizeof(here);
	}
	close(a);
	close(b);
	return found;
}

/* Records, checksums, hashes, numbers of states; slots and addresses too. */
static void test_same_bytes(void **state)
{
	char path[] = "/dev/shm/rmem-fixture-XXXXXX", command[1024];
	off_t differences[FILES];
	int made, status;

	unpack(NEWEST, *state);
	assert_non_null(mkdtemp(path));
	made = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(command, sizeof(command), "'%s' '%s'", FIXTURE_MAKE, path);
	status = system(command);
	for (unsigned i = 0; i < FILES; i++) {
		differences[i] = status ? -1 : find_difference(files[i], made);
		unlinkat(made, files[i], 0);
	}
	close(made);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(status, 0);
	for (unsigned i = 0; i < FILES; i++)
		if (differences[i] >= 0)
			fail_msg("%s has another byte at %jd than in fixture %s. " WHAT_TO_DO,
				files[i], (intmax_t)differences[i], NEWEST->name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_stored),
		IN_DIR(test_memory),
		IN_DIR(test_sessions),
		IN_DIR(test_sites),
		IN_DIR(test_history),
		IN_DIR(test_time),
		cmocka_unit_test(test_layout),
		IN_DIR(test_same_bytes),
	};

	if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) {
		fprintf(stderr, "the fixtures are of little-endian machines\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
