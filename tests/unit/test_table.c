/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of records: making, growing, refusing; sparse files stay sparse. And the slots beside them. */
#include "tests/support/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/ledger/slotmap.h"
#include "server/ledger/table.h"

#define NAME "table"

static const struct table_layout layout = {
	.magic = "testtab", .version = 3, .record_bytes = 64, .count = 1000
};

static off_t file_size(void)
{
	struct stat st;

	assert_int_equal(fstatat(dir, NAME, &st, 0), 0);
	return st.st_size;
}

static void cut(off_t size)
{
	int fd = openat(dir, NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static int reopen(const struct table_layout *with, bool *created)
{
	struct table t = { .map = NULL };
	int err = table_open(&t, dir, NAME, with, created);

	table_close(&t);
	return err;
}

static void test_contents_stay(void **state)
{
	struct table t = { .map = NULL }, second = { .map = NULL };
	struct table_layout larger = layout;
	bool created = false;

	(void)state;
	assert_int_equal(table_open(&t, dir, NAME, &layout, &created), 0);
	assert_true(created);
	assert_int_equal(file_size(), 4096 + 64 * 1000);
	assert_int_equal(table_open(&second, dir, NAME, &layout, NULL), -EBUSY);
	assert_null(second.map);
	assert_int_equal(table_back(&t, 999), 0);
	snprintf(table_edit(&t, 0), layout.record_bytes, "first");
	snprintf(table_edit(&t, 999), layout.record_bytes, "last");
	table_close(&t);
	table_close(&t);
	table_close(NULL);

	larger.count = 5000;
	assert_int_equal(table_open(&t, dir, NAME, &larger, &created), 0);
	assert_false(created);
	assert_string_equal(table_record(&t, 0), "first");
	assert_string_equal(table_record(&t, 999), "last");
	assert_int_equal(*(const char *)table_record(&t, 4999), 0);
	table_close(&t);
	assert_int_equal(file_size(), 4096 + 64 * 5000);
	/* And never smaller again. */
	assert_int_equal(reopen(&layout, NULL), -EUCLEAN);
	assert_int_equal(reopen(&larger, NULL), 0);
}

static void test_refusals(void **state)
{
	struct table_layout bad = layout;
	char junk[4096];

	(void)state;
	assert_int_equal(reopen(&layout, NULL), 0);
	bad.version++;
	assert_int_equal(reopen(&bad, NULL), -EUCLEAN);
	bad = layout;
	bad.magic[0]++;
	assert_int_equal(reopen(&bad, NULL), -EUCLEAN);
	bad = layout;
	bad.record_bytes = 72;
	assert_int_equal(reopen(&bad, NULL), -EUCLEAN);
	bad.record_bytes = 63;
	assert_int_equal(reopen(&bad, NULL), -EINVAL);
	bad.record_bytes = 0;
	assert_int_equal(reopen(&bad, NULL), -EINVAL);
	bad = layout;
	bad.count = 0;
	assert_int_equal(reopen(&bad, NULL), -EINVAL);
	bad.count = UINT32_MAX;
	bad.record_bytes = SIZE_MAX - 7;
	assert_int_equal(reopen(&bad, NULL), -EINVAL);

	/* Cut off: whatever the header says must be there, or a look would be a SIGBUS. */
	cut(4096 + 64 * 999);
	assert_int_equal(reopen(&layout, NULL), -EUCLEAN);
	cut(20);
	assert_int_equal(reopen(&layout, NULL), -EUCLEAN);
	memset(junk, 0xa5, sizeof(junk));
	poke_file(NAME, 0, junk, sizeof(junk));
	assert_int_equal(reopen(&layout, NULL), -EUCLEAN);
	poke_file(NAME, 0, "hello\n", 6);
	cut(6);
	assert_int_equal(reopen(&layout, NULL), -EUCLEAN);
}

static void test_other_files(void **state)
{
	(void)state;
	assert_int_equal(symlinkat("/etc/passwd", dir, NAME), 0);
	assert_int_equal(reopen(&layout, NULL), -ELOOP);
	unlinkat(dir, NAME, 0);
	assert_int_equal(mkfifoat(dir, NAME, 0600), 0);
	assert_int_equal(reopen(&layout, NULL), -EUCLEAN);
	unlinkat(dir, NAME, 0);
	assert_int_equal(mkdirat(dir, NAME, 0700), 0);
	assert_int_equal(reopen(&layout, NULL), -EISDIR);
	assert_int_equal(unlinkat(dir, NAME, AT_REMOVEDIR), 0);
}

/* A kill while the file is made: after open, after ftruncate, before the magic. */
static void test_half_made(void **state)
{
	uint32_t version = 3;
	bool created = false;

	(void)state;
	cut(0);
	assert_int_equal(reopen(&layout, &created), 0);
	assert_true(created);

	unlinkat(dir, NAME, 0);
	cut(4096 + 64 * 1000);
	poke_file(NAME, 8, &version, sizeof(version));
	created = false;
	assert_int_equal(reopen(&layout, &created), 0);
	assert_true(created);

	/* But no magic and yet records: not ours, or a header that was lost. Hands off. */
	unlinkat(dir, NAME, 0);
	cut(4096 + 64 * 1000);
	poke_file(NAME, 4096 + 640, "data", 4);
	assert_int_equal(reopen(&layout, &created), -EUCLEAN);
}

/* Whose a table is, is said before there is one, and stays; to look changes nothing. */
static void test_marks(void **state)
{
	const struct table_mark first = { 7, 1 }, second = { 7, 2 };
	struct table t = { .map = NULL };
	struct table_facts facts;
	bool created = false;

	(void)state;
	assert_int_equal(table_look(dir, NAME, &facts), -ENOENT);
	assert_int_equal(faccessat(dir, NAME, F_OK, 0), -1);
	cut(0);
	assert_int_equal(table_look(dir, NAME, &facts), -ENODATA);
	assert_int_equal(table_mark(dir, NAME, &first), 0);
	assert_int_equal(table_look(dir, NAME, &facts), -ENODATA);
	assert_int_equal(table_open(&t, dir, NAME, &layout, &created), 0);
	assert_true(created);
	assert_int_equal(table_look(dir, NAME, &facts), 0);
	assert_memory_equal(facts.magic, layout.magic, sizeof(layout.magic));
	assert_int_equal(facts.version, layout.version);
	assert_int_equal(facts.count, layout.count);
	assert_memory_equal(&facts.mark, &first, sizeof(first));
	assert_int_equal(table_mark(dir, NAME, &second), 0); /* while it is open, too */
	table_close(&t);
	assert_int_equal(reopen(&layout, &created), 0);
	assert_false(created);
	assert_int_equal(table_look(dir, NAME, &facts), 0);
	assert_memory_equal(&facts.mark, &second, sizeof(second));
	poke_file(NAME, 0, "\0\0\0\0\0\0\0\0", 8);
	poke_file(NAME, 4096 + 640, "data", 4);
	assert_int_equal(table_look(dir, NAME, &facts), -EUCLEAN);
	unlinkat(dir, NAME, 0);
	assert_int_equal(symlinkat("/etc/passwd", dir, NAME), 0);
	assert_int_equal(table_look(dir, NAME, &facts), -ELOOP);
	assert_int_equal(table_mark(dir, NAME, &first), -ELOOP);
}

/* Whatever is in its place and is no such table goes, if that loses nothing else. */
static void test_replace(void **state)
{
	struct table_layout newer = layout;
	struct table t = { .map = NULL }, second = { .map = NULL };
	bool replaced = false;

	(void)state;
	newer.version++;
	for (unsigned i = 0; i < 5; i++) {
		unlinkat(dir, NAME, 0);
		if (i == 0)
			assert_int_equal(symlinkat("target", dir, NAME), 0);
		else if (i == 1)
			assert_int_equal(mkdirat(dir, NAME, 0700), 0);
		else if (i == 2)
			assert_int_equal(mkfifoat(dir, NAME, 0600), 0);
		else if (i == 3)
			assert_int_equal(mknodat(dir, NAME, S_IFSOCK | 0600, 0), 0);
		else
			assert_int_equal(reopen(&newer, NULL), 0);
		assert_true(reopen(&layout, NULL) < 0);
		assert_int_equal(table_open_or_replace(&t, dir, NAME, &layout, &replaced), 0);
		assert_true(replaced);
		assert_int_equal(file_size(), 4096 + 64 * 1000);
		assert_int_equal(
			table_open_or_replace(&second, dir, NAME, &layout, &replaced), -EBUSY);
		snprintf(table_edit(&t, 0), layout.record_bytes, "kept");
		table_close(&t);
		assert_int_equal(table_open_or_replace(&t, dir, NAME, &layout, &replaced), 0);
		assert_false(replaced);
		assert_string_equal(table_record(&t, 0), "kept");
		table_close(&t);
		assert_int_equal(faccessat(dir, "target", F_OK, 0), -1);
	}
	/* Somebody's files are not ours to delete. */
	unlinkat(dir, NAME, 0);
	assert_int_equal(mkdirat(dir, NAME, 0700), 0);
	assert_int_equal(symlinkat("x", dir, NAME "/theirs"), 0);
	assert_int_equal(table_open_or_replace(&t, dir, NAME, &layout, &replaced), -ENOTEMPTY);
	assert_null(t.map);
	assert_int_equal(unlinkat(dir, NAME "/theirs", 0), 0);
	assert_int_equal(unlinkat(dir, NAME, AT_REMOVEDIR), 0);
}

static void test_extents(void **state)
{
	struct table_layout huge = layout;
	struct table t = { .map = NULL };
	uint32_t begin = 0, end = 0, seen = 0, slots = 0;
	struct stat st;

	(void)state;
	huge.count = 16 * 1024 * 1024;
	assert_int_equal(table_open(&t, dir, NAME, &huge, NULL), 0);
	for (uint32_t slot = 5; slot < huge.count; slot += 5000000) {
		assert_int_equal(table_back(&t, slot), 0);
		*(uint32_t *)table_edit(&t, slot) = slot;
	}
	table_close(&t);
	assert_int_equal(table_open(&t, dir, NAME, &huge, NULL), 0);
	while (table_next_extent(&t, end, &begin, &end)) {
		assert_true(begin < end && end <= huge.count);
		slots += end - begin;
		for (uint32_t slot = begin; slot < end; slot++)
			seen += *(const uint32_t *)table_record(&t, slot) != 0;
	}
	assert_int_equal(seen, 4);
	assert_true(slots < 100000);
	assert_int_equal(fstat(t.fd, &st), 0);
	assert_true(st.st_blocks * 512 < 4L * 1024 * 1024);
	assert_false(table_next_extent(&t, huge.count, &begin, &end));
	table_close(&t);
}

/* A full file system is an error, not a SIGBUS. RLIMIT_FSIZE will not do: the file has its size. */
static void test_full(void **state)
{
	struct table t = { .map = NULL };
	struct table_layout big = layout;
	int fd, err = 0;

	(void)state;
	big.count = 1024 * 1024;
	assert_int_equal(table_open(&t, dir, NAME, &big, NULL), 0);
	/* A sealed memfd stands in for it: fallocate fails there as it does on a full tmpfs. */
	fd = memfd_create("full", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_WRITE), 0);
	assert_true(dup2(fd, t.fd) >= 0);
	for (uint32_t slot = 0; slot < big.count && !err; slot++)
		err = table_back(&t, slot);
	assert_true(err < 0);
	assert_int_equal(t.backed, 0);
	close(fd);
	table_close(&t);
}

static void test_slots(void **state)
{
	struct slots s;
	uint32_t slot = 99;

	(void)state;
	assert_int_equal(slots_create(&s, 6), 0);
	slots_set_aside(&s, 2);
	slots_set_aside(&s, 3);
	slots_occupy(&s, 3);
	assert_int_equal(slots_take(&s, &slot), 0);
	assert_int_equal(slot, 0);
	assert_int_equal(slots_take(&s, &slot), 0);
	assert_int_equal(slot, 1);
	assert_int_equal(slots_take(&s, &slot), 0);
	assert_int_equal(slot, 4);
	slots_give(&s, 0);
	assert_false(slots_has(&s, 0));
	assert_int_equal(slots_next(&s, 0), 1);
	assert_int_equal(slots_next(&s, 2), 3);
	assert_int_equal(slots_next(&s, 5), SLOT_NONE);
	assert_int_equal(slots_take(&s, &slot), 0);
	assert_int_equal(slot, 0);
	assert_int_equal(slots_take(&s, &slot), 0);
	assert_int_equal(slot, 5);
	assert_int_equal(slots_take(&s, &slot), -ENOSPC);
	assert_int_equal(s.count, 5);
	slots_destroy(&s);
}

#define MAP_SLOTS 5000

static void test_slotmap(void **state)
{
	uint32_t seed = 12345, *keys = calloc(MAP_SLOTS, sizeof(*keys));
	struct slotmap m;

	(void)state;
	assert_non_null(keys);
	assert_int_equal(slotmap_create(&m, MAP_SLOTS), 0);
	for (unsigned i = 0; i < 40000; i++) {
		uint32_t slot, found = 0, want = 0;

		seed = seed * 1664525 + 1013904223;
		slot = (seed >> 8) % MAP_SLOTS;
		if (keys[slot]) {
			slotmap_remove(&m, slot);
			keys[slot] = 0;
		} else {
			keys[slot] = 1 + (seed >> 20) % 500; /* many share a hash */
			slotmap_put(&m, slot, keys[slot] * 7);
		}
		if (i % 100 != 0)
			continue;
		for (uint32_t s = 0; s < MAP_SLOTS; s++)
			want += keys[s] == 17;
		for (uint32_t s = slotmap_first(&m, 17 * 7); s != SLOT_NONE;
			s = slotmap_next(&m, s)) {
			assert_int_equal(keys[s], 17);
			found++;
		}
		assert_int_equal(found, want);
	}
	slotmap_destroy(&m);
	free(keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_contents_stay),
		IN_DIR(test_refusals),
		IN_DIR(test_other_files),
		IN_DIR(test_half_made),
		IN_DIR(test_marks),
		IN_DIR(test_replace),
		IN_DIR(test_extents),
		IN_DIR(test_full),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_slotmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
