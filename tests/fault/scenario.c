/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program under test: a client that makes every call of librmem, while one thing fails.
 *
 *	scenario SERVER client|server:FAULTS|brief FILES PATH
 *
 * Each call is a step. A step that fails as it should (verdict.h) is tried again, and must work in the end; with
 * "server" it is rmemd that has so many faults. What was written with success is known byte by byte (holdings.h), and compared
 * in the end. Afterwards the main steps are done a second time, which shows that what the fault left behind
 * does no harm, and as many files must be open as FILES says (-1: not looked at, the number is printed). "brief"
 * does only these main steps, once. PATH: the number of this run. The stack that allocates depends on it, so rmemd has no names
 * for it yet (but for one in 8192).
 *
 * Exit status 0, or 1 with a line on standard error that says which step did what. What is left in
 * memory is counted by the interposer.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fault/holdings.h"
#include "tests/fault/queued.h"
#include "tests/fault/transfers.h"
#include "tests/fault/verdict.h"

#define PATH_BITS 13 /* one stack frame for each; SITE_DEPTH_MAX is 16 */

static const char *server;
static bool brief;
static unsigned long path;

/* ---- call sites ---- */

/* Call with one frame for each bit of left: the frame returns to one of two places, by that bit. */
static __attribute__((noinline)) int call_by_path(
	int (*call)(void), unsigned long left, unsigned bits, unsigned bit)
{
	int rc;

	if (bits == 0)
		return call();
	if (left & 1) {
		rc = call_by_path(call, left >> 1, bits - 1, 1);
		__asm__ volatile("nop" ::"r"(rc),
			"r"(bit)); /* the two calls differ, or the compiler would make one of them */
	} else {
		rc = call_by_path(call, left >> 1, bits - 1, 0);
		__asm__ volatile("" ::"r"(rc), "r"(bit));
	}
	return rc;
}

static int alloc_small(void)
{
	return call_by_path(holdings_alloc_small, path, PATH_BITS, 0);
}

/* ---- the steps ---- */

static int open_session(void)
{
	return holdings_open(server);
}

static int stats(void)
{
	struct rmem_stats s = RMEM_STATS_INIT;

	return rmem_stats(held.rm, &s);
}

/* How many there are depends on the fault. */
static int events(void)
{
	struct rmem_event event = RMEM_EVENT_INIT;
	int fd = rmem_event_fd(held.rm), rc;

	if (fd < 0)
		return fd;
	do
		rc = rmem_next_event(held.rm, &event);
	while (rc > 0);
	return rc;
}

static const struct step {
	const char *name;
	int (*run)(void);
	enum verdict_call call; /* which errors it may have */
	bool again;             /* is a main one */
} steps[] = {
	{ "open", open_session, VERDICT_OPEN, true },
	{ "buf_alloc", holdings_buf_alloc, VERDICT_ANY, false },
	{ "alloc_big", holdings_alloc_big, VERDICT_ANY, false },
	{ "buf_register", holdings_buf_register, VERDICT_ANY, false },
	{ "alloc_small", alloc_small, VERDICT_ALLOC, true },
	{ "write_inline", transfers_write_inline, VERDICT_ANY, true },
	{ "write_copied", transfers_write_copied, VERDICT_ANY, false },
	{ "write_pinned", transfers_write_pinned, VERDICT_ANY, false },
	{ "write_in_place", transfers_write_in_place, VERDICT_ANY, false },
	{ "writev", transfers_writev, VERDICT_ANY, false },
	{ "fetch_add", transfers_fetch_add, VERDICT_ATOMIC, false },
	{ "read_copied", transfers_read_copied, VERDICT_ANY, false },
	{ "readv", transfers_readv, VERDICT_ANY, false },
	{ "thread", transfers_thread, VERDICT_ANY, false },
	{ "queue_create", queued_create, VERDICT_QUEUE, false },
	{ "queue", queued_all, VERDICT_QUEUE, false },
	{ "queue_fd", queued_fd, VERDICT_QUEUE, false },
	{ "queue_polled", queued_all, VERDICT_QUEUE, false },
	{ "events", events, VERDICT_QUEUE, false },
	{ "compare_swap", transfers_compare_swap, VERDICT_ATOMIC, false },
	{ "read_small", transfers_read_copied, VERDICT_ANY, true },
	{ "read_pinned", transfers_read_pinned, VERDICT_ANY, false },
	{ "queue_destroy", queued_destroy, VERDICT_ANY, false },
	{ "stats", stats, VERDICT_ANY, false },
	{ "buf_release", holdings_buf_release, VERDICT_ANY, false },
	{ "free_small", holdings_free_small, VERDICT_ANY, true },
	{ "free_big", holdings_free_big, VERDICT_ANY, false },
};

/* ---- one after the other ---- */

static void take(const struct step *step)
{
	int rc;

	verdict_step(step->name);
	while ((rc = step->run()) != 0)
		verdict_judge(step->call, rc,
			step->run == transfers_thread ? transfers_said : rmem_errmsg());
}

static void take_all(bool again)
{
	int rc;

	for (size_t i = 0; i < COUNT(steps); i++)
		if (!again || steps[i].again)
			take(&steps[i]);
	verdict_step("close");
	rc = rmem_close(held.rm); /* whatever it says, that was the last call */
	if (rc)
		verdict_judge(VERDICT_ANY, rc, rmem_errmsg());
}

static int open_files(bool tell)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	int n = 0;

	while (dir && (entry = readdir(dir)) != NULL) {
		char target[256] = "";

		if (entry->d_name[0] == '.' || strtol(entry->d_name, NULL, 10) == dirfd(dir))
			continue;
		n++;
		if (tell && readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1) > 0)
			fprintf(stderr, "open: %s %s\n", entry->d_name, target);
	}
	if (dir)
		closedir(dir);
	return n;
}

/* In a thread that ends, because librmem gives back what a thread has when it ends. */
static void *run(void *unused)
{
	(void)unused;
	if (!brief)
		take_all(false);
	verdict_pause();
	take_all(true);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int wanted, files;

	if (argc != 5) {
		fprintf(stderr, "usage: scenario SERVER client|server:FAULTS|brief FILES PATH\n");
		return 2;
	}
	server = argv[1];
	brief = strcmp(argv[2], "brief") == 0;
	verdict_begin(
		strncmp(argv[2], "server:", 7) ? 0 : (unsigned)strtoul(argv[2] + 7, NULL, 10));
	wanted = (int)strtol(argv[3], NULL, 10);
	path = strtoul(argv[4], NULL, 10);
	if (pthread_create(&thread, NULL, run, NULL) || pthread_join(thread, NULL))
		return 2;
	files = open_files(false);
	if (wanted < 0)
		printf("%d\n", files);
	else if (files != wanted) {
		open_files(true);
		verdict_wrong("%d files are open and should be %d", files, wanted);
	}
	return 0;
}
