/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a channel remembers of its session, so that it need not ask under a lock each time: the registered
 * buffers, and keys by address. It is good as long as the session's epoch is the same.
 *
 * The channel's thread.
 */
#ifndef RMEM_CLIENT_LOOKUP_H
#define RMEM_CLIENT_LOOKUP_H

#include "client/channel.h"

/* Look at the session again, if anything has changed since the last time. */
void lookup_refresh(struct channel *ch);

/* How many allocations the session has had: an operation that is started now means none with a later serial. */
static inline uint64_t lookup_as_of(struct session *s)
{
	return atomic_load_explicit(&s->allocations.serials, memory_order_relaxed);
}

/*
 * The key for a remote range of an operation of then. 0; -EAGAIN, and *own: there is none on this connection yet; -EFAULT, -ESTALE:
 * it cannot be used.
 */
int lookup_key(struct channel *ch, const struct rmem_iovec *piece, uint64_t as_of, struct own *own,
	uint32_t *out_rkey, struct why *why);

/* A pipeline_key_fn on a struct channel, for what has been attached. */
int lookup_known_key(void *channel, const struct operation *op, uint64_t addr, size_t bytes,
	uint32_t *out_rkey, struct why *why);

#endif
