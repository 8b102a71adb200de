/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/timeline.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "server/ledger/table.h"

#define MARKS 2
#define TIME_MAX_NS ((uint64_t)INT64_MAX) /* in 2262 */
#define YEAR_NS (NSEC_PER_SEC * 3600 * 24 * 366)

/*
 * The stored record. Two are written in turn, so a kill during one leaves the other. A wrong sum shows an incomplete
 * mark.
 */
struct mark {
	uint64_t turn; /* sequence number: the successor is newer (it wraps); 0: no mark */
	uint8_t boot_id[16];
	uint64_t boot_clock;
	uint64_t shift_ns; /* server time - boot time */
	uint64_t last_ns;  /* server time when stored */
	uint64_t sum;
};

struct timeline {
	struct table table;
	struct mark mark; /* the newest mark */
};

static uint64_t sum_of(const struct mark *m)
{
	return table_sum(m, offsetof(struct mark, sum));
}

static void keep(struct timeline *t, uint64_t now_ns)
{
	struct mark *m = &t->mark;

	m->turn = m->turn == UINT64_MAX ? MARKS : m->turn + 1;
	m->last_ns = now_ns;
	m->sum = sum_of(m);
	*(struct mark *)table_edit(&t->table, m->turn % MARKS) = *m;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static bool is_same_clock(const struct mark *m, const struct timeline_clocks *clocks)
{
	static const uint8_t unknown[sizeof(m->boot_id)];

	return memcmp(clocks->boot_id, unknown, sizeof(unknown)) != 0 &&
	       memcmp(clocks->boot_id, m->boot_id, sizeof(m->boot_id)) == 0 &&
	       clocks->boot_clock == m->boot_clock && clocks->boot_ns + m->shift_ns >= m->last_ns;
}

/* Current server time by this mark. */
static uint64_t time_of(const struct mark *m, const struct timeline_clocks *clocks)
{
	return is_same_clock(m, clocks) ? clocks->boot_ns + m->shift_ns : m->last_ns;
}

/* The limit keeps a forged mark from exhausting the range. */
static bool is_valid(const struct mark *m, const struct timeline_clocks *clocks)
{
	return m->turn != 0 && m->sum == sum_of(m) && time_of(m, clocks) <= TIME_MAX_NS;
}

/* false: no valid mark. */
static bool find_newest(struct timeline *t, const struct timeline_clocks *clocks)
{
	for (uint32_t i = 0; i < MARKS; i++) {
		const struct mark *m = table_record(&t->table, i);
		const bool newer = t->mark.turn == 0 || (int64_t)(m->turn - t->mark.turn) > 0;

		if (newer && m->turn % MARKS == i && is_valid(m, clocks))
			t->mark = *m;
	}
	return t->mark.turn != 0;
}

/* Determine the current server time and store it. */
static void begin(struct timeline *t, const struct timeline_clocks *clocks)
{
	struct mark *m = &t->mark;
	uint64_t now_ns = clocks->real_ns;

	if (find_newest(t, clocks))
		now_ns = time_of(m, clocks);
	memcpy(m->boot_id, clocks->boot_id, sizeof(m->boot_id));
	m->boot_clock = clocks->boot_clock;
	m->shift_ns = now_ns - clocks->boot_ns;
	keep(t, now_ns);
}

static int open_table(struct timeline *t, int dir, const char *name)
{
	const struct table_layout layout = { .magic = { 'r', 'm', 'e', 'm', 't', 'i', 'm', 'e' },
		.version = 1,
		.record_bytes = sizeof(struct mark),
		.count = MARKS };
	/* A bad time file must not make the other files unusable. */
	bool replaced;
	int err = table_open_or_replace(&t->table, dir, name, &layout, &replaced);

	return err ? err : table_back(&t->table, MARKS - 1);
}

int timeline_open(
	struct timeline **out, int dir, const char *name, const struct timeline_clocks *clocks)
{
	struct timeline *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	err = open_table(t, dir, name);
	if (err) {
		timeline_close(t);
		return err;
	}
	begin(t, clocks);
	*out = t;
	return 0;
}

void timeline_close(struct timeline *t)
{
	if (!t)
		return;
	table_close(&t->table);
	free(t);
}

uint64_t timeline_at(const struct timeline *t, uint64_t boot_ns)
{
	return boot_ns + t->mark.shift_ns;
}

void timeline_keep(struct timeline *t, uint64_t boot_ns)
{
	keep(t, timeline_at(t, boot_ns));
}

uint64_t timeline_beginning_ns(const struct sessions *sessions, const struct ledger *ledger,
	const struct history *history, uint64_t wall_ns)
{
	const uint64_t born_ns = ledger_latest_ns(ledger, wall_ns + YEAR_NS);
	const uint64_t seen_ns = sessions_latest_ns(sessions, wall_ns);
	const uint64_t taken_ns = history_latest_ns(history, wall_ns, wall_ns + YEAR_NS);
	uint64_t latest_ns = born_ns > seen_ns ? born_ns : seen_ns;

	latest_ns = taken_ns > latest_ns ? taken_ns : latest_ns;
	return latest_ns ? latest_ns : wall_ns;
}
