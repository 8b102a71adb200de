/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/storm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/rxe/pattern.h"

#define BACK_NS (90 * NSEC_PER_SEC)

enum kind { WRITE, READ, ADD };

static enum kind kind_of(size_t i)
{
	return i % 4 == 3 ? ADD : i % 4 == 2 ? READ : WRITE;
}

static size_t counter_of(size_t i)
{
	return i / 4 % STORM_COUNTERS;
}

static uint64_t old_seed(const struct storm *s)
{
	return s->seed | 1;
}

static uint64_t new_seed(const struct storm *s)
{
	return (s->seed | 1) + 1000003;
}

static __attribute__((format(printf, 2, 3))) bool complain(struct storm *s, const char *fmt, ...)
{
	va_list args;

	if (s->wrong[0])
		return false;
	va_start(args, fmt);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, one line above */
	vsnprintf(s->wrong, sizeof(s->wrong), fmt, args);
	va_end(args);
	return false;
}

static int allocate(struct storm *s, unsigned depth)
{
	const struct rmem_queue_attr attr = { .size = sizeof(attr), .depth = depth };
	const struct rmem_alloc_attr zeroed = {
		.size = sizeof(zeroed), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ZERO
	};
	size_t bytes = s->count * STORM_SLOT;
	void *from = NULL;
	int rc;

	s->into = calloc(s->count, STORM_SLOT);
	s->old = calloc(s->count, sizeof(*s->old));
	s->status = calloc(s->count, sizeof(*s->status));
	if (!s->into || !s->old || !s->status)
		return -ENOMEM;
	rc = rmem_alloc(s->rm, bytes, NULL, &s->slots);
	if (rc == 0)
		rc = rmem_alloc(s->rm, STORM_COUNTERS * sizeof(uint64_t), &zeroed, &s->counters);
	if (rc == 0)
		rc = rmem_buf_alloc(s->rm, bytes, &from);
	s->from = from;
	if (rc == 0)
		rc = rmem_queue_create(s->rm, &attr, &s->q);
	return rc;
}

int storm_create(struct storm *s, struct rmem *rm, size_t count, unsigned depth, uint64_t seed)
{
	size_t bytes = count * STORM_SLOT;
	int rc;

	memset(s, 0, sizeof(*s));
	s->rm = rm;
	s->count = count;
	s->seed = seed;
	rc = allocate(s, depth);
	if (rc)
		return rc;
	pattern_fill(s->from, bytes, old_seed(s));
	rc = rmem_write(rm, s->slots, s->from, bytes);
	pattern_fill(s->from, bytes, new_seed(s));
	return rc;
}

static int start_one(struct storm *s, size_t i)
{
	size_t at = i * STORM_SLOT;

	switch (kind_of(i)) {
	case WRITE:
		return rmem_start_write(s->q, s->slots + at, s->from + at, STORM_SLOT, i);
	case READ:
		return rmem_start_read(s->q, s->into + at, s->slots + at, STORM_SLOT, i);
	default:
		return rmem_start_fetch_add(
			s->q, s->counters + counter_of(i) * sizeof(uint64_t), 1, &s->old[i], i);
	}
}

bool storm_start(struct storm *s, size_t until)
{
	for (; s->started < until; s->started++) {
		int rc = start_one(s, s->started);

		if (rc)
			return complain(s, "operation %zu did not start: %d %.300s", s->started, rc,
				rmem_errmsg());
	}
	return true;
}

/* Only what the header says, and -EREMOTEIO only for what must not be done twice. */
static bool is_documented(size_t i, int status)
{
	return status == 0 || status == -ECONNRESET || status == -ETIMEDOUT ||
	       (status == -EREMOTEIO && kind_of(i) == ADD);
}

static bool take(struct storm *s, const struct rmem_completion *done)
{
	size_t i = atomic_load(&s->reaped);

	if (done->tag != i)
		return complain(
			s, "operation %" PRIu64 " came when it was %zu's turn", done->tag, i);
	if (!is_documented(i, done->status))
		return complain(s, "operation %zu ended with %d", i, done->status);
	s->status[i] = done->status;
	s->failed += done->status != 0;
	s->unknown += done->status == -EREMOTEIO;
	atomic_store(&s->reaped, i + 1);
	return true;
}

bool storm_reap(struct storm *s, size_t until)
{
	struct rmem_completion done[64];

	while (atomic_load(&s->reaped) < until) {
		size_t left = until - atomic_load(&s->reaped), failed = s->failed;
		int n = rmem_reap(s->q, done, left < 64 ? (int)left : 64, -1);

		if (n <= 0)
			return complain(s, "%d of %zu outstanding operations came", n,
				s->started - atomic_load(&s->reaped));
		for (int i = 0; i < n; i++)
			if (!take(s, &done[i]))
				return false;
		if (s->failed > failed && !s->errinfo[0])
			snprintf(s->errinfo, sizeof(s->errinfo), "%s", rmem_errmsg());
	}
	return true;
}

bool storm_await_back(struct storm *s)
{
	const uint64_t until_ns = clock_boot_ns() + BACK_NS, places[] = { s->slots, s->counters };
	uint64_t word;
	int rc = 0;

	/* Both allocations: each has a key of its own to be asked for. */
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && rc == 0; i++)
		do
			rc = rmem_read(s->rm, &word, places[i], sizeof(word));
		while ((rc == -ECONNRESET || rc == -ETIMEDOUT) && clock_boot_ns() < until_ns);
	return rc == 0 || complain(s, "it did not come back: %d %.300s", rc, rmem_errmsg());
}

/* Each byte of a slot is one of these two. */
static bool is_either(const uint8_t *is, const uint8_t *one, const uint8_t *other)
{
	for (size_t i = 0; i < STORM_SLOT; i++)
		if (is[i] != one[i] && is[i] != other[i])
			return false;
	return true;
}

static bool verify_slot(struct storm *s, size_t i, const uint8_t *is)
{
	uint8_t old[STORM_SLOT], new[STORM_SLOT];

	pattern_fill_at(old, i * STORM_SLOT, STORM_SLOT, old_seed(s));
	pattern_fill_at(new, i * STORM_SLOT, STORM_SLOT, new_seed(s));
	if (kind_of(i) != WRITE) {
		if (memcmp(is, old, STORM_SLOT) != 0)
			return complain(s, "operation %zu: bytes changed that nobody wrote", i);
		if (kind_of(i) == READ && s->status[i] == 0 &&
			memcmp(s->into + i * STORM_SLOT, old, STORM_SLOT) != 0)
			return complain(s, "operation %zu has read what was never there", i);
		return true;
	}
	if (s->status[i] == 0 && memcmp(is, new, STORM_SLOT) != 0)
		return complain(s, "operation %zu has written, and it is not there", i);
	s->done_unanswered += s->status[i] != 0 && memcmp(is, new, STORM_SLOT) == 0;
	if (!is_either(is, old, new))
		return complain(s, "operation %zu: bytes that nobody wrote", i);
	return true;
}

static bool verify_counters(struct storm *s)
{
	uint64_t words[STORM_COUNTERS], done[STORM_COUNTERS] = { 0 }, maybe[STORM_COUNTERS] = { 0 };
	int rc = rmem_read(s->rm, words, s->counters, sizeof(words));

	if (rc)
		return complain(s, "reading the counters: %d %.300s", rc, rmem_errmsg());
	for (size_t i = 0; i < s->started; i++) {
		size_t c = counter_of(i);

		if (kind_of(i) != ADD)
			continue;
		/* Nobody else counts there. */
		if (s->status[i] == 0 && (s->old[i] < done[c] || s->old[i] > done[c] + maybe[c]))
			return complain(s, "addition %zu found %" PRIu64 ", after %" PRIu64, i,
				s->old[i], done[c]);
		done[c] += s->status[i] == 0;
		maybe[c] += s->status[i] == -EREMOTEIO;
	}
	for (size_t c = 0; c < STORM_COUNTERS; c++) {
		s->done_unanswered += words[c] - done[c];
		if (words[c] < done[c] || words[c] > done[c] + maybe[c])
			return complain(s,
				"counter %zu is %" PRIu64 ", after %" PRIu64
				" additions and %" PRIu64 " of unknown end",
				c, words[c], done[c], maybe[c]);
	}
	return true;
}

bool storm_verify(struct storm *s)
{
	size_t bytes = s->count * STORM_SLOT;
	uint8_t *is = malloc(bytes);
	bool ok = true;
	int rc;

	if (!is)
		return complain(s, "out of memory");
	rc = rmem_read(s->rm, is, s->slots, bytes);
	if (rc) {
		free(is);
		return complain(s, "reading everything: %d %.300s", rc, rmem_errmsg());
	}
	for (size_t i = 0; i < s->started && ok; i++)
		ok = verify_slot(s, i, is + i * STORM_SLOT);
	free(is);
	return ok && verify_counters(s);
}

int storm_destroy(struct storm *s)
{
	int rc;

	rmem_queue_destroy(s->q);
	rc = rmem_free(s->rm, s->slots);
	if (rc == 0)
		rc = rmem_free(s->rm, s->counters);
	if (rc == 0 && s->from)
		rc = rmem_buf_release(s->rm, s->from);
	free(s->into);
	free(s->old);
	free(s->status);
	return rc;
}
