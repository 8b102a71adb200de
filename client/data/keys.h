/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a channel remembers of its session, so that it need not ask under a lock each time: the registered
 * buffers, and keys by address. It is good as long as the session's epoch is the same.
 *
 * The channel's thread.
 */
#ifndef RMEM_CLIENT_DATA_KEYS_H
#define RMEM_CLIENT_DATA_KEYS_H

#include "client/data/channel.h"

/* Look at the session again, if anything has changed since the last time. */
void keys_refresh(struct channel *ch);

/* How many allocations the session has had: an operation that is started now means none with a later serial. */
static inline uint64_t keys_as_of(struct session *s)
{
	return atomic_load_explicit(&s->blocks.serials, memory_order_relaxed);
}

/*
 * How far one key reaches from there on, if the allocation does. Only a block that is longer than that is divided, and it
 * begins at a multiple of it.
 */
static inline size_t keys_reach(const struct channel *ch, uint64_t addr)
{
	return ch->part_bytes - (addr & (ch->part_bytes - 1));
}

/*
 * The key for a remote range of an operation of then. 0, and out->read_only; -EAGAIN, and *out: there is none on this
 * connection yet, or no single one; -EFAULT, -ESTALE: it cannot be used.
 */
int keys_find(struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of,
	struct block_view *out, uint32_t *out_rkey, struct errinfo *errinfo);

/* The same where the key was fetched when the operation was started: without it, the allocation is gone. */
int keys_known(struct channel *ch, const struct operation *op, uint64_t addr, size_t bytes,
	uint32_t *out_rkey, struct errinfo *errinfo);

/* Is every remote piece in an allocation that may be used, and for that? 0, -EFAULT, -ESTALE, -EACCES. */
int keys_check(struct channel *ch, const struct operation *op, struct errinfo *errinfo);

/*
 * Have a key for every remote piece: what is outstanding is waited for, and the server asked. -ECONNRESET: the
 * connection broke; -EOPNOTSUPP, -ESTALE: the operation must not go over this one; or as keys_check().
 */
int keys_fetch(struct channel *ch, const struct operation *op, struct errinfo *errinfo);

#endif
