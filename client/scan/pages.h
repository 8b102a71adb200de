/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pages of a mapping have something that is to be read. Most of a large reserve was never touched, and to read
 * such a page would make one; one in swap would come back, and another leave for it. Both stay as they are.
 *
 * Private memory, in this order: PAGEMAP_SCAN (from Linux 6.7), whose cost is that of the pages there are; /proc/self/pagemap, 8 bytes for
 * each page of the range; mincore(), where the process must not open that file (not dumpable, and not root's): it does not know
 * swap. Shared memory: mincore(), which also knows pages that another process or a write() has filled; beyond
 * PAGES_SHARED_WHOLE, pages that are mapped here.
 */
#ifndef RMEM_CLIENT_SCAN_PAGES_H
#define RMEM_CLIENT_SCAN_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/scan/mappings.h"

#define PAGES_RUNS 256U                   /* at most in one answer */
#define PAGES_WINDOW ((uint64_t)64 << 20) /* bytes there, at most in one answer */
#define PAGES_SHARED_WHOLE ((uint64_t)64 << 30)

/* By which means; a test takes others than the best. */
enum pages_by { PAGES_BY_SCAN, PAGES_BY_PAGEMAP, PAGES_BY_MINCORE };

struct pages_run {
	uint64_t start, end;
};

struct pages {
	enum pages_by by;
	int pagemap_fd; /* -1: none */
	size_t bytes;   /* of a page */
	size_t gone; /* so many pages in front of the next one were not there, as mincore() has it */
	union {
		uint64_t entries[PAGES_RUNS * 32];
		uint8_t resident[PAGES_WINDOW / 4096];
	} room;
};

/* What lies in a range, and how far it was looked at. */
struct pages_answer {
	uint64_t next; /* look from there on */
	unsigned nruns;
	uint64_t bytes_swapped; /* private, in swap: not listed */
	uint64_t
		bytes_absent; /* shared, not in memory or not mapped here: a hole, on disk, in swap; not listed */
	/*
	 * By mincore(): not mapped any more, or not looked at, because all of 16 times as much in front of it was not. A long
	 * mapping that has gone would take a system call for each page otherwise.
	 */
	uint64_t bytes_gone;
	struct pages_run runs[PAGES_RUNS]; /* ascending */
};

/* 0, -EMFILE or -ENFILE. Takes a descriptor, which a process past exec() does not have. One thread. */
int pages_open(struct pages *p);
void pages_close(struct pages *p);

/* From at on, which is in the mapping as it was: what is gone has nothing. 0, or what the kernel says. */
int pages_list(struct pages *p, const struct mapping *m, uint64_t at, struct pages_answer *out);

#endif
