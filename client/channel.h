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
#ifndef RMEM_CLIENT_CHANNEL_H
#define RMEM_CLIENT_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "client/keys.h"
#include "client/operation.h"
#include "client/pipeline.h"
#include "client/session.h"

/* What a short copy needs and what does not change from one to the next (client/shortcut.h). */
struct shortcut {
	struct ibv_send_wr wr;
	struct ibv_sge sge;
	const struct buffer *near; /* of the channel's copy: the last that was used; NULL: none */
};

struct channel {
	struct session *session;
	const struct vitals *vitals; /* of the session */
	uint32_t number;             /* that it joins with: the server ends the connection before */
	uint64_t epoch;              /* of the session, when what follows was looked up */
	uint64_t generation;         /* of the session's connection that it joined; 0: none */
	uint64_t fences;             /* of the session, when the oldest operation was started */
	uint64_t tenure;             /* of the session, that it joined in */
	uint64_t as_of;              /* allocations of the session, when a key was last looked up */
	struct keys keys;
	struct buffers buffers; /* a copy of the session's */
	uint64_t buffers_version;
	uint32_t seq;         /* of the last request */
	uint64_t began_ns;    /* of the copy that shortcut_copy() could not finish; 0: none */
	uint64_t began_as_of; /* with began_ns: as_of then */
	struct why shortcut_failure; /* ... and what happened to it */
	unsigned connects;           /* so far */
	uint64_t until_ns; /* coming back has to be over then; UINT64_MAX: it is not doing that */
	struct channel *next;      /* of the session */
	struct channel *next_free; /* of those that no thread has */
	struct shortcut shortcut;
	struct pipeline pipeline;
};

/* A channel that is not connected: it connects when it is used. NULL: out of memory. */
struct channel *channel_create(struct session *s);
void channel_destroy(struct channel *ch); /* nothing outstanding. NULL is fine */

/* In a child after fork(): the device's objects are the parent's. */
void channel_abandon(struct channel *ch);

/* Connect, if it is not. -EUSERS: the server has all the channels it can keep. */
int channel_connect(struct channel *ch, struct why *why);

/*
 * Start an operation: its pieces are checked, and there is a key for each of the remote ones, for which
 * what is outstanding may have to be waited for. Started operations are posted in lists.
 * -EFAULT, -ESTALE, and what coming back can end in: it was not started.
 */
int channel_start(struct channel *ch, struct operation *op, struct why *why);

/* Post what was started. */
void channel_post(struct channel *ch, struct why *why);

/*
 * Bring operations forward, until the oldest completes or the deadline has passed (0: do not wait;
 * PIPELINE_FOREVER). What fails carries its status; why tells about the last that failed. Coming back is
 * part of it, and has its own limit.
 */
void channel_advance(struct channel *ch, uint64_t deadline_ns, struct why *why);

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

/* Start one operation on an idle channel, and wait for it (as far as it goes): its status. */
int channel_run(struct channel *ch, struct operation *op, struct why *why);

#endif
