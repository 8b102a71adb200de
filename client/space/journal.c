/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/journal.h"

#include <errno.h>

#include "client/base/barrier.h"
#include "client/data/keys.h"
#include "client/data/progress.h"

#define LINE_BYTES (SLAB_LINE_RECORDS * OBJECT_RECORD_BYTES)
#define BATCH_LINES 512U                    /* pieces of them */
#define LINE_PIECES (SLAB_LINE_RECORDS / 2) /* that a line can be in */

struct journal_batch {
	struct rmem_iovec remote[BATCH_LINES];
	struct slab *slabs[BATCH_LINES];
	uint32_t lines[BATCH_LINES];
	uint64_t records[BATCH_LINES * SLAB_LINE_RECORDS];
	size_t bytes;
	uint64_t as_of; /* what is lent later has none of these lines, whatever its address */
	int n;
};

void journal_init(struct journal *j, struct thread_channels *t)
{
	*j = (struct journal){ .channels = t };
}

void journal_destroy(struct journal *j)
{
	if (j->channel)
		thread_channels_remove(j->channels, j->channel);
	heap_free(j->channels->session->heap, j->batch, sizeof(*j->batch));
}

static int prepare(struct journal *j, uint64_t deadline_ns, struct errinfo *errinfo)
{
	if (!j->batch)
		j->batch = heap_alloc(j->channels->session->heap, sizeof(*j->batch));
	if (!j->batch)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	j->batch->n = 0;
	j->batch->bytes = 0;
	return j->channel ? 0 : thread_channels_add(j->channels, deadline_ns, &j->channel, errinfo);
}

/* What could not be sent is to be sent again. */
static void keep(struct journal *j)
{
	struct journal_batch *b = j->batch;

	for (int i = 0; i < b->n; i++)
		depot_touch(
			&j->channels->session->depot, b->slabs[i], b->lines[i] * SLAB_LINE_RECORDS);
}

static int send_batch(struct journal *j, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct journal_batch *b = j->batch;
	const struct iovec local = { b->records, b->bytes };
	struct operation op = { .kind = OPERATION_WRITE,
		.is_journal = true,
		.timed = true,
		.deadline_ns = deadline_ns,
		.as_of = b->as_of };
	int rc = 0;

	if (b->n)
		rc = operation_plan(&op, &local, 1, b->remote, b->n, errinfo);
	if (b->n && rc == 0)
		rc = progress_run(j->channel, &op, errinfo);
	if (rc)
		keep(j);
	b->n = 0;
	b->bytes = 0;
	return rc;
}

static void add_piece(struct journal_batch *b, struct slab *s, uint32_t first, uint32_t n)
{
	if (!n)
		return;
	b->slabs[b->n] = s;
	b->lines[b->n] = first / SLAB_LINE_RECORDS;
	b->remote[b->n++] = (struct rmem_iovec){ slab_record_addr(s, first), n * sizeof(uint64_t) };
	b->bytes += n * sizeof(uint64_t);
}

/* A line as it is now, without the records that the server keeps: what changes from here on makes it dirty again. */
static void add_line(struct journal_batch *b, struct slab *s, uint32_t line)
{
	const uint32_t first = line * SLAB_LINE_RECORDS;
	const uint32_t left = s->slots - first;
	const uint32_t n = left < SLAB_LINE_RECORDS ? left : SLAB_LINE_RECORDS;
	uint32_t length = 0; /* of the piece so far */

	for (uint32_t i = 0; i < n; i++) {
		if (slab_is_kept(s, first + i)) {
			add_piece(b, s, first + i - length, length);
			length = 0;
		} else {
			b->records[b->bytes / sizeof(uint64_t) + length++] =
				slab_record(s, first + i);
		}
	}
	add_piece(b, s, first + n - length, length);
}

/* Its lines that have changed are sent in this round. */
static void mark_slab(struct slab *s)
{
	if (s->sent)
		atomic_store(&s->in_flight, true);
	atomic_fetch_or(&s->state, SLAB_CLEAN);
	for (uint32_t line = 0; line * SLAB_LINE_RECORDS < s->slots; line++)
		if (atomic_load_explicit(&s->dirty[line], memory_order_relaxed) == LINE_CHANGED)
			atomic_store_explicit(&s->dirty[line], LINE_SENDING, memory_order_relaxed);
}

/* After the barrier. *again: lines have changed meanwhile, and their threads may have seen SLAB_CLEAN as it was. */
static int send_slab(struct journal *j, struct slab *s, uint64_t deadline_ns, bool *again,
	struct errinfo *errinfo)
{
	int rc = 0;

	for (uint32_t line = 0; line * SLAB_LINE_RECORDS < s->slots && rc == 0; line++) {
		uint8_t state = LINE_SENDING;

		if (atomic_load_explicit(&s->dirty[line], memory_order_relaxed) == LINE_SENT)
			continue;
		if (!atomic_compare_exchange_strong(&s->dirty[line], &state, LINE_SENT))
			*again = true;
		if (slab_is_lost(s))
			continue;
		add_line(j->batch, s, line);
		if (j->batch->n > (int)(BATCH_LINES - LINE_PIECES))
			rc = send_batch(j, deadline_ns, errinfo);
	}
	return rc;
}

int journal_read(struct journal *j, const struct slab *s, uint32_t first, uint64_t *out, uint32_t n,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct operation op = { .kind = OPERATION_READ,
		.is_journal = true,
		.timed = true,
		.deadline_ns = deadline_ns,
		.as_of = keys_as_of(j->channels->session) };
	int rc = prepare(j, deadline_ns, errinfo);

	if (rc == 0)
		rc = operation_plan_one(
			&op, out, slab_record_addr(s, first), n * sizeof(*out), errinfo);
	return rc ? rc : progress_run(j->channel, &op, errinfo);
}

int journal_flush(struct journal *j, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct depot *d = &j->channels->session->depot;
	struct slab *all, *s, *next;
	uint32_t taken = 0;
	int rc = prepare(j, deadline_ns, errinfo);

	if (rc)
		return rc;
	depot_end_doubts(d);
	all = atomic_exchange(&d->dirty, NULL);
	j->batch->as_of = keys_as_of(j->channels->session);
	for (s = all; s; s = next) {
		next = s->next_taken = s->next_dirty; /* it can be added again from here on */
		mark_slab(s);
		taken++;
	}
	barrier_all_threads();
	for (s = all; s; s = s->next_taken) {
		bool again = false;

		if (rc == 0)
			rc = send_slab(j, s, deadline_ns, &again, errinfo);
		if (again)
			depot_add_dirty(d, s);
	}
	if (rc == 0)
		rc = send_batch(j, deadline_ns, errinfo);
	/* What was given up is in flight until the next round, which has another connection, has got through. */
	for (s = all; s; s = s->next_taken) {
		if (rc)
			depot_add_dirty(d, s);
		else
			atomic_store(&s->in_flight, false);
	}
	/* Last: what could not be sent counts again by now. */
	atomic_fetch_sub(&d->unsent, taken);
	return rc;
}
