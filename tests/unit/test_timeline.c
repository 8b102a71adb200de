/* SPDX-License-Identifier: BSD-3-Clause */
/* Server time: the wall clock steps, rmemd is killed anywhere, the machine boots, and it only ever goes on. */
#include "tests/support/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/clock.h"
#include "server/ledger/table.h"
#include "server/ledger/timeline.h"

#define NAME "time"
#define HOUR (3600 * NSEC_PER_SEC)
#define WALL (1700000000 * NSEC_PER_SEC)
#define BOOT (5 * HOUR)

static struct timeline *open_at(const struct timeline_clocks *clocks)
{
	struct timeline *t = NULL;

	assert_int_equal(timeline_open(&t, dir, NAME, clocks), 0);
	return t;
}

static const struct timeline_clocks first = {
	.boot_id = { 7 }, .boot_clock = 40, .boot_ns = BOOT, .real_ns = WALL
};

static void test_wall_clock_is_asked_once(void **state)
{
	struct timeline_clocks later = first;
	struct timeline *t = open_at(&first);

	(void)state;
	assert_int_equal(timeline_at(t, BOOT), WALL);
	assert_int_equal(timeline_at(t, BOOT + HOUR), WALL + HOUR);
	timeline_keep(t, BOOT + HOUR);
	timeline_close(t);
	/* It is started again two hours later, whatever the wall clock shows. */
	later.boot_ns = BOOT + 3 * HOUR;
	for (unsigned i = 0; i < 4; i++) {
		static const uint64_t walls[] = { 0, WALL - 25 * HOUR, WALL + 25 * HOUR,
			UINT64_MAX };

		later.real_ns = walls[i];
		t = open_at(&later);
		assert_int_equal(timeline_at(t, later.boot_ns), WALL + 3 * HOUR);
		timeline_close(t);
	}
}

static void test_another_boot_goes_on(void **state)
{
	struct timeline_clocks other = first;
	struct timeline *t = open_at(&first);

	(void)state;
	timeline_keep(t, BOOT + HOUR);
	timeline_close(t);
	other.boot_id[0]++;
	other.boot_ns = HOUR / 60;
	other.real_ns = WALL - 25 * HOUR;
	t = open_at(&other);
	assert_int_equal(timeline_at(t, other.boot_ns), WALL + HOUR);
	assert_int_equal(timeline_at(t, other.boot_ns + HOUR), WALL + 2 * HOUR);
	timeline_close(t);
	/* In that boot it is the same again, and in a third one it goes on from where the second was. */
	other.boot_ns += 2 * HOUR;
	t = open_at(&other);
	assert_int_equal(timeline_at(t, other.boot_ns), WALL + 3 * HOUR);
	timeline_close(t);
	other.boot_id[0]++;
	other.boot_ns = 0;
	t = open_at(&other);
	assert_int_equal(timeline_at(t, 0), WALL + 3 * HOUR);
	timeline_close(t);
}

/* Another time namespace, a clock that went back (a machine that was put back to an earlier state), nobody knows. */
static void test_another_clock_goes_on(void **state)
{
	struct timeline_clocks other = first;
	struct timeline *t = open_at(&first);

	(void)state;
	timeline_keep(t, BOOT + HOUR);
	timeline_close(t);
	other.boot_clock++;
	other.boot_ns = BOOT + 1000 * HOUR;
	t = open_at(&other);
	assert_int_equal(timeline_at(t, other.boot_ns), WALL + HOUR);
	timeline_close(t);
	other.boot_ns = HOUR;
	t = open_at(&other);
	assert_int_equal(timeline_at(t, other.boot_ns), WALL + HOUR);
	timeline_close(t);
	memset(other.boot_id, 0, sizeof(other.boot_id));
	for (unsigned i = 0; i < 2; i++) {
		other.boot_ns += HOUR;
		t = open_at(&other);
		assert_int_equal(timeline_at(t, other.boot_ns), WALL + HOUR);
		timeline_close(t);
	}
}

/* Of what is in the file, every byte is changed: no time that was not, but at most the one of the mark before. */
static void test_damage(void **state)
{
	struct timeline_clocks other = first;
	char bytes[4096 + 2 * 56];
	struct timeline *t = open_at(&first);
	int fd;

	(void)state;
	timeline_keep(t, BOOT + HOUR);
	timeline_close(t);
	other.boot_id[0]++;
	other.real_ns = 1;
	fd = openat(dir, NAME, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i += i < 40 || i >= 4090 ? 1 : 500) {
		uint64_t now_ns;
		char changed = (char)(bytes[i] ^ 0x40);

		assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
		assert_int_equal(pwrite(fd, &changed, 1, (off_t)i), 1);
		t = open_at(&other);
		now_ns = timeline_at(t, other.boot_ns);
		timeline_close(t);
		assert_true(now_ns == WALL || now_ns == WALL + HOUR || now_ns == 1);
		if (now_ns == 1) { /* only a damaged header, and then there is another file */
			assert_true(i < 40);
			close(fd);
			fd = openat(dir, NAME, O_RDWR | O_CLOEXEC);
		}
	}
	close(fd);
}

/* As server/ledger/timeline.c keeps them. */
struct forged {
	uint64_t turn;
	uint8_t boot_id[16];
	uint64_t boot_clock, shift_ns, last_ns, sum;
};

static void forge(struct forged mark)
{
	mark.sum = table_sum(&mark, offsetof(struct forged, sum));
	poke_file(NAME, (off_t)(4096 + mark.turn % 2 * sizeof(mark)), &mark, sizeof(mark));
}

/* A mark of a time after which none comes: it is none, and the one before it is good. */
static void test_time_never_ends(void **state)
{
	static const uint64_t ends[] = { UINT64_MAX, UINT64_MAX - 1, (uint64_t)INT64_MAX + 1 };

	(void)state;
	for (unsigned i = 0; i < 2 * sizeof(ends) / sizeof(ends[0]); i++) {
		const bool same_boot = i % 2;
		struct timeline_clocks later = first;
		struct forged mark = { .turn = 3, .boot_clock = 40 };
		struct timeline *t;

		unlinkat(dir, NAME, 0);
		t = open_at(&first); /* turn 1 */
		timeline_keep(t, BOOT + HOUR);
		timeline_close(t);
		mark.boot_id[0] = same_boot ? 7 : 8;
		mark.last_ns = same_boot ? 1 : ends[i / 2];
		mark.shift_ns = ends[i / 2] - BOOT;
		forge(mark);
		later.real_ns = 1;
		t = open_at(&later);
		assert_int_equal(timeline_at(t, BOOT), WALL + HOUR);
		timeline_close(t);
	}
}

/* The number of a mark has no end either: what is kept after the highest is the newest. */
static void test_turns_never_end(void **state)
{
	struct timeline *t = open_at(&first);
	struct timeline_clocks other = first;

	(void)state;
	timeline_close(t);
	forge((struct forged){ .turn = UINT64_MAX, .boot_id = { 8 }, .last_ns = 5 * HOUR });
	forge((struct forged){ .turn = UINT64_MAX - 1, .boot_id = { 8 }, .last_ns = 4 * HOUR });
	t = open_at(&first);
	assert_int_equal(timeline_at(t, BOOT), 5 * HOUR);
	timeline_close(t);
	other.boot_ns = BOOT + HOUR;
	t = open_at(&other);
	assert_int_equal(timeline_at(t, BOOT + HOUR), 6 * HOUR);
	other.boot_ns = BOOT;
	for (unsigned i = 1; i <= 5; i++) {
		timeline_keep(t, BOOT + HOUR);
		timeline_close(t);
		other.boot_id[0]++;
		t = open_at(&other);
		assert_int_equal(timeline_at(t, BOOT), (5 + i) * HOUR);
	}
	timeline_close(t);
}

static void add_birth(struct ledger *l, uint64_t offset, uint64_t birth_ns)
{
	const struct allocation draft = { .session_serial = 1,
		.addr = addr_make(64, offset),
		.bytes = 4096,
		.birth_ns = birth_ns };
	const struct allocation *a;

	assert_int_equal(ledger_add(l, &draft, &a), 0);
}

/* Without its file: at the latest time of a record, but none that is too far to come. */
static void test_beginning(void **state)
{
	static const uint8_t id[ID_SIZE], secret[ID_SIZE];
	struct identity who = { .pid = 1 };
	struct sessions *s;
	struct ledger *l;
	uint32_t slot;

	(void)state;
	assert_int_equal(sessions_open(&s, dir, "sessions"), 0);
	assert_int_equal(ledger_open(&l, dir, "ledger", 16), 0);
	assert_int_equal(timeline_beginning_ns(s, l, NULL, WALL), WALL);
	add_birth(l, 0, WALL - HOUR);
	assert_int_equal(timeline_beginning_ns(s, l, NULL, WALL), WALL - HOUR);
	add_birth(l, 4096, UINT64_MAX - 1);
	add_birth(l, 8192, WALL + 1000 * 24 * HOUR);
	assert_int_equal(timeline_beginning_ns(s, l, NULL, WALL), WALL - HOUR);
	assert_int_equal(sessions_add(s, id, secret, &who, WALL - 3 * HOUR, &slot), 0);
	sessions_set_seen(s, slot, UINT64_MAX - 1);
	assert_int_equal(timeline_beginning_ns(s, l, NULL, WALL), WALL - HOUR);
	sessions_set_seen(s, slot, WALL - HOUR / 2);
	assert_int_equal(timeline_beginning_ns(s, l, NULL, WALL), WALL - HOUR / 2);
	/* The wall clock was set back. */
	add_birth(l, 12288, WALL + 25 * HOUR);
	assert_int_equal(timeline_beginning_ns(s, l, NULL, WALL), WALL + 25 * HOUR);
	ledger_close(l);
	sessions_close(s);
}

static void add_line(struct history *h, uint64_t serial, uint64_t since_ns, uint64_t taken_ns)
{
	const struct session_record who = { .serial = serial, .state_since_ns = since_ns };
	const struct allocation a = { .bytes = 4096 };

	history_note(h, &who, NULL, &a, taken_ns);
}

/* Only history is left of an earlier pool: nothing in it becomes older or younger by what the wall clock did. */
static void test_beginning_with_history(void **state)
{
	struct sessions *s;
	struct history *h;
	struct ledger *l;

	(void)state;
	assert_int_equal(sessions_open(&s, dir, "sessions"), 0);
	assert_int_equal(ledger_open(&l, dir, "ledger", 16), 0);
	assert_int_equal(history_open(&h, dir, "history"), 0);
	assert_int_equal(timeline_beginning_ns(s, l, h, WALL), WALL);
	add_line(h, 1, WALL - 4 * HOUR, WALL - 3 * HOUR);
	assert_int_equal(timeline_beginning_ns(s, l, h, WALL), WALL - 3 * HOUR);
	add_birth(l, 0, WALL - HOUR);
	assert_int_equal(timeline_beginning_ns(s, l, h, WALL), WALL - HOUR);
	add_line(h, 2, 1, UINT64_MAX - 1);
	add_line(h, 3, WALL + 1000 * 24 * HOUR, 1);
	assert_int_equal(timeline_beginning_ns(s, l, h, WALL), WALL - HOUR);
	/* The wall clock was set back. */
	add_line(h, 4, WALL + 24 * HOUR, WALL + 25 * HOUR);
	assert_int_equal(timeline_beginning_ns(s, l, h, WALL), WALL + 24 * HOUR);
	history_close(h);
	ledger_close(l);
	sessions_close(s);
}

/* A directory in its place is none of its, unless it is empty. */
static void test_in_its_place(void **state)
{
	struct timeline *t;

	(void)state;
	assert_int_equal(mkdirat(dir, NAME, 0700), 0);
	assert_int_equal(symlinkat("x", dir, NAME "/theirs"), 0);
	assert_int_equal(timeline_open(&t, dir, NAME, &first), -ENOTEMPTY);
	assert_int_equal(unlinkat(dir, NAME "/theirs", 0), 0);
	t = open_at(&first);
	assert_int_equal(timeline_at(t, BOOT), WALL);
	timeline_close(t);
}

static void test_one_at_a_time(void **state)
{
	struct timeline *t = open_at(&first), *second;

	(void)state;
	assert_int_equal(timeline_open(&second, dir, NAME, &first), -EBUSY);
	timeline_close(t);
	timeline_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_wall_clock_is_asked_once),
		IN_DIR(test_another_boot_goes_on),
		IN_DIR(test_another_clock_goes_on),
		IN_DIR(test_damage),
		IN_DIR(test_time_never_ends),
		IN_DIR(test_turns_never_end),
		IN_DIR(test_beginning),
		IN_DIR(test_beginning_with_history),
		IN_DIR(test_in_its_place),
		IN_DIR(test_one_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
