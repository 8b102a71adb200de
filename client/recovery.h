/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a channel comes back: what had not completed is repeated on a new connection, except atomic operations
 * that may have been carried out. An operation on which connections break again and again is given up. The
 * channel's thread.
 */
#ifndef RMEM_CLIENT_RECOVERY_H
#define RMEM_CLIENT_RECOVERY_H

#include "client/channel.h"

/* Something broke: say what, and give up the operation if that happens to it again and again. */
void recovery_note_failure(struct channel *ch, struct why *why);

/*
 * The connection broke, or there is none, or the lease may be over: get what the operations need to go on,
 * or let them fail. wanted: whatever becomes of them, somebody needs the connection. began_ns: since when
 * the caller has waited.
 */
int recovery_run(struct channel *ch, bool wanted, uint64_t began_ns, struct why *why);

#endif
