/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/pass.h"

#include <errno.h>
#include <event2/event.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/size_class.h"
#include "server/base/thread.h"

#ifndef BATCH      /* a test defines a smaller one */
#define BATCH 4096 /* records: about 0.1 ms to fetch */
#endif
/* Records of objects: about 0.5 ms to fetch. As many as a slab can have. */
#define WORDS (SLAB_BYTES_MAX / (8 + OBJECT_RECORD_BYTES))
#define BATCHES 2 /* one is counted while the next is fetched */
#define NICE 10   /* on a single processor the loop goes first */

struct batch {
	size_t n; /* 0: end of the records */
	uint32_t slots[BATCH];
	struct allocation records[BATCH];
	bool read[BATCH]; /* the record is of a slab, and its words are the next */
	uint64_t words[WORDS];
};

/* Records of the snapshot that are in no batch yet. */
struct stash {
	size_t n, at;
	uint32_t slots[BATCH];
	struct allocation records[BATCH];
};

struct pass {
	struct pass_source source;
	struct audit *audit;      /* only the thread uses it while it runs */
	struct audit_scan *stale; /* the thread frees it: for a large one that takes long */
	struct batch *batches;
	struct stash *stash;
	sem_t full, vacant;
	int done_fd; /* eventfd: a batch was counted, or the audit is finished */
	struct event *event;
	pthread_t thread;
	bool has_thread, has_snapshot;
	bool all_fetched;
	unsigned next;        /* batch to be filled */
	atomic_bool ended;    /* set by the loop: the thread must stop */
	atomic_bool finished; /* set by the thread: outcome is valid */
	struct pass_outcome outcome;
	void (*done)(void *arg, const struct pass_outcome *outcome);
	void *arg;
};

static void await(sem_t *s)
{
	while (sem_wait(s) != 0)
		; /* EINTR */
}

static void tell_loop(const struct pass *p)
{
	const uint64_t one = 1;

	/* Fails only if the counter would reach 2^64 - 1. */
	if (write(p->done_fd, &one, sizeof(one)) < 0)
		return;
}

static void count_batch(struct audit *audit, const struct batch *b)
{
	const uint64_t *words = b->words;
	size_t from = 0;

	for (size_t i = 0; i < b->n; i++) {
		if (!b->read[i])
			continue;
		audit_add(audit, b->slots + from, b->records + from, i - from);
		audit_add_slab(audit, b->slots[i], &b->records[i], words);
		words += slab_slots(b->records[i].size_class, b->records[i].bytes);
		from = i + 1;
	}
	audit_add(audit, b->slots + from, b->records + from, b->n - from);
}

static void *count(void *arg)
{
	struct pass *p = arg;

	audit_scan_destroy(p->stale);
	p->stale = NULL;
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	for (unsigned next = 0;; next = (next + 1) % BATCHES) {
		const struct batch *b = &p->batches[next];

		await(&p->full);
		if (atomic_load(&p->ended))
			return NULL;
		if (b->n == 0)
			break;
		count_batch(p->audit, b);
		sem_post(&p->vacant);
		tell_loop(p);
	}
	p->outcome.err = audit_end(p->audit, &p->outcome.scan, &p->outcome.result);
	p->audit = NULL;
	atomic_store(&p->finished, true);
	tell_loop(p);
	return NULL;
}

static void discard(struct pass_outcome *o)
{
	audit_scan_destroy(o->scan);
	audit_result_release(o->result);
	*o = (struct pass_outcome){ .err = -ENOMEM };
}

/* The next record that is in no batch; NULL: there are no more. */
static const struct allocation *next_record(struct pass *p)
{
	struct stash *s = p->stash;

	if (s->at == s->n) {
		s->at = 0;
		s->n = ledger_next_of_snapshot(p->source.ledger, s->slots, s->records, BATCH);
	}
	return s->at < s->n ? &s->records[s->at] : NULL;
}

/* The slab is in the ledger as it was. */
static bool is_live(const struct pass *p, uint32_t slot, const struct allocation *slab)
{
	const struct allocation *now = ledger_at(p->source.ledger, slot);

	return now && now->serial == slab->serial && now->state == ALLOCATION_LIVE;
}

static void fill(struct pass *p, struct batch *b)
{
	const struct allocation *a;
	size_t used = 0;

	for (b->n = 0; b->n < BATCH && (a = next_record(p)) != NULL; b->n++, p->stash->at++) {
		const uint32_t slot = p->stash->slots[p->stash->at];
		const uint32_t n = p->source.read ? slab_slots(a->size_class, a->bytes) : 0;

		if (used + n > WORDS)
			return;
		b->slots[b->n] = slot;
		b->records[b->n] = *a;
		b->read[b->n] = n && is_live(p, slot, a);
		if (!b->read[b->n])
			continue;
		p->source.read(p->source.arg, a, b->words + used, n);
		used += n;
	}
}

/* Fill a vacant batch. If another one is vacant, its turn is the loop's next: this one may have taken half a millisecond. */
static void fetch(struct pass *p)
{
	struct batch *b = &p->batches[p->next];
	int vacant = 0;

	if (p->all_fetched || sem_trywait(&p->vacant) != 0)
		return;
	fill(p, b);
	p->all_fetched = b->n == 0;
	p->next = (p->next + 1) % BATCHES;
	sem_post(&p->full);
	if (!p->all_fetched && sem_getvalue(&p->vacant, &vacant) == 0 && vacant > 0)
		tell_loop(p);
}

static void on_progress(evutil_socket_t fd, short what, void *arg)
{
	struct pass *p = arg;
	struct pass_outcome outcome;
	uint64_t n;

	(void)what;
	(void)!read(fd, &n, sizeof(n)); /* only resets the eventfd */
	fetch(p);
	if (!atomic_load(&p->finished))
		return;
	outcome = p->outcome;
	p->outcome = (struct pass_outcome){ .err = 0 };
	p->has_snapshot = false;
	if (ledger_end_snapshot(p->source.ledger))
		discard(&outcome);
	p->done(p->arg, &outcome);
}

static int prepare(struct pass *p, struct event_base *base)
{
	int err;

	p->batches = calloc(BATCHES, sizeof(*p->batches));
	p->stash = calloc(1, sizeof(*p->stash));
	p->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->done_fd < 0)
		return -errno;
	p->event = event_new(base, p->done_fd, EV_READ | EV_PERSIST, on_progress, p);
	if (!p->batches || !p->stash || !p->event || event_add(p->event, NULL))
		return -ENOMEM;
	err = ledger_begin_snapshot(p->source.ledger);
	p->has_snapshot = !err;
	return err;
}

int pass_start(struct event_base *base, const struct pass_source *source, struct audit *audit,
	struct audit_scan *stale, void (*done)(void *arg, const struct pass_outcome *outcome),
	void *arg, struct pass **out)
{
	struct pass *p = calloc(1, sizeof(*p));
	int err;

	if (!p) {
		audit_scan_destroy(stale);
		audit_abandon(audit);
		return -ENOMEM;
	}
	p->source = *source;
	p->audit = audit;
	p->stale = stale;
	p->done = done;
	p->arg = arg;
	sem_init(&p->full, 0, 0);
	sem_init(&p->vacant, 0, BATCHES);
	err = prepare(p, base);
	if (!err)
		err = thread_start(&p->thread, count, p);
	p->has_thread = !err;
	if (err) {
		pass_stop(p);
		return err;
	}
	fetch(p);
	*out = p;
	return 0;
}

void pass_stop(struct pass *p)
{
	if (!p)
		return;
	atomic_store(&p->ended, true);
	if (p->has_thread) {
		sem_post(&p->full);
		pthread_join(p->thread, NULL);
	}
	if (p->has_snapshot)
		(void)ledger_end_snapshot(p->source.ledger);
	discard(&p->outcome);
	audit_scan_destroy(p->stale);
	audit_abandon(p->audit);
	if (p->event)
		event_free(p->event);
	if (p->done_fd >= 0)
		close(p->done_fd);
	sem_destroy(&p->full);
	sem_destroy(&p->vacant);
	free(p->batches);
	free(p->stash);
	free(p);
}
