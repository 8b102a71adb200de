/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/slotmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 64

int slotmap_create(struct slotmap *m, uint32_t max_slots)
{
	memset(m, 0, sizeof(*m));
	m->nbuckets = BUCKETS_MIN;
	m->buckets = calloc(m->nbuckets, sizeof(*m->buckets));
	m->chain = calloc(max_slots, sizeof(*m->chain));
	m->hash = calloc(max_slots, sizeof(*m->hash));
	if (m->buckets && m->chain && m->hash)
		return 0;
	slotmap_destroy(m);
	return -ENOMEM;
}

void slotmap_destroy(struct slotmap *m)
{
	if (!m)
		return;
	free(m->buckets);
	free(m->chain);
	free(m->hash);
	memset(m, 0, sizeof(*m));
}

static uint32_t *bucket(const struct slotmap *m, uint32_t hash)
{
	return &m->buckets[hash & (m->nbuckets - 1)];
}

static void link_in(struct slotmap *m, uint32_t slot)
{
	uint32_t *head = bucket(m, m->hash[slot]);

	m->chain[slot] = *head;
	*head = slot + 1;
}

/* Twice the buckets. Without memory for them the chains get longer, and nothing else happens. */
static void grow(struct slotmap *m)
{
	uint32_t *old = m->buckets;
	uint32_t nold = m->nbuckets;
	uint32_t *fresh = nold < 1U << 31 ? calloc((size_t)nold * 2, sizeof(*fresh)) : NULL;

	if (!fresh)
		return;
	m->buckets = fresh;
	m->nbuckets = nold * 2;
	for (uint32_t i = 0; i < nold; i++) {
		for (uint32_t at = old[i], next; at != 0; at = next) {
			next = m->chain[at - 1];
			link_in(m, at - 1);
		}
	}
	free(old);
}

void slotmap_put(struct slotmap *m, uint32_t slot, uint32_t hash)
{
	if (m->count >= m->nbuckets)
		grow(m);
	m->hash[slot] = hash;
	link_in(m, slot);
	m->count++;
}

void slotmap_remove(struct slotmap *m, uint32_t slot)
{
	uint32_t *at = bucket(m, m->hash[slot]);

	while (*at != 0 && *at != slot + 1)
		at = &m->chain[*at - 1];
	if (*at == 0)
		return;
	*at = m->chain[slot];
	m->count--;
}

static uint32_t with_hash(const struct slotmap *m, uint32_t at, uint32_t hash)
{
	while (at != 0 && m->hash[at - 1] != hash)
		at = m->chain[at - 1];
	return at == 0 ? SLOT_NONE : at - 1;
}

uint32_t slotmap_first(const struct slotmap *m, uint32_t hash)
{
	return with_hash(m, *bucket(m, hash), hash);
}

uint32_t slotmap_next(const struct slotmap *m, uint32_t slot)
{
	return with_hash(m, m->chain[slot], m->hash[slot]);
}
