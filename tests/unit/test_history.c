/* SPDX-License-Identifier: BSD-3-Clause */
/* What was taken back: lines, merging, the ring, acknowledging, restarts and files full of garbage. */
#include "tests/support/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
	s.names.nnames = 5;
	for (unsigned i = 0; i < 5; i++)
		snprintf(s.names.names[i].function, sizeof(s.names.names[i].function), "f%u", i);
	return s;
}

static void note(struct history *h, uint64_t serial, uint64_t hash, uint64_t now_ns)
{
	const struct allocation a = {
		.state = ALLOCATION_LIVE, .bytes = 5000, .order = 13, .birth_ns = now_ns / 2
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

/* A file of another version is replaced. */
static void test_other_version(void **state)
{
	struct history *h = reopen(NULL);

	(void)state;
	note(h, 1, 7, 1000);
	history_close(h);
	damage(8, 0x7e);
	h = reopen(NULL);
	assert_int_equal(history_count(h), 0);
	history_close(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_lines),
		IN_DIR(test_acknowledge),
		IN_DIR(test_ring),
		IN_DIR(test_damage),
		IN_DIR(test_other_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
