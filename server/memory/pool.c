/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"
#include "server/ledger/quotas.h"

/* Iterate over the segments of these nodes. */
static struct segment *next_on(const struct pool *p, uint64_t nodes, unsigned *cursor)
{
	struct segment *s;

	do {
		s = pool_next_segment(p, cursor);
	} while (s && !(nodes & 1ULL << s->node));
	return s;
}

uint64_t pool_size_bytes(const struct pool *p, uint64_t nodes)
{
	uint64_t bytes = 0;
	unsigned cursor = 0;

	for (struct segment *s; (s = next_on(p, nodes, &cursor)) != NULL;)
		bytes += s->arena.bytes;
	return bytes;
}

void pool_close(struct pool *p)
{
	pool_close_wiping(p);
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		segment_close(p->segments[i]);
	ledger_close(p->ledger);
	table_close(&p->proofs);
	memset(p, 0, sizeof(*p));
}

static int take_block_in(struct segment *s, const struct wish *wish, uint64_t *out_offset)
{
	struct buddy_range avoid[AVOID_MAX];

	return buddy_alloc_outside(
		s->buddy, wish->bytes, avoid, wish_avoid_in(wish, s->number, avoid), out_offset);
}

/* In a node's segment with most free bytes, or else (fragmentation) in another. */
static int take_block_on(struct pool *p, unsigned node, const struct wish *wish,
	struct segment **out, uint64_t *out_offset)
{
	struct segment *s, *best = NULL;
	unsigned cursor = 0;
	int err = -ENOSPC;

	while ((s = next_on(p, 1ULL << node, &cursor)) != NULL) {
		if (!best || buddy_free_bytes(s->buddy) > buddy_free_bytes(best->buddy))
			best = s;
	}
	if (best)
		err = take_block_in(best, wish, out_offset);
	for (s = best, cursor = 0;
		err == -ENOSPC && (s = next_on(p, 1ULL << node, &cursor)) != NULL;)
		err = take_block_in(s, wish, out_offset);
	if (!err)
		*out = s;
	return err;
}

/* From the first node in order that has room. */
static int take_block(struct pool *p, const struct wish *wish, const struct ranking *ranking,
	struct segment **out, uint64_t *out_offset)
{
	int err = -ENOSPC;

	if (wish->bytes > pool_max_alloc_bytes(p, ranking->mask))
		return -EFBIG; /* too large even for empty nodes: making room is useless */
	for (unsigned i = 0; err == -ENOSPC && i < ranking->count; i++)
		err = take_block_on(p, ranking->nodes[i], wish, out, out_offset);
	return err;
}

int pool_alloc(struct pool *p, const struct wish *wish, const struct allocation *draft,
	const struct allocation **out)
{
	struct allocation filled = *draft;
	struct ranking ranking;
	struct segment *s;
	uint64_t offset;
	int err;

	err = pool_rank(p, wish, &ranking, NULL);
	if (!err)
		err = take_block(p, wish, &ranking, &s, &offset);
	if (err)
		return err;
	filled.addr = addr_make(s->number, offset);
	allocation_set_node(&filled, s->node);
	filled.bytes = wish->bytes;
	err = ledger_add(p->ledger, &filled, out);
	if (err) {
		buddy_free(s->buddy, offset, allocation_block_bytes(&filled));
		return err == -EDQUOT || err == -EEXIST ? err : -ENOMEM;
	}
	pool_count(p, wish, &ranking, s->node);
	return 0;
}

static uint64_t largest_free_bytes(const struct pool *p, uint64_t nodes)
{
	uint64_t largest = 0;
	unsigned cursor = 0;

	for (struct segment *s; (s = next_on(p, nodes, &cursor)) != NULL;) {
		uint64_t here = buddy_largest_free_bytes(s->buddy);

		largest = here > largest ? here : largest;
	}
	return largest;
}

static uint64_t lent_bytes(const struct pool *p)
{
	uint64_t bytes = 0;
	unsigned cursor = 0;

	for (struct segment *s; (s = pool_next_segment(p, &cursor)) != NULL;)
		bytes += buddy_size_bytes(s->buddy) - buddy_free_bytes(s->buddy);
	return bytes;
}

/* "pool is", "node 1 is", "nodes 0, 2 are": where the wish can be fulfilled. */
static const char *name_nodes(
	const struct pool *p, const struct wish *wish, uint64_t nodes, char *buf, size_t size)
{
	unsigned named = 0;
	size_t used;

	for (unsigned i = 0; i < p->nnodes; i++)
		named += (nodes >> p->nodes[i].node) & 1;
	if (named == p->nnodes && !wish->placement.nodes)
		return "pool is";
	used = (size_t)snprintf(buf, size, named > 1 ? "nodes" : "node");
	for (unsigned i = 0, n = 0; i < p->nnodes && used < size; i++) {
		if (nodes & 1ULL << p->nodes[i].node)
			used += (size_t)snprintf(
				buf + used, size - used, "%s %u", n++ ? "," : "", p->nodes[i].node);
	}
	if (used < size)
		snprintf(buf + used, size - used, named > 1 ? " are" : " is");
	return buf;
}

/* " (its job train, of 3 sessions, 2.0 GiB)"; "" if the session is alone in its job. */
static const char *name_job(const struct pool *p, uint32_t session, char *buf, size_t size)
{
	const struct quota_job *job = quotas_job(ledger_quotas(p->ledger), session);
	char bytes[UNITS_TEXT_SIZE];

	buf[0] = '\0';
	if (job && job->sessions > 1)
		snprintf(buf, size, " (its job %s, of %u sessions, %s)", job->label, job->sessions,
			units_format_bytes(
				quotas_use(&job->sums).of[QUOTA_BYTES], bytes, sizeof(bytes)));
	return buf;
}

int pool_explain_full(
	const struct pool *p, const struct wish *wish, uint32_t session, struct errinfo *errinfo)
{
	const uint64_t own_bytes = ledger_session_bytes(p->ledger, session);
	const uint64_t nodes = pool_rank_mask(p, wish);
	char asked[UNITS_TEXT_SIZE], largest[UNITS_TEXT_SIZE];
	char own[UNITS_TEXT_SIZE], others[UNITS_TEXT_SIZE], where[128], job[160];

	units_format_bytes(wish->bytes, asked, sizeof(asked));
	units_format_bytes(largest_free_bytes(p, nodes), largest, sizeof(largest));
	units_format_bytes(own_bytes, own, sizeof(own));
	units_format_bytes(lent_bytes(p) - own_bytes, others, sizeof(others));
	return errinfo_set(errinfo, -ENOSPC,
		"the %s full: %s asked for, largest free block %s; "
		"of the whole pool this session holds %s in %u blocks%s, all others together %s "
		"(`rmemctl sessions` on the server tells who they are); free something, or start "
		"rmemd with a larger --size",
		name_nodes(p, wish, nodes, where, sizeof(where)), asked, largest, own,
		ledger_session_count(p->ledger, session), name_job(p, session, job, sizeof(job)),
		others);
}

/* End the record before the block can be allocated again. */
void pool_release(struct pool *p, const struct allocation *a)
{
	struct segment *s = pool_find_segment(p, a->addr);
	uint64_t offset = addr_offset(a->addr), block_bytes = allocation_block_bytes(a);
	const uint32_t session = a->session;
	int err;

	ledger_set_state(p->ledger, a, ALLOCATION_FREE);
	err = buddy_free(s->buddy, offset, block_bytes);
	if (err)
		log_error("allocator and ledger disagree about segment %u offset 0x%" PRIx64
			  ": please report this",
			s->number, offset);
	if (p->emptied && !ledger_session_count(p->ledger, session))
		p->emptied(p->context, session);
}

void *pool_pointer(struct pool *p, const struct allocation *a)
{
	return pool_find_segment(p, a->addr)->arena.base + addr_offset(a->addr);
}

uint64_t pool_max_alloc_bytes(const struct pool *p, uint64_t nodes)
{
	uint64_t max = 0;
	unsigned cursor = 0;

	for (struct segment *s; (s = next_on(p, nodes, &cursor)) != NULL;)
		max = s->arena.bytes > max ? s->arena.bytes : max;
	return max;
}
