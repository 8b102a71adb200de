/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/claims.h"

#include <inttypes.h>
#include <pthread.h>

#define FORMER 512

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct claim *first;
static struct claim former[FORMER]; /* that were removed lately */
static unsigned nformer;

static bool overlap(const struct claim *a, const struct claim *b)
{
	return a->addr < b->addr + b->bytes && b->addr < a->addr + a->bytes;
}

/* With the lock. */
static bool alone(const struct claim *c)
{
	for (const struct claim *o = first; o; o = o->next) {
		if (o == c || o->ending || !overlap(c, o))
			continue;
		board_complain(EVENT_ALIAS, 1, c->addr, c->bytes,
			"ALIAS: %s gen %u at 0x%" PRIx64 "+%" PRIu64
			" while this process still has %s gen %u at 0x%" PRIx64 "+%" PRIu64,
			c->what, c->gen, c->addr, c->bytes, o->what, o->gen, o->addr, o->bytes);
		return false;
	}
	return true;
}

static void count_reuse(const struct claim *c)
{
	for (unsigned i = 0; i < FORMER; i++) {
		if (former[i].bytes && overlap(c, &former[i])) {
			board_event(EVENT_REUSED, 1);
			return;
		}
	}
}

bool claims_add(struct claim *c)
{
	bool ok;

	pthread_mutex_lock(&lock);
	ok = alone(c);
	count_reuse(c);
	c->ending = false;
	c->next = first;
	first = c;
	pthread_mutex_unlock(&lock);
	return ok;
}

void claims_ending(struct claim *c)
{
	pthread_mutex_lock(&lock);
	c->ending = true;
	pthread_mutex_unlock(&lock);
}

void claims_resume(struct claim *c)
{
	pthread_mutex_lock(&lock);
	c->ending = false;
	alone(c);
	pthread_mutex_unlock(&lock);
}

void claims_remove(struct claim *c)
{
	pthread_mutex_lock(&lock);
	for (struct claim **p = &first; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	former[nformer++ % FORMER] = *c;
	pthread_mutex_unlock(&lock);
}
