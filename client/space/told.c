/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/told.h"

#include <string.h>

#include "client/control/request.h"

/* With the table: one that others share, or could. false: there is none. */
static bool name_told(const struct blocks *t, struct tell_request *q)
{
	const struct block *block = blocks_find_range(t, q->addr, 1);
	const struct slab *slab = block ? block->slab : NULL;
	const uint32_t slot = slab ? slab_slot_at(slab, q->addr - slab->addr) : 0;

	if (!block || (slab && (slot >= slab->slots || !slab_has(slab, slot, SLAB_EVER))))
		return false;
	q->addr = slab ? slab_slot_addr(slab, slot) : block->addr;
	q->serial = block->id;
	if (block->attached)
		memcpy(q->key, block->key, sizeof(q->key));
	return block->attached || block->shared || slab;
}

bool told_ask(struct rmem *rm, rmem_addr_t addr, uint64_t deadline_ns, struct tell_reply *out)
{
	struct tell_request request = { .addr = addr };
	struct session *s = &rm->session;
	struct errinfo ignored;
	bool named;

	pthread_mutex_lock(&s->table);
	named = name_told(&s->blocks, &request);
	pthread_mutex_unlock(&s->table);
	return named && control_call(s,
				&(struct control_call){ .type = MESSAGE_TELL,
					.deadline_ns = deadline_ns,
					.encode = tell_request_encode,
					.request = &request,
					.decode = tell_reply_decode,
					.reply = out },
				&ignored) == 0;
}
