/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal: the records of objects (common/object_record.h) follow to the server, one-sided, so that it can say
 * which objects a client held when it died.
 *
 * Lines of records that have changed are written over a channel of the journal's own, and confirmed. Then a renewal
 * says that all is there (HEARTBEAT_JOURNALED). A record that changes again meanwhile is sent again; no order matters,
 * as each tells all about its slot.
 *
 * One thread at a time (client/space/slab_thread.h).
 */
#ifndef RMEM_CLIENT_SPACE_JOURNAL_H
#define RMEM_CLIENT_SPACE_JOURNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/space/thread_channels.h"

struct journal_batch;

struct journal {
	struct thread_channels *channels;
	struct channel *channel;     /* NULL: none yet */
	struct journal_batch *batch; /* lines on their way */
};

void journal_init(struct journal *j, struct thread_channels *t);
void journal_destroy(struct journal *j); /* before the channels */

/* n records of a slab as the server has them, from a slot on. 0, or as rmem_read(). */
int journal_read(struct journal *j, const struct slab *s, uint32_t first, uint64_t *out, uint32_t n,
	uint64_t deadline_ns, struct errinfo *errinfo);

/* Write all that had changed when this was called, and wait for it. 0, or as rmem_write(). */
int journal_flush(struct journal *j, uint64_t deadline_ns, struct errinfo *errinfo);

#endif
