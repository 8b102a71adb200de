/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A channel: a connection of the session for data, with all that operations on it need, so that nothing is
 * shared with other channels on the way. Windows are bound on it at first touch (ATTACH).
 *
 * A channel comes back by itself when its connection, or the session's, has broken: what had not completed
 * is repeated, except atomic operations that may have been carried out. It gives up an operation on which
 * connections break again and again.
 *
 * One thread at a time.
 */
#ifndef RMEM_CLIENT_DATA_CHANNEL_H
#define RMEM_CLIENT_DATA_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "client/data/key_cache.h"
#include "client/data/operation.h"
#include "client/data/pipeline.h"
#include "client/control/session.h"

/* What a short copy needs and what does not change from one to the next (client/data/fastpath.h). */
struct fastpath {
	struct ibv_send_wr wr;
	struct ibv_sge sge;
	struct buffer near; /* of the channel's copy: the last that was used; 0 bytes: none */
};

struct channel {
	struct session *session;
	const struct vitals *vitals; /* of the session */
	uint32_t number;             /* that it joins with: the server ends the connection before */
	uint64_t epoch;              /* of the session, when what follows was looked up */
	uint64_t generation;         /* of the session's connection that it joined; 0: none */
	uint64_t fences;             /* of the session, when the oldest operation was started */
	uint64_t lease_epoch;        /* of the session, that it joined in */
	uint64_t part_bytes;         /* the most that one key reaches; a power of 2 */
	struct key_cache keys;
	struct buffers buffers; /* a copy of the session's */
	uint64_t buffers_version;
	uint32_t seq;         /* of the last request */
	uint64_t began_ns;    /* of the copy that fastpath_copy() could not finish; 0: none */
	uint64_t began_as_of; /* with began_ns: as_of then */
	struct errinfo fastpath_failure; /* ... and what happened to it */
	unsigned connects;               /* so far */
	uint64_t until_ns; /* coming back has to be over then; UINT64_MAX: it is not doing that */
	struct channel *next;      /* of the session */
	struct channel *next_free; /* of those that no thread has */
	struct fastpath fastpath;
	struct pipeline pipeline;
};

/* A channel that is not connected: it connects when it is used. NULL: out of memory. */
struct channel *channel_create(struct session *s);
void channel_destroy(struct channel *ch); /* nothing outstanding. NULL is fine */

/* The connection broke: on the first request that failed, or before the first operation that waits was sent. */
void channel_explain_break(struct channel *ch, struct errinfo *errinfo);

/* ... and give up the operation if connections break on it again and again. */
void channel_note_failure(struct channel *ch, struct errinfo *errinfo);

static inline bool channel_is_connected(const struct channel *ch)
{
	return ch->pipeline.ep && !endpoint_broken(ch->pipeline.ep);
}

/* Past the lease the memory may be somebody else's: not even try. */
static inline bool channel_is_usable(const struct channel *ch)
{
	return channel_is_connected(ch) && session_lease_good(ch->session);
}

/* Is anything started that has not completed? */
static inline bool channel_is_busy(const struct channel *ch)
{
	return ch->pipeline.first != NULL;
}

/* Work requests that exist and are not posted. */
static inline uint64_t channel_unposted(const struct channel *ch)
{
	return ch->pipeline.built - ch->pipeline.posted;
}

/* When a request that is made on it now has to be answered. */
static inline uint64_t channel_deadline(const struct channel *ch)
{
	const uint64_t deadline = session_deadline(ch->session);

	return deadline < ch->until_ns ? deadline : ch->until_ns;
}

#endif
