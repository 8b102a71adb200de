/* SPDX-License-Identifier: BSD-3-Clause */
/* COPY and FILL: who may have bytes moved, and were they? */
#include <errno.h>
#include <string.h>

#include "tests/sim/verdict_impl.h"

struct range_in {
	struct block *block;
	uint64_t first, pages; /* whose first word is in it */
	bool read_only;
};

/* A range that the session may reach; false: there is none. */
static bool find(
	const struct link *link, const struct place *p, uint64_t bytes, struct range_in *out)
{
	struct block *b = model_block(p->serial);
	uint64_t limit, record;

	*out = (struct range_in){ .block = b };
	if (!b || b->addr != p->addr || !verdict_admits(link, b, p->key, &out->read_only))
		return false;
	(void)model_offers(b, &limit, &record);
	limit = b->owner == link->owner ? b->bytes : limit;
	if (p->offset > limit || bytes > limit - p->offset)
		return false;
	out->first = p->offset / PAGE_BYTES;
	out->pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
	return true;
}

/* COPY: both; FILL: dst. True: it may be done. */
static bool find_both(const struct link *link, const struct request *q, struct range_in *dst,
	struct range_in *src)
{
	const struct copy_request *c = &q->copy;
	uint64_t from, to;

	if (q->type == MESSAGE_FILL)
		return find(link, &q->fill.dst, q->fill.bytes, dst) && !dst->read_only;
	from = c->src.addr + c->src.offset;
	to = c->dst.addr + c->dst.offset;
	return find(link, &c->dst, c->bytes, dst) && !dst->read_only &&
	       find(link, &c->src, c->bytes, src) &&
	       !(from < to + c->bytes && to < from + c->bytes);
}

void verdict_moves(struct link *link, const struct request *q)
{
	struct range_in dst, src = { .block = NULL };

	model_sync();
	link->asked_writes = 0;
	if (!link->owner || !find_both(link, q, &dst, &src))
		return;
	if (!dst.block->moving && (!src.block || !src.block->moving))
		link->asked_writes = dst.block->written = model_next_write();
	for (uint64_t i = 0; i < dst.pages; i++)
		dst.block->moving |= 1ULL << (dst.first + i);
}

static uint64_t word_at(const struct range_in *r, uint64_t page)
{
	uint64_t word;

	memcpy(&word, model_memory(r->block) + (r->first + page) * PAGE_BYTES, sizeof(word));
	return word;
}

/* All that was to be moved, unless somebody else has written there. */
static void require_moved(
	const struct link *link, const struct range_in *dst, const struct range_in *src)
{
	const uint64_t filled = link->question.fill.byte * 0x0101010101010101ULL;
	const bool fill = link->question.type == MESSAGE_FILL;

	if (dst->block->written != link->asked_writes ||
		(!fill && src->block->written > link->asked_writes))
		return;
	for (uint64_t i = 0; i < dst->pages; i++)
		require(link, word_at(dst, i) == (fill ? filled : word_at(src, i)),
			"answered, and not all was moved");
}

void verdict_moved(struct link *link, int status)
{
	struct range_in dst, src = { .block = NULL };
	bool may;

	model_sync();
	may = find_both(link, &link->question, &dst, &src);
	require(link, !status == may, "it may be done, and is refused, or the reverse");
	if (!status && link->asked_writes)
		require_moved(link, &dst, &src);
}
