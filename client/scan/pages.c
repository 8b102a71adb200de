/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/scan/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* linux/fs.h, from 6.7. */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
#define SCAN_FILE (1U << 2)
#define SCAN_PRESENT (1U << 3)
#define SCAN_SWAPPED (1U << 4)
#define SCAN_ZERO_PAGE (1U << 5) /* was read, never written */

/* Documentation/admin-guide/mm/pagemap.rst */
#define ENTRY_PRESENT (1ULL << 63)
#define ENTRY_SWAPPED (1ULL << 62)
#define ENTRY_FILE (1ULL << 61)

#define GONE_SHARE 16 /* a 16th of what is gone so far is passed over next */

_Static_assert(sizeof(struct scan_region) * PAGES_RUNS <= sizeof(((struct pages *)0)->room),
	"the regions of an answer");

static bool by_scan(const struct pages *p)
{
	struct scan_arg arg = { .size = sizeof(arg), .start = 0, .end = p->bytes };

	arg.category_anyof_mask = arg.return_mask = SCAN_PRESENT;
	return ioctl(p->pagemap_fd, SCAN_IOCTL, &arg) >= 0;
}

int pages_open(struct pages *p)
{
	p->bytes = (size_t)sysconf(_SC_PAGESIZE);
	p->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (p->pagemap_fd < 0 && (errno == EMFILE || errno == ENFILE))
		return -errno;
	if (p->pagemap_fd < 0)
		p->by = PAGES_BY_MINCORE;
	else
		p->by = by_scan(p) ? PAGES_BY_SCAN : PAGES_BY_PAGEMAP;
	return 0;
}

void pages_close(struct pages *p)
{
	if (p->pagemap_fd >= 0)
		(void)close(p->pagemap_fd);
	p->pagemap_fd = -1;
}

static void add(struct pages_answer *out, uint64_t start, uint64_t end)
{
	if (out->nruns && out->runs[out->nruns - 1].end == start)
		out->runs[out->nruns - 1].end = end;
	else
		out->runs[out->nruns++] = (struct pages_run){ start, end };
}

/*
 * A page of a private mapping that cannot be written is the file's, unless it was written before: then it is the
 * process's own, and may hold anything.
 */
static bool holds_nothing(const struct mapping *m, bool of_file)
{
	return of_file && !m->shared && !m->writable;
}

/* So far, and nothing behind the last run: of a shared mapping, what was not listed is absent. */
static void end_at(struct pages_answer *out, const struct mapping *m, uint64_t from, uint64_t next)
{
	out->next = next;
	if (!m->shared)
		return;
	out->bytes_absent = next - from;
	for (unsigned i = 0; i < out->nruns; i++)
		out->bytes_absent -= out->runs[i].end - out->runs[i].start;
}

static int list_by_scan(
	struct pages *p, const struct mapping *m, uint64_t at, struct pages_answer *out)
{
	struct scan_region *regions = (struct scan_region *)&p->room;
	struct scan_arg arg = { .size = sizeof(arg), .start = at, .end = m->end };
	int n;

	memset(regions, 0, sizeof(*regions) * PAGES_RUNS);
	arg.vec = (uintptr_t)regions;
	arg.vec_len = PAGES_RUNS;
	arg.max_pages = PAGES_WINDOW / p->bytes;
	arg.category_inverted = arg.category_mask = SCAN_ZERO_PAGE;
	arg.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED;
	/* To know whether a page is a file's takes several times as long as the rest: only where it matters. */
	arg.return_mask = SCAN_PRESENT | SCAN_SWAPPED | (holds_nothing(m, true) ? SCAN_FILE : 0);
	n = ioctl(p->pagemap_fd, SCAN_IOCTL, &arg);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n && (unsigned)i < PAGES_RUNS; i++) {
		const struct scan_region *r = &regions[i];

		if (holds_nothing(m, r->categories & SCAN_FILE))
			continue;
		if (r->categories & SCAN_PRESENT)
			add(out, r->start, r->end);
		else if (!m->shared)
			out->bytes_swapped += r->end - r->start;
	}
	/* It is where the kernel stopped; never back, whatever it says. */
	end_at(out, m, at, arg.walk_end > at && arg.walk_end < m->end ? arg.walk_end : m->end);
	return 0;
}

static int list_by_pagemap(
	struct pages *p, const struct mapping *m, uint64_t at, struct pages_answer *out)
{
	const size_t room = sizeof(p->room.entries) / sizeof(p->room.entries[0]);
	const uint64_t pages = (m->end - at) / p->bytes;
	const size_t want = pages < room ? pages : room;
	const ssize_t got = pread(p->pagemap_fd, p->room.entries, want * sizeof(uint64_t),
		(off_t)(at / p->bytes * sizeof(uint64_t)));
	size_t n, i;

	if (got < 0)
		return -errno;
	n = (size_t)got / sizeof(uint64_t);
	if (!n) { /* beyond what a process can have */
		out->next = m->end;
		return 0;
	}
	for (i = 0; i < n && out->nruns < PAGES_RUNS; i++) {
		const uint64_t entry = p->room.entries[i], page = at + i * p->bytes;

		if (holds_nothing(m, entry & ENTRY_FILE))
			continue;
		if (entry & ENTRY_PRESENT)
			add(out, page, page + p->bytes);
		else if ((entry & ENTRY_SWAPPED) && !m->shared)
			out->bytes_swapped += p->bytes;
	}
	end_at(out, m, at, at + i * p->bytes);
	return 0;
}

/* Answers for as many pages as are there, from at on. 0: the first is gone. */
static size_t ask_mincore(struct pages *p, uint64_t at, size_t n)
{
	while (n && mincore((void *)at, n * p->bytes, p->room.resident))
		n /= 2;
	return n;
}

/* The page is gone: how many to go on by, of as many as are left. */
static size_t pass_gone(struct pages *p, uint64_t left)
{
	const size_t room = sizeof(p->room.resident);
	size_t n = p->gone < GONE_SHARE ? 1 : p->gone / GONE_SHARE;

	n = n < room ? n : room;
	n = n < left ? n : (size_t)left;
	p->gone += n;
	return n;
}

static int list_by_mincore(
	struct pages *p, const struct mapping *m, uint64_t at, struct pages_answer *out)
{
	const size_t room = sizeof(p->room.resident);
	const uint64_t pages = (m->end - at) / p->bytes;
	const size_t n = ask_mincore(p, at, pages < room ? pages : room);
	size_t i;

	if (n || at == m->start)
		p->gone = 0;
	if (!n) {
		out->bytes_gone = pass_gone(p, pages) * p->bytes;
		out->next = at + out->bytes_gone;
		return 0;
	}

	for (i = 0; i < n && out->nruns < PAGES_RUNS; i++)
		if (p->room.resident[i] & 1)
			add(out, at + i * p->bytes, at + (i + 1) * p->bytes);
	end_at(out, m, at, at + i * p->bytes);
	return 0;
}

int pages_list(struct pages *p, const struct mapping *m, uint64_t at, struct pages_answer *out)
{
	out->nruns = 0;
	out->bytes_swapped = out->bytes_absent = out->bytes_gone = 0;
	if (m->shared && m->end - m->start <= PAGES_SHARED_WHOLE)
		return list_by_mincore(p, m, at, out);
	switch (p->by) {
	case PAGES_BY_SCAN:
		return list_by_scan(p, m, at, out);
	case PAGES_BY_PAGEMAP:
		return list_by_pagemap(p, m, at, out);
	case PAGES_BY_MINCORE:
		break;
	}
	return list_by_mincore(p, m, at, out);
}
