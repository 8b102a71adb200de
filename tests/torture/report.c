/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum when {
	COUNT,
	MUST,
	MUST_SERVER,
	MUST_WIRE,
	MUST_CLOCK,
	NEVER,
};

static const struct {
	const char *text;
	enum when when;
} events[EVENTS] = {
#define X(name, says, if_ever) { says, if_ever },
	BOARD_EVENTS(X)
#undef X
};

int report_save(const char *path)
{
	char temporary[4096];
	FILE *f;
	size_t n;

	snprintf(temporary, sizeof(temporary), "%s.tmp", path);
	f = fopen(temporary, "w");
	if (!f)
		return -errno;
	n = fwrite(&board->counts, sizeof(board->counts), 1, f);
	if (fclose(f) || n != 1 || rename(temporary, path))
		return -EIO;
	return 0;
}

int report_add(const char *path)
{
	static struct board_counts more;
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return -errno;
	n = fread(&more, sizeof(more), 1, f);
	fclose(f);
	if (n != 1)
		return -EIO;
	for (int c = 0; c < CALLS; c++) {
		for (int r = 0; r < BOARD_RESULTS; r++)
			atomic_fetch_add(&board->counts.results[c][r], more.results[c][r]);
		board_longest((enum board_call)c, more.longest_ms[c]);
	}
	for (int e = 0; e < EVENTS; e++)
		board_event((enum board_event)e, more.events[e]);
	return 0;
}

static void print_calls(void)
{
	for (int c = 0; c < CALLS; c++) {
		uint64_t all = 0;

		for (int r = 0; r < BOARD_RESULTS; r++)
			all += board->counts.results[c][r];
		printf("  %-15s %9" PRIu64, board_call_name((enum board_call)c), all);
		for (int r = 0; r < BOARD_RESULTS; r++)
			if (board->counts.results[c][r])
				printf("  %s %" PRIu64,
					r ? strerrorname_np(r) ? strerrorname_np(r) : "?" : "ok",
					board->counts.results[c][r]);
		if (board->counts.longest_ms[c])
			printf("  (longest %" PRIu64 " ms)", board->counts.longest_ms[c]);
		putchar('\n');
	}
}

static bool wanted(enum when when, const struct report_scope *scope)
{
	return when == MUST || when == MUST_SERVER || (when == MUST_WIRE && scope->wire) ||
	       (when == MUST_CLOCK && scope->clock);
}

bool report_clean(void)
{
	for (int e = 0; e < EVENTS; e++)
		if (events[e].when == NEVER && board->counts.events[e])
			return false;
	return true;
}

bool report_print(const struct report_scope *scope)
{
	bool good = true;

	puts("torture: calls and results");
	print_calls();
	puts("torture: what happened");
	for (int e = 0; e < EVENTS; e++) {
		uint64_t n = board->counts.events[e];
		bool bad = events[e].when == NEVER ? n > 0 : !n && wanted(events[e].when, scope);

		printf("  %12" PRIu64 "  %s%s\n", n, events[e].text,
			!bad ? ""
			: n  ? "  <-- FAILED"
			     : "  <-- FAILED: it never happened");
		good = good && !bad;
	}
	return good;
}
