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
	m->mask = BUCKETS_MIN - 1;
	m->room = max_slots > BUCKETS_MIN ? max_slots : BUCKETS_MIN;
	m->buckets = calloc(m->room, sizeof(*m->buckets));
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

/* Entries of a bucket beyond nbuckets are still in the bucket that it will be split from. */
static uint32_t *bucket(const struct slotmap *m, uint32_t hash)
{
	uint32_t at = hash & m->mask;

	return &m->buckets[at < m->nbuckets ? at : at & m->mask >> 1];
}

static void link_in(struct slotmap *m, uint32_t slot)
{
	uint32_t *head = bucket(m, m->hash[slot]);

	m->chain[slot] = *head;
	*head = slot + 1;
}

/* Add a bucket and move its entries there from the bucket that had them. */
static void split(struct slotmap *m)
{
	uint32_t *from, at;

	if (m->nbuckets > m->mask)
		m->mask = 2 * m->mask + 1;
	from = &m->buckets[m->nbuckets++ & m->mask >> 1];
	at = *from;
	*from = 0;
	while (at != 0) {
		uint32_t next = m->chain[at - 1];

		link_in(m, at - 1);
		at = next;
	}
}

void slotmap_expect(struct slotmap *m, uint32_t count)
{
	const uint32_t wanted = count < m->room ? count : m->room;

	if (m->count > 0 || wanted <= m->nbuckets)
		return;
	m->nbuckets = wanted;
	while (m->mask < wanted - 1)
		m->mask = 2 * m->mask + 1;
}

void slotmap_put(struct slotmap *m, uint32_t slot, uint32_t hash)
{
	if (m->count >= m->nbuckets && m->nbuckets < m->room)
		split(m);
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
