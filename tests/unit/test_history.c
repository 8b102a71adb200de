/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was taken back: lines, merging, which lines go for a new one, acknowledging, restarts, pools that follow each other,
 * full file systems and files full of garbage.
 */
#include "tests/support/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/units.h"
#include "server/ledger/history.h"
#include "server/ledger/table.h"

#define NAME "history"

static struct history *reopen(struct history *h)
{
	history_close(h);
	assert_int_equal(history_open(&h, dir, NAME), 0);
	return h;
}

static struct session_record holder(uint64_t serial)
{
	struct session_record r;

	memset(&r, 0, sizeof(r));
	r.state = SESSION_DEAD;
	r.evidence = HOLDER_PID_GONE;
	r.serial = serial;
	r.state_since_ns = 100;
	r.identity.pid = (uint32_t)(1000 + serial);
	strcpy(r.identity.exe, "cache");
	return r;
}

static struct site_record site(uint64_t hash)
{
	struct site_record s;

	memset(&s, 0, sizeof(s));
	s.hash = hash;
	s.state = SITE_NAMED;
	s.names.fixed.nnames = 5;
	for (unsigned i = 0; i < 5; i++)
		snprintf(s.names.fixed.names[i].function, sizeof(s.names.fixed.names[i].function),
			"f%u", i);
	return s;
}

static void note(struct history *h, uint64_t serial, uint64_t hash, uint64_t now_ns)
{
	const struct allocation a = {
		.state = ALLOCATION_LIVE, .bytes = 5000, .birth_ns = now_ns / 2
	};
	const struct session_record r = holder(serial);
	const struct site_record s = site(hash);

	history_note(h, &r, hash ? &s : NULL, &a, now_ns);
}

static void test_lines(void **state)
{
	struct history *h = reopen(NULL);
	const struct history_line *line;
	uint64_t cursor = 0;

	(void)state;
	assert_int_equal(history_count(h), 0);
	assert_null(history_next(h, &cursor));
	note(h, 1, 7, 1000);
	note(h, 1, 8, 1010);
	note(h, 1, 7, 1020);
	note(h, 2, 7, 1030);
	note(h, 2, 0, 1040);
	for (int restart = 0; restart < 2; restart++, h = reopen(h)) {
		assert_int_equal(history_count(h), 4);
		assert_int_equal(history_news(h), 4);
		cursor = 0;
		line = history_next(h, &cursor);
		assert_int_equal(line->id, 4);
		assert_int_equal(line->site_hash, 0);
		assert_int_equal(line->nframes, 0);
		assert_int_equal(history_next(h, &cursor)->identity.pid, 1002);
		assert_int_equal(history_next(h, &cursor)->site_hash, 8);
		line = history_next(h, &cursor);
		assert_int_equal(line->blocks, 2);
		assert_int_equal(line->bytes, 10000);
		assert_int_equal(line->block_bytes, 2 << 13);
		assert_int_equal(line->taken_ns, 1020);
		assert_int_equal(line->born_ns, 500);
		assert_int_equal(line->nframes, 3);
		assert_string_equal(line->frames[2].function, "f2");
		assert_string_equal(line->identity.exe, "cache");
		assert_int_equal(line->evidence, HOLDER_PID_GONE);
		assert_null(history_next(h, &cursor));
	}
	history_close(h);
}

static void test_acknowledge(void **state)
{
	struct history *h = reopen(NULL);

	(void)state;
	note(h, 1, 7, 1000);
	note(h, 2, 7, 1000);
	note(h, 3, 7, 1000);
	assert_int_equal(history_acknowledge(h, 4), -ENOENT);
	assert_int_equal(history_acknowledge(h, 4 + HISTORY_MAX), -ENOENT);
	assert_int_equal(history_acknowledge(h, 2), 0);
	assert_int_equal(history_acknowledge(h, 2), 0);
	assert_int_equal(history_news(h), 2);
	h = reopen(h);
	assert_int_equal(history_news(h), 2);
	assert_int_equal(history_count(h), 3);
	/* What is taken from that session later is news again. */
	note(h, 2, 7, 2000);
	assert_int_equal(history_news(h), 3);
	assert_int_equal(history_acknowledge(h, HISTORY_ALL), 0);
	assert_int_equal(history_news(h), 0);
	assert_int_equal(history_count(h), 4);
	history_close(h);
}

/* One line for each session and call site, however many there are and in which order its blocks are taken. */
static void test_many_sites(void **state)
{
	const unsigned sites = HISTORY_MAX / 2, rounds = 3;
	struct history *h = reopen(NULL);
	const struct history_line *line;
	uint64_t cursor = 0;

	(void)state;
	note(h, 1, 7, 1000);
	for (unsigned round = 1; round <= rounds; round++) {
		for (unsigned i = 0; i < sites; i++)
			note(h, 2, 100 + i, 1000 + round);
		if (round < rounds)
			h = reopen(h);
	}
	assert_int_equal(history_count(h), sites + 1);
	assert_int_equal(history_news(h), sites + 1);
	for (unsigned i = sites; i > 0; i--) {
		line = history_next(h, &cursor);
		assert_non_null(line);
		assert_int_equal(line->id, i + 1);
		assert_int_equal(line->site_hash, 99 + i);
		assert_int_equal(line->blocks, rounds);
	}
	assert_int_equal(history_next(h, &cursor)->session_serial, 1);
	assert_null(history_next(h, &cursor));
	history_close(h);
}

static bool has_line(struct history *h, uint64_t id)
{
	uint64_t cursor = id + 1;
	const struct history_line *line = history_next(h, &cursor);

	return line && line->id == id;
}

/* Lines that somebody has seen go first, wherever they are; then the oldest one. Ids ascend all the same. */
static void test_acknowledged_go_first(void **state)
{
	struct history *h = reopen(NULL);
	uint64_t cursor = 0;

	(void)state;
	for (uint64_t i = 1; i <= HISTORY_MAX; i++)
		note(h, i, 7, i);
	assert_int_equal(history_acknowledge(h, HISTORY_MAX - 100), 0);
	assert_int_equal(history_acknowledge(h, 2), 0);
	h = reopen(h);
	note(h, 5001, 7, 5001);
	note(h, 5002, 7, 5002);
	assert_false(has_line(h, 2));
	assert_false(has_line(h, HISTORY_MAX - 100));
	assert_true(has_line(h, 1));
	assert_int_equal(history_count(h), HISTORY_MAX);
	assert_int_equal(history_news(h), HISTORY_MAX);
	h = reopen(h);
	/* What comes now costs news: of the oldest ones. */
	note(h, 5003, 7, 5003);
	note(h, 5004, 7, 5004);
	assert_false(has_line(h, 1));
	assert_false(has_line(h, 3));
	assert_true(has_line(h, 4));
	for (uint64_t serial = 5004; serial > 5000; serial--)
		assert_int_equal(history_next(h, &cursor)->session_serial, serial);
	assert_int_equal(history_next(h, &cursor)->id, HISTORY_MAX);
	assert_int_equal(history_news(h), HISTORY_MAX);
	history_close(h);
}

/* The newest stay, and ids are never given twice. */
static void test_ring(void **state)
{
	struct history *h = reopen(NULL);
	const uint64_t lines = 2 * HISTORY_MAX + 5;
	uint64_t cursor = 0, n = 0;
	const struct history_line *line;

	(void)state;
	for (uint64_t i = 1; i <= lines; i++) {
		note(h, i, 7, i);
		if (i == HISTORY_MAX + 3)
			h = reopen(h);
	}
	h = reopen(h);
	assert_int_equal(history_count(h), HISTORY_MAX);
	assert_int_equal(history_news(h), HISTORY_MAX);
	while ((line = history_next(h, &cursor))) {
		assert_int_equal(line->id, lines - n);
		assert_int_equal(line->session_serial, lines - n);
		n++;
	}
	assert_int_equal(n, HISTORY_MAX);
	assert_int_equal(history_acknowledge(h, lines - HISTORY_MAX), -ENOENT);
	assert_int_equal(history_acknowledge(h, lines - HISTORY_MAX + 1), 0);
	history_close(h);
}

static void damage(off_t at, uint8_t bits)
{
	int fd = openat(dir, NAME, O_RDWR | O_CLOEXEC);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= bits;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

/* Any byte of a line may be anything: it is there as it was, or with other counts and names, or not. */
static void test_damage(void **state)
{
	const off_t record = TABLE_HEADER_BYTES + sizeof(struct history_line); /* of id 1 */
	struct history *h;

	(void)state;
	for (size_t at = 0; at < sizeof(struct history_line); at++) {
		const struct history_line *line;
		uint64_t cursor = 0;

		unlinkat(dir, NAME, 0);
		h = reopen(NULL);
		note(h, 1, 7, 1000);
		history_close(h);
		damage(record + (off_t)at, 0x81);
		h = reopen(NULL);
		line = history_next(h, &cursor);
		assert_int_equal(history_count(h), line ? 1 : 0);
		assert_int_equal(history_rejected(h), line ? 0 : 1);
		if (line) {
			assert_int_equal(line->id, 1);
			assert_int_equal(line->session_serial, 1);
			assert_string_equal(line->identity.exe, "cache");
		}
		note(h, 2, 7, 1000);
		assert_int_equal(history_count(h), line ? 2 : 1);
		history_close(h);
	}
}

static void add_session(struct sessions *s, uint8_t number, struct session_record *out)
{
	const uint8_t id[ID_SIZE] = { number }, secret[ID_SIZE] = { number };
	const struct identity who = { .pid = number, .exe = "cache" };
	uint32_t slot;

	assert_int_equal(sessions_add(s, id, secret, &who, 1000, &slot), 0);
	*out = *sessions_get(s, slot);
}

/* The tables of a pool go, the history stays: what sessions of the next pool lose is theirs. */
static void test_next_pool(void **state)
{
	const struct allocation a = { .state = ALLOCATION_LIVE, .bytes = 5000 };
	const struct site_record s = site(7);
	struct session_record who;
	struct history *h;

	(void)state;
	for (uint8_t pool = 1; pool <= 3; pool++) {
		struct sessions *sessions;
		uint64_t cursor = 0;

		unlinkat(dir, "sessions", 0);
		assert_int_equal(sessions_open(&sessions, dir, "sessions"), 0);
		h = reopen(NULL);
		history_reserve_serials(h, sessions);
		add_session(sessions, pool, &who);
		history_note(h, &who, &s, &a, 1000);
		history_note(h, &who, &s, &a, 1001);
		assert_int_equal(history_count(h), pool);
		assert_int_equal(history_next(h, &cursor)->identity.pid, pool);
		assert_int_equal(history_next(h, &cursor) == NULL, pool == 1);
		history_close(h);
		sessions_close(sessions);
	}
}

/* A forged line uses up no numbers: those that follow the others are given. */
static void test_serials_never_end(void **state)
{
	struct history *h = reopen(NULL);
	struct sessions *sessions;
	struct session_record who;

	(void)state;
	note(h, 5, 7, 1000);
	note(h, UINT64_MAX - 1, 7, 1000);
	assert_int_equal(sessions_open(&sessions, dir, "sessions"), 0);
	history_reserve_serials(h, sessions);
	add_session(sessions, 1, &who);
	assert_int_equal(who.serial, 6);
	sessions_close(sessions);
	history_close(h);
}

#define BYTES_KEPT 65536

static uint64_t file_held_bytes(void)
{
	struct stat st;

	assert_int_equal(fstatat(dir, NAME, &st, 0), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* No line needs memory that is not there already, nor does one in a file that somebody left with holes. */
static void test_backed(void **state)
{
	struct history *h = reopen(NULL);
	int fd;

	(void)state;
	assert_true(file_held_bytes() >= HISTORY_BYTES);
	note(h, 1, 7, 1000);
	history_close(h);
	fd = open_file(NAME);
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BYTES_KEPT,
				 HISTORY_BYTES - BYTES_KEPT),
		0);
	close(fd);
	assert_true(file_held_bytes() < HISTORY_BYTES / 2);
	h = reopen(NULL);
	assert_true(file_held_bytes() >= HISTORY_BYTES);
	assert_int_equal(history_count(h), 1);
	history_close(h);
}

#define CANNOT_MOUNT 77

/* A small tmpfs of its own on the test's directory, in a process of its own: 0, or CANNOT_MOUNT. */
static int mount_small(const char *path, size_t bytes)
{
	char size[32];

	snprintf(size, sizeof(size), "size=%zu", bytes);
	if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
		mount("none", "/", "", MS_REC | MS_PRIVATE, "") != 0 ||
		mount("small", path, "tmpfs", 0, size) != 0)
		return CANNOT_MOUNT;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0;
}

static void fill_up(void)
{
	static const char page[4096];
	const int fd = openat(dir, "fill", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	while (write(fd, page, sizeof(page)) > 0)
		;
	close(fd);
}

/* Every line can be written. Returns an exit status. */
static int fill_then_note(void)
{
	struct history *h;
	bool failed;

	if (history_open(&h, dir, NAME) != 0)
		return 1;
	fill_up();
	for (uint64_t i = 1; i <= 2 * HISTORY_MAX; i++)
		note(h, i, 7, i);
	failed = history_news(h) != HISTORY_MAX;
	history_close(h);
	return failed;
}

/* No room for all lines, so there is no history at all, and nothing is left of it. */
static int open_without_room(void)
{
	struct history *h;

	if (history_open(&h, dir, NAME) != -ENOSPC || faccessat(dir, NAME, F_OK, 0) == 0)
		return 1;
	fill_up();
	return history_open(&h, dir, NAME) != -ENOSPC || faccessat(dir, NAME, F_OK, 0) == 0;
}

static void on_small(const char *path, size_t bytes, int (*act)(void))
{
	const pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		status = mount_small(path, bytes);
		_exit(status ? status : act());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_MOUNT)
		skip();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* On a tmpfs that is full a line is written all the same. */
static void test_full(void **state)
{
	on_small(*state, HISTORY_BYTES + MIB, fill_then_note);
	on_small(*state, HISTORY_BYTES / 2, open_without_room);
}

/* A file of another version is replaced. */
static void test_other_version(void **state)
{
	struct history *h = reopen(NULL);

	(void)state;
	note(h, 1, 7, 1000);
	history_close(h);
	damage(8, 0x7e);
	h = reopen(NULL);
	assert_int_equal(history_rejected(h), 1);
	assert_int_equal(history_count(h), 0);
	history_close(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_lines),
		IN_DIR(test_acknowledge),
		IN_DIR(test_many_sites),
		IN_DIR(test_acknowledged_go_first),
		IN_DIR(test_ring),
		IN_DIR(test_next_pool),
		IN_DIR(test_serials_never_end),
		IN_DIR(test_backed),
		IN_DIR(test_full),
		IN_DIR(test_damage),
		IN_DIR(test_other_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
