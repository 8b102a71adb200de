/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/progress.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"

#define LOG_EVERY_NS (10 * NSEC_PER_SEC)
#define TERMINAL_EVERY_NS (NSEC_PER_SEC / 4)
#define ESTIMATE_AFTER_NS NSEC_PER_SEC
#define LINE_SIZE 160

static void look_for_signals(struct progress *p)
{
	sigset_t pending;

	sigpending(&pending);
	if (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT))
		atomic_store(&p->stop, true);
}

void progress_begin(struct progress *p, const char *doing, uint64_t total_bytes)
{
	*p = (struct progress){ .doing = doing,
		.total_bytes = total_bytes,
		.began_ns = clock_boot_ns(),
		.terminal = isatty(STDERR_FILENO) };
	p->said_ns = p->began_ns;
	look_for_signals(p);
}

bool progress_add(struct progress *p, uint64_t bytes)
{
	atomic_fetch_add(&p->done_bytes, bytes);
	return !atomic_load(&p->stop);
}

static void describe(const struct progress *p, uint64_t now_ns, char line[LINE_SIZE])
{
	const uint64_t done_bytes = atomic_load(&p->done_bytes), took_ns = now_ns - p->began_ns;
	char done[UNITS_TEXT_SIZE], total[UNITS_TEXT_SIZE], left[UNITS_TEXT_SIZE];
	int n = snprintf(line, LINE_SIZE, "%s of %s of memory %s",
		units_format_bytes(done_bytes, done, sizeof(done)),
		units_format_bytes(p->total_bytes, total, sizeof(total)), p->doing);

	if (done_bytes == 0 || done_bytes > p->total_bytes || took_ns < ESTIMATE_AFTER_NS)
		return;
	snprintf(line + n, LINE_SIZE - (size_t)n, ", about %s left",
		units_format_duration(
			(uint64_t)((double)took_ns / NSEC_PER_MSEC *
				   (double)(p->total_bytes - done_bytes) / (double)done_bytes),
			left, sizeof(left)));
}

void progress_watch(void *arg)
{
	struct progress *p = arg;
	const uint64_t now_ns = clock_boot_ns();
	char line[LINE_SIZE];

	look_for_signals(p);
	if (log_threshold < LOG_LEVEL_INFO ||
		now_ns - p->said_ns < (p->terminal ? TERMINAL_EVERY_NS : LOG_EVERY_NS))
		return;
	p->said_ns = now_ns;
	describe(p, now_ns, line);
	if (!p->terminal) {
		log_info("%s", line);
		return;
	}
	/* To the beginning of the line, and clear what is behind the new text. */
	p->shown = dprintf(STDERR_FILENO, "\r%s\033[K", line) > 0;
}

void progress_end(struct progress *p)
{
	if (p->shown)
		dprintf(STDERR_FILENO, "\r\033[K");
	p->shown = false;
}
