/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/lookup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/explain.h"

/* With the table. */
static int copy_buffers(struct channel *ch)
{
	const struct buffers *from = &ch->session->buffers;
	struct buffers *to = &ch->buffers;
	struct buffer *items = realloc(to->items, (from->count + 1) * sizeof(*items));

	ch->shortcut.near = NULL;
	if (items)
		to->items = items;
	to->count = items ? from->count : 0;
	if (items && from->count)
		memcpy(items, from->items, from->count * sizeof(*items));
	return items ? 0 : -ENOMEM;
}

/* Look at the session again, if anything has changed since the last time. */
void lookup_refresh(struct channel *ch)
{
	struct session *s = ch->session;
	uint64_t epoch = atomic_load_explicit(&s->vitals->epoch, memory_order_acquire);

	if (epoch == ch->epoch)
		return;
	keys_forget_near(&ch->keys);
	pthread_mutex_lock(&s->table);
	/* Without memory for the copy, registered buffers are used like any other memory. */
	if (ch->buffers_version != s->buffers_version && copy_buffers(ch) == 0)
		ch->buffers_version = s->buffers_version;
	/* The server ends our connection with the one we belong to. */
	if (ch->pipeline.ep && ch->generation != s->generation)
		endpoint_break(ch->pipeline.ep);
	pthread_mutex_unlock(&s->table);
	ch->epoch = epoch;
}

/*
 * A copy of the allocation that holds the range, if it may be used and was there when the operation was started: it
 * may have been freed since, and its address lent anew.
 */
static int find_own(struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of,
	struct own *out, struct why *why)
{
	struct session *s = ch->session;
	const struct own *own;
	int rc = 0;

	*out = (struct own){ 0 };
	pthread_mutex_lock(&s->table);
	ch->as_of = lookup_as_of(s);
	own = allocations_find_range(&s->allocations, piece->base, piece->len);
	if (!own)
		rc = explain_range(&s->allocations, piece->base, piece->len, why);
	else if (own->serial > as_of)
		rc = explain_freed(piece->base, why);
	else if (own->state != OWN_LIVE)
		rc = explain_state(own, why);
	else
		*out = *own;
	pthread_mutex_unlock(&s->table);
	return rc;
}

int lookup_key(struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of, struct own *own,
	uint32_t *out_rkey, struct why *why)
{
	struct near_key near;
	int rc;

	if (keys_find_as_of(&ch->keys, piece->base, piece->len, as_of, out_rkey))
		return 0;
	rc = find_own(ch, piece, as_of, own, why);
	if (rc)
		return rc;
	if (!keys_get(&ch->keys, own->slot, own->serial, out_rkey))
		return -EAGAIN;
	near = (struct near_key){ own->addr, own->addr + own->bytes, own->serial, *out_rkey };
	keys_cache(&ch->keys, piece->base, &near);
	return 0;
}

int lookup_known_key(void *ctx, const struct operation *op, uint64_t addr, size_t bytes,
	uint32_t *out_rkey, struct why *why)
{
	const struct rmem_iovec piece = { addr, bytes };
	struct own own;
	int rc = lookup_key(ctx, &piece, op->as_of, &own, out_rkey, why);

	return rc == -EAGAIN ? explain_freed(addr, why) : rc;
}
