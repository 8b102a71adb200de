/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lease epoch is the time in which a session has one fencing token. The server gives another fencing token to a
 * session that comes back after its lease had expired; locks that were held in the epoch before may be held by
 * others by then. Until each of them has been released, the session is fenced: no channel joins, so nothing is
 * read or written (-EOWNERDEAD).
 *
 * A channel never outlives the control connection it joined under (docs/PROTOCOL.md), so the check at joining is
 * enough. Operations from before a fence are not repeated after it.
 *
 * Pure; the caller locks (client/control/session.h: table).
 */
#ifndef RMEM_CLIENT_CONTROL_LEASE_EPOCH_H
#define RMEM_CLIENT_CONTROL_LEASE_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/errinfo.h"

/* A lock, or a claim that is good only with its fencing token. */
struct holding {
	uint64_t lease_epoch; /* that it is held in */
	struct holding *prev, *next;
};

struct lease_epoch {
	uint64_t fencing_token;   /* 0: none yet */
	uint64_t number;          /* of lease epochs so far */
	uint64_t serial;          /* of the session that has the fencing token */
	struct holding *held;     /* in this epoch and in those before */
	unsigned lost;            /* of those before */
	_Atomic uint64_t fences;  /* epochs that ended with something held */
	_Atomic uint64_t numbers; /* given to what is held (client/objects/atomic_word.h) */
};

/* The server says that the session with this serial has this fencing token. */
void lease_epoch_begin(struct lease_epoch *e, uint64_t serial, uint64_t fencing_token);

/* Is anything lost and not released? -EOWNERDEAD. */
int lease_epoch_check(const struct lease_epoch *e, struct errinfo *errinfo);

/* Hold something since the epoch with this number. -ESTALE: it is over. */
int lease_epoch_hold(struct lease_epoch *e, struct holding *h, uint64_t number);
/* Returns true if it had been lost. */
bool lease_epoch_release(struct lease_epoch *e, struct holding *h);

#endif
