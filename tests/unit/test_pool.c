/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory with old contents is never lent: after starts that failed, files that were lost, mixed, copied or
 * damaged. Everything native: a pool needs no RDMA. Kills are in test_pool_kills.c.
 */
#include "tests/support/pools.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "server/ledger/ledger_recover.h"
#include "server/memory/origin.h"
#include "server/memory/proof.h"

#define PORT 64999 /* nobody's */

/* ---- what a directory looks like ---- */

struct snapshot {
	unsigned files;
	uint64_t sum; /* over names, sizes and bytes; arenas' too */
};

static void add_bytes(struct snapshot *s, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s->sum = (s->sum ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3ULL;
}

static uint64_t sum_of_file(int fd, const char *name)
{
	static uint8_t buffer[1 << 16];
	struct snapshot s = { 0, 0 };
	int file = openat(fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(file >= 0);
	add_bytes(&s, name, strlen(name));
	while ((n = read(file, buffer, sizeof(buffer))) > 0)
		add_bytes(&s, buffer, (size_t)n);
	close(file);
	return s.sum;
}

static struct snapshot look(int fd)
{
	DIR *list = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	const struct dirent *entry;
	struct snapshot s = { 0, 0 };

	assert_non_null(list);
	while ((entry = readdir(list)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		s.files++;
		s.sum += sum_of_file(fd, entry->d_name); /* in whatever order they come */
	}
	closedir(list);
	return s;
}

static void assert_unchanged(struct snapshot before, int fd)
{
	struct snapshot now = look(fd);

	assert_int_equal(now.files, before.files);
	assert_true(now.sum == before.sum);
}

/* ---- a pool as it was left ---- */

static void copy_file(int from_dir, const char *from, int to_dir, const char *to)
{
	static char buffer[1 << 16];
	int in = openat(from_dir, from, O_RDONLY | O_CLOEXEC);
	int out = openat(to_dir, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buffer, sizeof(buffer))) > 0)
		assert_int_equal(write(out, buffer, (size_t)n), n);
	close(in);
	close(out);
}

static void find_arena(void *arg, const struct arena_entry *entry)
{
	snprintf(arg, ARENA_NAME_SIZE, "%s", entry->name);
}

static const char *arena_file(int fd, char name[ARENA_NAME_SIZE])
{
	name[0] = '\0';
	assert_int_equal(arena_scan(fd, find_arena, name), 0);
	assert_true(name[0]);
	return name;
}

/* Two blocks are lent, one with 'L' in it, at the start of the arena. */
static void leave_pool(const struct datadir *data)
{
	struct pool p;

	must_open(&p, data, ARENA_BYTES);
	fill(&p, lend(&p, 5000), 'L');
	fill(&p, lend(&p, 100), 'M');
	pool_close(&p);
}

static void assert_refused(const struct datadir *data, uint64_t bytes, int err, const char *says)
{
	struct pool p;
	struct errinfo errinfo = { "" };

	assert_int_equal(try_open(&p, data, bytes, &errinfo), err);
	if (!strstr(errinfo.text, says))
		fail_msg("%s (without: %s)", errinfo.text, says);
}

/* ---- starts that fail ---- */

/* The pool's tables are elsewhere, as with another --port on hugetlbfs, and a start fails in between. */
static void test_tables_elsewhere(void **state)
{
	char path[] = "/dev/shm/rmem-tables-XXXXXX";
	struct datadir here = data_of(dir, *state), other = here;
	struct snapshot before;

	leave_pool(&here);
	before = look(dir);
	assert_non_null(mkdtemp(path));
	other.tables = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(other.tables_path, sizeof(other.tables_path), "%s", path);
	assert_refused(&other, ARENA_BYTES / 2, -EUCLEAN, path);
	assert_refused(&other, ARENA_BYTES, -EUCLEAN, *state);
	assert_int_equal(look(other.tables).files, 0);
	assert_unchanged(before, dir);
	close(other.tables);
	assert_int_equal(rmdir(path), 0);
}

/* Those of another --port, where rmemd looks for them: it says which. */
static void test_port_is_named(void **state)
{
	char path[RUNDIR_PATH_SIZE];
	struct datadir here = data_of(dir, *state), theirs = here;

	assert_int_equal(rundir_data_dir(PORT, path, sizeof(path)), 0);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST); /* of a run that failed */
	theirs.tables = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	datadir_remove_files(&theirs, 1, false);
	snprintf(theirs.tables_path, sizeof(theirs.tables_path), "%s", path);
	leave_pool(&theirs);
	assert_refused(&here, ARENA_BYTES, -EUCLEAN, "start with that --port");
	assert_refused(&here, ARENA_BYTES, -EUCLEAN, "64999");
	leave_nothing(&theirs, ARENA_BYTES);
	close(theirs.tables);
	assert_int_equal(rmdir(path), 0);
}

static void test_failed_start_changes_nothing(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct snapshot before;
	struct pool p;
	struct errinfo errinfo;

	leave_pool(&data);
	before = look(dir);
	assert_refused(&data, ARENA_BYTES / 2, -EEXIST, "without --size");
	assert_unchanged(before, dir);

	/* Told to stop while memory is made ready. */
	tell_to_stop(true);
	assert_int_equal(try_open(&p, &data, ARENA_BYTES, &errinfo), -ECANCELED);
	tell_to_stop(false);
	assert_unchanged(before, dir);
	must_open(&p, &data, ARENA_BYTES);
	assert_holds(&p, 5000, 'L');
	assert_holds(&p, 100, 'M');
	assert_free_is_zero(&p);
	pool_close(&p);
}

static void test_failed_start_leaves_nothing(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct pool p;
	struct errinfo errinfo;

	tell_to_stop(true);
	assert_int_equal(try_open(&p, &data, ARENA_BYTES, &errinfo), -ECANCELED);
	tell_to_stop(false);
	assert_int_equal(look(dir).files, 0);
	assert_int_equal(try_open(&p, &data, ARENA_BYTES, &errinfo), 0);
	pool_undo(&p, &data); /* what comes after it failed */
	pool_close(&p);
	assert_int_equal(look(dir).files, 0);
}

/* ---- files that do not belong together ---- */

static void test_lost_ledger(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct snapshot before;

	leave_pool(&data);
	unlinkat(dir, DATADIR_LEDGER, 0);
	before = look(dir);
	assert_refused(&data, ARENA_BYTES / 2, -ENOENT, "ledger is missing");
	assert_refused(&data, ARENA_BYTES, -ENOENT, "rm -f arena-* pool ledger sessions sites");
	assert_unchanged(before, dir);
}

static void test_lost_arena(void **state)
{
	struct datadir data = data_of(dir, *state);
	char name[ARENA_NAME_SIZE];

	leave_pool(&data);
	unlinkat(dir, arena_file(dir, name), 0);
	assert_refused(&data, ARENA_BYTES, -ENOENT, name);
}

/* Without the proofs too: what is lent is not taken for zero. */
static void test_lost_arena_and_proofs(void **state)
{
	struct datadir data = data_of(dir, *state);
	char name[ARENA_NAME_SIZE];
	struct snapshot before;

	leave_pool(&data);
	unlinkat(dir, arena_file(dir, name), 0);
	unlinkat(dir, DATADIR_POOL, 0);
	before = look(dir);
	assert_refused(&data, ARENA_BYTES, -ENOENT, "is missing");
	assert_int_equal(look(dir).files, before.files + 1); /* the proofs, of nothing */
	assert_refused(&data, ARENA_BYTES, -ENOENT, "is missing");
}

/* A node more, in a start that fails: gone again, and the pool is as it was. */
static void test_new_arena_in_a_known_pool(void **state)
{
	struct datadir data = data_of(dir, *state);
	char name[ARENA_NAME_SIZE];
	struct snapshot before;
	struct pool p;

	must_open(&p, &data, ARENA_BYTES);
	proof_drop(&p.proofs, first_segment(&p)->number);
	pool_close(&p);
	unlinkat(dir, arena_file(dir, name), 0);
	before = look(dir);
	must_open(&p, &data, ARENA_BYTES);
	assert_false(p.fresh);
	pool_undo(&p, &data);
	pool_close(&p);
	assert_int_equal(look(dir).files, before.files);
	must_open(&p, &data, 2 * ARENA_BYTES);
	assert_free_is_zero(&p);
	pool_close(&p);
}

/* Without the proofs everything else is still there, and what is free is wiped. */
static void test_lost_proofs(void **state)
{
	struct datadir data = data_of(dir, *state);
	char name[ARENA_NAME_SIZE];
	struct pool p;

	leave_pool(&data);
	poke_file(arena_file(dir, name), (off_t)ARENA_BYTES - 4096, "old", 3);
	unlinkat(dir, DATADIR_POOL, 0);
	must_open(&p, &data, ARENA_BYTES);
	assert_holds(&p, 5000, 'L');
	assert_free_is_zero(&p);
	pool_close(&p);
}

static void test_mixed_pools(void **state)
{
	char path[] = "/dev/shm/rmem-other-XXXXXX", name[ARENA_NAME_SIZE];
	struct datadir data = data_of(dir, *state), other;
	struct snapshot before;
	int other_dir;

	assert_non_null(mkdtemp(path));
	other_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	other = data_of(other_dir, path);
	leave_pool(&data);
	leave_pool(&other);
	/* The other one's arena, then the other one's ledger, among ours. */
	arena_file(other_dir, name);
	copy_file(other_dir, name, dir, name);
	before = look(dir);
	assert_refused(&data, ARENA_BYTES, -EUCLEAN, name);
	assert_unchanged(before, dir);
	unlinkat(dir, name, 0);
	copy_file(dir, DATADIR_LEDGER, dir, "kept");
	copy_file(other_dir, DATADIR_LEDGER, dir, DATADIR_LEDGER);
	assert_refused(&data, ARENA_BYTES, -EUCLEAN, "another pool");
	copy_file(dir, "kept", dir, DATADIR_LEDGER);
	unlinkat(dir, "kept", 0);
	leave_nothing(&data, ARENA_BYTES);
	leave_nothing(&other, ARENA_BYTES);
	close(other_dir);
	assert_int_equal(rmdir(path), 0);
}

/* A ledger of an earlier run, put back in place: what was lent since is not free and clean. */
static void test_older_ledger(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct pool p;

	leave_pool(&data);
	copy_file(dir, DATADIR_LEDGER, dir, "older");
	must_open(&p, &data, ARENA_BYTES);
	fill(&p, lend(&p, 300000), 'S');
	pool_close(&p);
	copy_file(dir, "older", dir, DATADIR_LEDGER);
	must_open(&p, &data, ARENA_BYTES);
	assert_holds(&p, 5000, 'L');
	assert_free_is_zero(&p);
	pool_close(&p);
}

/* A copy of the ledger that was made during the same run. */
static void test_copied_ledger(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct pool p;

	must_open(&p, &data, ARENA_BYTES);
	fill(&p, lend(&p, 5000), 'L');
	copy_file(dir, DATADIR_LEDGER, dir, "copy");
	fill(&p, lend(&p, 300000), 'S');
	pool_close(&p);
	assert_int_equal(renameat(dir, "copy", dir, DATADIR_LEDGER), 0);
	must_open(&p, &data, ARENA_BYTES);
	assert_holds(&p, 5000, 'L');
	assert_free_is_zero(&p);
	pool_close(&p);
}

/* From one file into another that is there already, which so keeps its inode. */
static void copy_over(const char *from, const char *to)
{
	char bytes[65536];
	int in = openat(dir, from, O_RDONLY | O_CLOEXEC);
	int out = openat(dir, to, O_WRONLY | O_TRUNC | O_CLOEXEC);
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, bytes, sizeof(bytes))) > 0)
		assert_int_equal(write(out, bytes, (size_t)n), n);
	close(in);
	close(out);
}

static void cut_and_lengthen(const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_CLOEXEC);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, TABLE_HEADER_BYTES), 0);
	assert_int_equal(ftruncate(fd, st.st_size), 0);
	close(fd);
}

static void punch(const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_CLOEXEC);

	assert_int_equal(
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, TABLE_HEADER_BYTES, 4096),
		0);
	close(fd);
}

/* The same file with other contents: what it does not list any more is wiped. */
static void test_ledger_changed_in_place(void **state)
{
	for (unsigned how = 0; how < 3; how++) {
		struct datadir data = data_of(dir, *state);
		struct pool p;
		uint64_t id;

		must_open(&p, &data, ARENA_BYTES);
		fill(&p, lend(&p, 5000), 'L');
		copy_file(dir, DATADIR_LEDGER, dir, "copy");
		fill(&p, lend(&p, 300000), 'S');
		pool_close(&p);
		if (how == 0)
			copy_over("copy", DATADIR_LEDGER);
		else if (how == 1)
			cut_and_lengthen(DATADIR_LEDGER);
		else
			punch(DATADIR_LEDGER);
		unlinkat(dir, "copy", 0);
		must_open(&p, &data, ARENA_BYTES);
		if (how == 0)
			assert_holds(&p, 5000, 'L');
		else
			assert_int_equal(ledger_count(p.ledger), 0);
		assert_free_is_zero(&p);
		assert_true(p.unproven_bytes > 0);
		pool_close(&p);
		/* And then all is proved again. */
		must_open(&p, &data, ARENA_BYTES);
		assert_int_equal(p.unproven_bytes, 0);
		id = p.id;
		pool_close(&p);
		datadir_remove_files(&data, id, false);
	}
}

/* As an rmemd without seals left it. */
static void make_format_1(void)
{
	const uint64_t none[TABLE_EXTRA_WORDS] = { 0 };
	const uint32_t version = 1;

	poke_file(DATADIR_POOL, 8, &version, sizeof(version));
	poke_file(DATADIR_POOL, 40, none, sizeof(none));
}

/* No seal proves nothing, not even for a ledger that lists nothing; and until rmemd serves, the file stays as it was. */
static void test_pool_without_a_seal(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct table_facts facts;
	struct pool p;

	must_open(&p, &data, ARENA_BYTES);
	fill(&p, lend(&p, 5000), 'L');
	pool_close(&p);
	make_format_1();
	punch(DATADIR_LEDGER);
	must_open(&p, &data, ARENA_BYTES);
	assert_int_equal(ledger_count(p.ledger), 0);
	assert_free_is_zero(&p);
	assert_int_equal(p.unproven_bytes, ARENA_BYTES);
	assert_int_equal(table_look(dir, DATADIR_POOL, &facts), 0);
	assert_int_equal(facts.version, 1);
	pool_settle(&p);
	pool_close(&p);
	assert_int_equal(table_look(dir, DATADIR_POOL, &facts), 0);
	assert_int_equal(facts.version, PROOF_FORMAT);
}

/* A whole copy is the pool as well, but no proof goes with it. */
static void test_copied_pool(void **state)
{
	struct datadir data = data_of(dir, *state);
	char name[ARENA_NAME_SIZE];
	struct pool p;

	leave_pool(&data);
	arena_file(dir, name);
	copy_file(dir, name, dir, "copy");
	poke_file("copy", (off_t)ARENA_BYTES / 2, "old", 3);
	assert_int_equal(renameat(dir, "copy", dir, name), 0);
	must_open(&p, &data, ARENA_BYTES);
	assert_holds(&p, 5000, 'L');
	assert_holds(&p, 100, 'M');
	assert_free_is_zero(&p);
	pool_close(&p);
}

/* ---- damage ---- */

/* Any byte of the record of memory that is lent: it is wiped, and every byte is free or lent. */
static void test_damaged_record(void **state)
{
	const unsigned stride = getenv("RMEM_TEST_VALGRIND") ? 5 : 1;

	for (unsigned i = 0; i < 64; i += stride) {
		struct datadir data = data_of(dir, *state);
		uint8_t byte;
		struct pool p;
		int fd;

		leave_pool(&data);
		fd = open_file(DATADIR_LEDGER);
		assert_int_equal(pread(fd, &byte, 1, 4096 + i), 1);
		byte ^= (uint8_t)(1U << i % 8);
		assert_int_equal(pwrite(fd, &byte, 1, 4096 + i), 1);
		close(fd);
		for (unsigned again = 0; again < 2; again++) {
			must_open(&p, &data, ARENA_BYTES);
			assert_int_equal(p.rejected, again ? 0 : 1);
			assert_true(again || p.unproven_bytes > 0);
			assert_int_equal(ledger_count(p.ledger), 1);
			assert_int_equal(
				buddy_free_bytes(first_segment(&p)->buddy), ARENA_BYTES - 4096);
			assert_holds(&p, 100, 'M');
			if (!again)
				pool_settle(&p);
			else
				assert_free_is_zero(&p);
			pool_close(&p);
		}
		leave_nothing(&data, ARENA_BYTES);
	}
}

/* A record whose serial number was never given is damaged, however whole: its block is wiped, and lending goes on. */
static void test_forged_serial(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct allocation record;
	struct pool p;
	int fd;

	leave_pool(&data);
	fd = open_file(DATADIR_LEDGER);
	assert_int_equal(pread(fd, &record, sizeof(record), 4096), sizeof(record));
	close(fd);
	record.serial = UINT64_MAX - 1;
	record.check = ledger_record_check(&record);
	poke_file(DATADIR_LEDGER, 4096, &record, sizeof(record));
	for (unsigned again = 0; again < 2; again++) {
		must_open(&p, &data, ARENA_BYTES);
		assert_int_equal(p.rejected, again ? 0 : 1);
		assert_holds(&p, 100, 'M');
		assert_int_equal(lend(&p, 4096)->serial, 3 + again);
		pool_settle(&p);
		if (again)
			assert_free_is_zero(&p);
		pool_close(&p);
	}
}

/* A byte of what is before the records, in either file: it is refused, or what is lent stays, and what is free is zero. */
static void test_damaged_headers(void **state)
{
	static const char *const names[] = { DATADIR_LEDGER, DATADIR_POOL };
	const unsigned stride = getenv("RMEM_TEST_VALGRIND") ? 5 : 1; /* each way, of each file */
	unsigned opened = 0, refused = 0;

	for (unsigned i = 0; i < 2 * 3 * 48; i += stride) {
		struct datadir data = data_of(dir, *state);
		const char *name = names[i % 2];
		const off_t at = i / 6;
		struct errinfo errinfo = { "" };
		uint8_t byte, was;
		struct pool p;
		int fd;

		leave_pool(&data);
		fd = open_file(name);
		assert_int_equal(pread(fd, &was, 1, at), 1);
		byte = (uint8_t)(i / 2 % 3 == 0 ? 0 : i / 2 % 3 == 1 ? 0xff : was ^ 1);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		if (try_open(&p, &data, ARENA_BYTES, &errinfo) == 0) {
			opened++;
			assert_holds(&p, 5000, 'L');
			assert_holds(&p, 100, 'M');
			assert_free_is_zero(&p);
			datadir_remove_files(&data, p.id, false);
			pool_close(&p);
		} else {
			refused++;
			assert_non_null(strstr(errinfo.text, name));
			assert_int_equal(pwrite(fd, &was, 1, at), 1);
			leave_nothing(&data, ARENA_BYTES);
		}
		close(fd);
	}
	assert_true(opened > 50 / stride && refused > 20 / stride);
}

/* "No run has seen this ledger" is not believed beside a proof of one: nothing is removed. */
static void test_ledger_without_a_run(void **state)
{
	static const uint64_t none;
	struct datadir data = data_of(dir, *state);
	struct snapshot before;

	leave_pool(&data);
	poke_file(DATADIR_LEDGER, 32, &none, sizeof(none));
	before = look(dir);
	assert_refused(&data, ARENA_BYTES, -EUCLEAN, "/ledger is damaged");
	assert_unchanged(before, dir);
}

/* Who stops before rmemd has started does not end what is damaged. */
static void test_damage_stays_until_started(void **state)
{
	struct datadir data = data_of(dir, *state);
	uint8_t one = 1;
	struct pool p;

	leave_pool(&data);
	poke_file(DATADIR_LEDGER, 4096 + offsetof(struct allocation, unshared), &one, 1);
	must_open(&p, &data, ARENA_BYTES);
	pool_undo(&p, &data);
	pool_close(&p);
	must_open(&p, &data, ARENA_BYTES);
	assert_int_equal(p.rejected, 1);
	pool_close(&p);
}

/* ---- wiping ---- */

/* More than was asked for is lent; all of it is wiped. */
static void test_whole_blocks_are_wiped(void **state)
{
	static const uint64_t sizes[] = { 1, 4095, 4096, 5000, 70000, 131073 };
	struct datadir data = data_of(dir, *state);
	struct pool p;

	must_open(&p, &data, ARENA_BYTES);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct allocation *a = lend(&p, sizes[i]);

		fill(&p, a, 'W');
		give_back(&p, a);
	}
	pool_wipe_all(&p);
	assert_int_equal(p.nquarantined, 0);
	assert_int_equal(ledger_count(p.ledger), 0);
	assert_free_is_zero(&p);
	pool_close(&p);
}

static void test_interrupted_wiping_goes_on(void **state)
{
	struct datadir data = data_of(dir, *state);
	const struct allocation *a;
	struct pool p;

	must_open(&p, &data, ARENA_BYTES);
	a = lend(&p, 300000);
	fill(&p, a, 'W');
	give_back(&p, a);
	pool_wipe(&p);
	/* Wiped or not: the loop has not taken it back. */
	assert_int_equal(ledger_count(p.ledger), 1);
	assert_int_equal(a->state, ALLOCATION_QUARANTINE);
	pool_close(&p);
	must_open(&p, &data, ARENA_BYTES);
	assert_int_equal(p.nquarantined, 1);
	pool_wipe_all(&p);
	assert_free_is_zero(&p);
	pool_close(&p);
}

/* ---- what is said ---- */

/* All nodes are named, and what is said to help helps. */
static void test_sizes_of_two_nodes(void **state)
{
	struct origin o = { .pool = 1, .run = 1, .bytes = { 64 * MIB, 32 * MIB } };
	const struct sizes less = { 2, { { 0, 64 * MIB }, { 1, 16 * MIB } } },
			   one = { 1, { { 0, 64 * MIB } } },
			   more = { 3, { { 0, 64 * MIB }, { 1, 64 * MIB }, { 2, 4096 } } };
	struct errinfo errinfo = { "" };

	(void)state;
	assert_int_equal(origin_check_sizes(&o, &less, &errinfo), -EEXIST);
	assert_non_null(strstr(errinfo.text, "64.0 MiB on node 0, 32.0 MiB on node 1"));
	assert_non_null(strstr(errinfo.text, "start without --size"));
	assert_null(strstr(errinfo.text, "rm "));
	assert_int_equal(origin_check_sizes(&o, &one, &errinfo), -EEXIST);
	assert_int_equal(origin_check_sizes(&o, &more, &errinfo), 0);
	o.run = 0;
	assert_int_equal(origin_check_sizes(&o, &less, &errinfo), 0);
}

static void test_earlier_versions(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct snapshot before;
	uint32_t version = 1;
	char name[ARENA_NAME_SIZE];

	/* Before pools had ids. */
	close(openat(dir, "arena-0", O_CREAT | O_RDWR, 0600));
	before = look(dir);
	assert_refused(&data, ARENA_BYTES, -EUCLEAN, "earlier version");
	assert_refused(&data, ARENA_BYTES, -EUCLEAN, "start that one again");
	assert_unchanged(before, dir);
	unlinkat(dir, "arena-0", 0);

	leave_pool(&data);
	poke_file(DATADIR_LEDGER, 8, &version, sizeof(version));
	before = look(dir);
	assert_refused(&data, ARENA_BYTES, -EUCLEAN, "earlier version");
	version = LEDGER_FORMAT + 1;
	poke_file(DATADIR_LEDGER, 8, &version, sizeof(version));
	assert_refused(&data, ARENA_BYTES, -EUCLEAN, "later version");
	poke_file(DATADIR_LEDGER, 0, "garbage", 8);
	assert_refused(&data, ARENA_BYTES, -EUCLEAN, "damaged");
	unlinkat(dir, arena_file(dir, name), 0);
}

static void lend_to(struct pool *p, uint32_t session, uint64_t bytes)
{
	const struct allocation draft = { .session = session, .session_serial = session };
	const struct wish wish = { .bytes = bytes };
	const struct allocation *a;

	assert_int_equal(pool_alloc(p, &wish, &draft, &a), 0);
}

/* Each session is told what it holds itself, and of the others only how much that is. */
static void test_full_pool(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct wish wish = { .bytes = 600000 };
	struct identity who = { .uid = 0 };
	char node[32];
	struct errinfo errinfo;
	struct pool p;

	must_open(&p, &data, ARENA_BYTES);
	lend_to(&p, 1, 500000);
	lend_to(&p, 2, 100000);
	lend_to(&p, 2, 100000);
	lend_to(&p, 3, 4096);
	assert_int_equal(pool_explain_full(&p, &wish, 2, &errinfo), -ENOSPC);
	assert_string_equal(errinfo.text,
		"the pool is full: 585.9 KiB asked for, largest free block 256.0 KiB; of the whole "
		"pool this session holds 200.0 KiB in 2 blocks, all others together 496.0 KiB "
		"(`rmemctl sessions` on the server tells who they "
		"are); free something, or start rmemd with a larger --size");
	assert_int_equal(pool_explain_full(&p, &wish, 4, &errinfo), -ENOSPC);
	assert_non_null(
		strstr(errinfo.text, "holds 0 B in 0 blocks, all others together 696.0 KiB"));
	wish.placement.nodes = 1ULL << p.nodes[0].node;
	snprintf(node, sizeof(node), "the node %u is full: ", p.nodes[0].node);
	assert_int_equal(pool_explain_full(&p, &wish, 4, &errinfo), -ENOSPC);
	assert_ptr_equal(strstr(errinfo.text, node), errinfo.text);
	/* In a job with others, also how much that has: it is its own, for a quota. */
	snprintf(who.job, sizeof(who.job), "etl");
	ledger_join(p.ledger, 2, 2, &who);
	assert_int_equal(pool_explain_full(&p, &wish, 2, &errinfo), -ENOSPC);
	assert_null(strstr(errinfo.text, "etl"));
	ledger_join(p.ledger, 3, 3, &who);
	assert_int_equal(pool_explain_full(&p, &wish, 2, &errinfo), -ENOSPC);
	assert_non_null(strstr(errinfo.text,
		"holds 200.0 KiB in 2 blocks (its job etl, of 2 sessions, 204.0 KiB), all others"));
	pool_close(&p);
}

/* ---- directories ---- */

static void test_one_user_at_a_time(void **state)
{
	char path[RUNDIR_PATH_SIZE];
	struct datadir first, second;
	struct errinfo errinfo = { "" };

	snprintf(path, sizeof(path), "%s/data", (const char *)*state);
	assert_int_equal(datadir_open(&first, path, 1, &errinfo), 0);
	assert_true(first.made);
	assert_int_equal(datadir_open(&second, path, 1, &errinfo), -EBUSY);
	assert_non_null(strstr(errinfo.text, "another rmemd is using"));
	assert_non_null(strstr(errinfo.text, path));
	assert_int_equal(access(path, F_OK), 0);
	datadir_remove(&first, false);
	datadir_close(&first);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(datadir_open(&second, path, 1, &errinfo), 0);
	assert_false(second.made);
	datadir_remove(&second, false);
	assert_int_equal(access(path, F_OK), 0);
	datadir_remove(&second, true);
	datadir_close(&second);
	assert_int_equal(access(path, F_OK), -1);
}

static bool has_file(const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The times in the history are server time, so its file stays as long as the history does, and no longer. */
static void test_time_stays_with_history(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct pool p;

	for (unsigned i = 0; i < 6; i++) {
		const bool history = i < 4, keep = i % 2;

		must_open(&p, &data, ARENA_BYTES);
		unlinkat(dir, DATADIR_HISTORY, 0);
		assert_int_equal(mknodat(dir, DATADIR_TIME, S_IFREG | 0600, 0), 0);
		if (history)
			assert_int_equal(mknodat(dir, DATADIR_HISTORY, S_IFREG | 0600, 0), 0);
		datadir_remove_files(&data, p.id, keep);
		pool_close(&p);
		assert_int_equal(has_file(DATADIR_HISTORY), history && keep);
		assert_int_equal(has_file(DATADIR_TIME), history && keep);
		assert_false(has_file(DATADIR_LEDGER));
		unlinkat(dir, DATADIR_TIME, 0);
	}
}

/* An error of a table names the file, and what helps if that is known. */
static void test_failing_table_is_named(void **state)
{
	struct datadir data = data_of(dir, *state);
	struct errinfo errinfo = { "" };

	assert_int_equal(datadir_fail(&data, DATADIR_TIME, -ENOTEMPTY, &errinfo), -ENOTEMPTY);
	assert_non_null(strstr(errinfo.text, *state));
	assert_non_null(strstr(errinfo.text, "/" DATADIR_TIME ": "));
	assert_non_null(strstr(errinfo.text, "move it away"));
	assert_int_equal(datadir_fail(&data, DATADIR_SITES, -ENOSPC, &errinfo), -ENOSPC);
	assert_non_null(strstr(errinfo.text, "/" DATADIR_SITES ": "));
	assert_non_null(strstr(errinfo.text, "remount,size="));
	assert_int_equal(datadir_fail(&data, DATADIR_SITES, -EBUSY, &errinfo), -EBUSY);
	assert_string_equal(strrchr(errinfo.text, ':'), ": Device or resource busy");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_tables_elsewhere),
		IN_DIR(test_time_stays_with_history),
		IN_DIR(test_failing_table_is_named),
		IN_DIR(test_port_is_named),
		IN_DIR(test_failed_start_changes_nothing),
		IN_DIR(test_failed_start_leaves_nothing),
		IN_DIR(test_lost_ledger),
		IN_DIR(test_lost_arena),
		IN_DIR(test_lost_arena_and_proofs),
		IN_DIR(test_new_arena_in_a_known_pool),
		IN_DIR(test_lost_proofs),
		IN_DIR(test_mixed_pools),
		IN_DIR(test_older_ledger),
		IN_DIR(test_copied_ledger),
		IN_DIR(test_ledger_changed_in_place),
		IN_DIR(test_pool_without_a_seal),
		IN_DIR(test_copied_pool),
		IN_DIR(test_damaged_record),
		IN_DIR(test_forged_serial),
		IN_DIR(test_damaged_headers),
		IN_DIR(test_ledger_without_a_run),
		IN_DIR(test_damage_stays_until_started),
		IN_DIR(test_whole_blocks_are_wiped),
		IN_DIR(test_interrupted_wiping_goes_on),
		cmocka_unit_test(test_sizes_of_two_nodes),
		IN_DIR(test_full_pool),
		IN_DIR(test_earlier_versions),
		IN_DIR(test_one_user_at_a_time),
	};

	return cmocka_run_group_tests(tests, load_machine, forget_machine);
}
