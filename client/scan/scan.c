/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/scan/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/scan/mappings.h"
#include "client/scan/pages.h"
#include "client/scan/reader.h"
#include "client/scan/stack_pointer.h"
#include "client/scan/tagged_words.h"
#include "client/scan/throttle.h"
#include "common/clock.h"
#include "common/denial.h"
#include "common/heap.h"
#include "common/private_memory.h"

#define PIECE_BYTES \
	((size_t)256 << 10) /* with the words found, it stays in the second level of the cache */
#define PIECE_WORDS (PIECE_BYTES / sizeof(uint64_t))
#define DEAD_MAX 64               /* stacks in one mapping; further ones are read whole */
#define OWN_ROOM_MIN 256          /* ranges */
#define WAIT_MIN_NS NSEC_PER_MSEC /* shorter ones add up */

struct scan {
	struct heap *heap;
	struct scan_request request;
	struct targets targets;
	struct scan_counts counts;
	struct throttle throttle;
	uint64_t cpu_ns; /* charged so far */
	uint64_t frame;  /* below it, the stack of this thread is ours */
	struct mappings mappings;
	struct pages pages;
	struct reader reader;
	struct pages_answer answer;
	/* What is left out: memory of the library, ascending, as of own_version; stacks in this mapping. */
	struct private_range *own;
	size_t nown, own_room;
	uint64_t own_version;
	struct private_range dead[DEAD_MAX];
	unsigned ndead;
	/* What is read next. */
	struct iovec pieces[READER_PIECES];
	unsigned npieces;
	size_t piece_bytes;
	uint64_t *buffer, *words; /* PIECE_WORDS of each */
};

int scan_create(struct scan **out, const struct scan_request *request, struct errinfo *errinfo)
{
	struct heap *heap = heap_create();
	struct scan *s = heap ? heap_alloc(heap, sizeof(*s)) : NULL;
	int rc = -ENOMEM;

	if (s) {
		s->heap = heap;
		s->request = *request;
		s->buffer = heap_alloc(heap, PIECE_BYTES);
		s->words = heap_alloc(heap, PIECE_BYTES);
		s->own_room = OWN_ROOM_MIN;
		s->own = heap_alloc(heap, s->own_room * sizeof(*s->own));
		if (s->buffer && s->words && s->own)
			rc = targets_init(&s->targets, heap, request->blocks, request->nblocks,
				request->spans, request->nspans);
	}
	if (!rc) {
		*out = s;
		return 0;
	}
	heap_destroy(heap);
	if (rc == -EINVAL)
		return errinfo_set(errinfo, rc, "a scan: its blocks are not in order");
	return denial_explain(DENIED_MEMORY, rc, "a scan", errinfo);
}

void scan_destroy(struct scan *s)
{
	if (s)
		heap_destroy(s->heap);
}

const struct targets *scan_targets(const struct scan *s)
{
	return &s->targets;
}

const struct scan_counts *scan_counts(const struct scan *s)
{
	return &s->counts;
}

/* Wait until it is readable, at most so long. 0 or -ECANCELED. */
static int wait_for_cancel(const struct scan *s, uint64_t ns)
{
	struct pollfd fd = { .fd = s->request.cancel_fd, .events = POLLIN };
	const struct timespec t = { (time_t)(ns / NSEC_PER_SEC), (long)(ns % NSEC_PER_SEC) };

	/* A signal may end it early: the throttle knows what is left. */
	return ppoll(&fd, 1, &t, NULL) > 0 ? -ECANCELED : 0;
}

/* After each piece of work. 0 or -ECANCELED. */
static int charge(struct scan *s, uint64_t bytes)
{
	const uint64_t cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
	const uint64_t now_ns = clock_read_ns(CLOCK_MONOTONIC);
	const uint64_t wait_ns = throttle_charge(&s->throttle, bytes, cpu_ns - s->cpu_ns, now_ns);
	int rc;

	s->counts.cpu_ns += cpu_ns - s->cpu_ns;
	s->cpu_ns = cpu_ns;
	if (wait_ns < WAIT_MIN_NS)
		return wait_for_cancel(s, 0);
	rc = wait_for_cancel(s, wait_ns);
	s->counts.waited_ns += clock_read_ns(CLOCK_MONOTONIC) - now_ns;
	return rc;
}

/* It was there when it was listed, and cannot be read. */
static void count_unread(struct scan *s, uint64_t at, uint64_t bytes)
{
	unsigned char resident;

	if (mincore((void *)(at / s->pages.bytes * s->pages.bytes), s->pages.bytes, &resident) &&
		errno == ENOMEM)
		s->counts.bytes_gone += bytes;
	else
		s->counts.bytes_refused += bytes;
}

static void look_at(struct scan *s, size_t bytes)
{
	const size_t n = tagged_words_find(s->buffer, bytes / sizeof(uint64_t), s->words);

	targets_meet(&s->targets, s->words, n);
	s->counts.words += n;
	s->counts.bytes_read += bytes;
}

/* Go so many bytes on. Returns the first piece that has something left. */
static struct iovec *advance(struct iovec *at, const struct iovec *end, size_t bytes)
{
	while (at < end && bytes >= at->iov_len) {
		bytes -= at->iov_len;
		at++;
	}
	if (at < end) {
		at->iov_base = (uint8_t *)at->iov_base + bytes;
		at->iov_len -= bytes;
	}
	return at;
}

/* By itself: the kernel may have stopped at the beginning of a piece that goes wrong further on. */
static int read_one_page(struct scan *s, const struct iovec *piece, size_t *bytes)
{
	const uint64_t at = (uintptr_t)piece->iov_base;
	const size_t to_next = s->pages.bytes - at % s->pages.bytes;
	const struct iovec page = { piece->iov_base,
		piece->iov_len < to_next ? piece->iov_len : to_next };
	const ssize_t got = reader_read(&s->reader, &page, 1, s->buffer);

	if (got < 0)
		return (int)got;
	*bytes = page.iov_len;
	if ((size_t)got == page.iov_len)
		look_at(s, page.iov_len);
	else
		count_unread(s, at, page.iov_len);
	return 0;
}

/* Read what has been collected. */
static int read_pieces(struct scan *s)
{
	struct iovec *at = s->pieces, *const end = s->pieces + s->npieces;
	const size_t bytes = s->piece_bytes;

	s->npieces = 0;
	s->piece_bytes = 0;
	while (at < end) {
		const ssize_t got = reader_read(&s->reader, at, (unsigned)(end - at), s->buffer);
		size_t one = 0;
		int rc;

		if (got < 0)
			return (int)got;
		look_at(s, (size_t)got);
		at = advance(at, end, (size_t)got);
		if (at == end)
			break;
		rc = read_one_page(s, at, &one);
		if (rc)
			return rc;
		at = advance(at, end, one);
	}
	return charge(s, bytes);
}

static int collect(struct scan *s, uint64_t at, uint64_t end)
{
	int rc = 0;

	while (at < end && !rc) {
		const uint64_t room = PIECE_BYTES - s->piece_bytes;
		const uint64_t bytes = end - at < room ? end - at : room;

		s->pieces[s->npieces++] = (struct iovec){ (void *)at, bytes };
		s->piece_bytes += bytes;
		at += bytes;
		if (s->piece_bytes == PIECE_BYTES || s->npieces == READER_PIECES)
			rc = read_pieces(s);
	}
	return rc;
}

static int compare_ranges(const void *a, const void *b)
{
	const uint64_t x = ((const struct private_range *)a)->start;
	const uint64_t y = ((const struct private_range *)b)->start;

	return (x > y) - (x < y);
}

/*
 * After pages were listed: of memory that had pages then, the entry was there before the first of them. 0 or -ENOMEM.
 */
static int update_own(struct scan *s)
{
	const uint64_t version = private_memory_version();
	size_t n;

	if (version == s->own_version && s->nown)
		return 0;
	while ((n = private_memory_list(s->own, s->own_room)) > s->own_room) {
		const size_t room = n * 2;
		struct private_range *larger = heap_alloc(s->heap, room * sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		heap_free(s->heap, s->own, s->own_room * sizeof(*larger));
		s->own = larger;
		s->own_room = room;
	}
	qsort(s->own, n, sizeof(*s->own), compare_ranges);
	s->nown = n;
	s->own_version = version;
	return 0;
}

/* The first of them, all apart and ascending, that ends behind at. */
static size_t first_behind(const struct private_range *list, size_t n, uint64_t at)
{
	size_t low = 0;

	while (low < n) {
		const size_t middle = low + (n - low) / 2;

		if (list[middle].end <= at)
			low = middle + 1;
		else
			n = middle;
	}
	return low;
}

/* The first that is left out of [at, end), and why; its start is end: nothing. */
static struct private_range next_left_out(struct scan *s, uint64_t at, uint64_t end, uint64_t **why)
{
	const size_t i = first_behind(s->own, s->nown, at);
	struct private_range r = { end, end };

	*why = &s->counts.bytes_private;
	if (i < s->nown && s->own[i].start < end)
		r = s->own[i];
	for (unsigned k = 0; k < s->ndead; k++) {
		if (s->dead[k].end <= at || s->dead[k].start >= r.start)
			continue;
		r = s->dead[k];
		*why = &s->counts.bytes_dead;
	}
	r.start = r.start > at ? r.start : at;
	r.end = r.end < end ? r.end : end;
	return r;
}

static int take_run(struct scan *s, const struct pages_run *run)
{
	uint64_t at = run->start;
	uint64_t *why;
	int rc = 0;

	while (at < run->end && !rc) {
		const struct private_range out = next_left_out(s, at, run->end, &why);

		if (out.start > at)
			rc = collect(s, at, out.start);
		if (out.start < out.end)
			*why += out.end - out.start;
		at = out.end;
	}
	return rc;
}

static void add_dead(struct scan *s, const struct mapping *m, uint64_t low, uint64_t end)
{
	if (low < m->start)
		low = m->start;
	if (low < end && s->ndead < DEAD_MAX)
		s->dead[s->ndead++] = (struct private_range){ low, end };
}

/* The stack of a thread that is in a system call: what is beyond its stack pointer is no reference any more. */
static void add_sleeper(struct scan *s, const struct mapping *m, const struct scan_stack *stack)
{
	uint64_t sp;

	if (stack->high <= m->start || stack->low >= m->end || stack_pointer_read(stack->tid, &sp))
		return;
	if (sp - STACK_RED_ZONE > stack->low && sp < stack->high)
		add_dead(s, m, stack->low, (sp - STACK_RED_ZONE) & ~(uint64_t)7);
}

/* Not asked of the C library for the first thread: that would open a stream. */
static uint64_t own_stack_low(const struct mapping *m)
{
	uint64_t low = m->start;
	pthread_attr_t attr;
	void *addr;
	size_t size;

	if (gettid() == getpid())
		return m->stack ? low : UINT64_MAX;
	if (pthread_getattr_np(pthread_self(), &attr))
		return UINT64_MAX;
	if (pthread_attr_getstack(&attr, &addr, &size) == 0)
		low = (uintptr_t)addr;
	(void)pthread_attr_destroy(&attr);
	return low;
}

static void find_dead(struct scan *s, const struct mapping *m)
{
	const pid_t first = getpid();

	s->ndead = 0;
	if (s->frame >= m->start && s->frame < m->end)
		add_dead(s, m, own_stack_low(m), s->frame);
	else if (m->stack)
		add_sleeper(s, m, &(struct scan_stack){ first, m->start, m->end });
	for (size_t i = 0; i < s->request.nstacks; i++)
		if (s->request.stacks[i].tid != gettid())
			add_sleeper(s, m, &s->request.stacks[i]);
}

/* Present, but with no right to read: it may be given back later. */
static void count_refused(struct scan *s)
{
	for (unsigned i = 0; i < s->answer.nruns; i++)
		s->counts.bytes_refused += s->answer.runs[i].end - s->answer.runs[i].start;
}

static int scan_mapping(struct scan *s, const struct mapping *m)
{
	int rc = 0;

	for (uint64_t at = m->start; at < m->end && !rc; at = s->answer.next) {
		rc = pages_list(&s->pages, m, at, &s->answer);
		if (!rc)
			rc = update_own(s);
		if (rc)
			break;
		s->counts.bytes_swapped += s->answer.bytes_swapped;
		s->counts.bytes_absent += s->answer.bytes_absent;
		s->counts.bytes_gone += s->answer.bytes_gone;
		if (m->readable)
			for (unsigned i = 0; i < s->answer.nruns && !rc; i++)
				rc = take_run(s, &s->answer.runs[i]);
		else
			count_refused(s);
		if (!rc)
			rc = read_pieces(s); /* what is left, and the time that listing took */
	}
	return rc;
}

static int scan_mappings(struct scan *s)
{
	struct mapping m;
	int rc;

	while ((rc = mappings_next(&s->mappings, &m)) > 0) {
		if (m.device) {
			s->counts.bytes_device += m.writable ? m.end - m.start : 0;
			continue;
		}
		if (m.shared && !m.writable)
			continue;
		find_dead(s, &m);
		rc = scan_mapping(s, &m);
		if (rc)
			return rc;
	}
	return rc;
}

static int explain(int rc, struct errinfo *errinfo)
{
	switch (rc) {
	case 0:
		return 0;
	case -ECANCELED:
		return errinfo_set(errinfo, rc, "the scan was cancelled");
	case -EPERM:
		return denial_explain(DENIED_CALL, rc, "process_vm_readv", errinfo);
	case -EMFILE:
	case -ENFILE:
		return denial_explain(DENIED_FILE, rc, "a scan", errinfo);
	case -ENOMEM:
		return denial_explain(DENIED_MEMORY, rc, "a scan", errinfo);
	default:
		return errinfo_set(errinfo, rc, "a scan: what /proc/self says cannot be used: %s",
			errinfo_errno(-rc));
	}
}

/* With everything open that it needs. */
static int scan_opened(struct scan *s)
{
	const char *const path = s->reader.mem_fd < 0 ? "/proc/self/maps" : "/proc/self/smaps";
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return -errno;
	mappings_begin(&s->mappings, fd);
	s->npieces = 0;
	s->piece_bytes = 0;
	rc = scan_mappings(s);
	(void)close(fd);
	return rc;
}

int scan_run(struct scan *s, struct errinfo *errinfo)
{
	const uint64_t began_ns = clock_read_ns(CLOCK_MONOTONIC);
	int rc;

	s->frame = (uintptr_t)__builtin_frame_address(0);
	s->cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
	s->throttle = (struct throttle){ .bytes_per_s = s->request.bytes_per_s,
		.cpu_percent = s->request.cpu_percent,
		.due_ns = began_ns };
	rc = reader_open(&s->reader);
	if (rc)
		return explain(rc, errinfo);
	rc = pages_open(&s->pages);
	if (!rc) {
		rc = scan_opened(s);
		pages_close(&s->pages);
	}
	reader_close(&s->reader);
	s->counts.elapsed_ns += clock_read_ns(CLOCK_MONOTONIC) - began_ns;
	return explain(rc, errinfo);
}
