/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a channel comes back: what had not completed is repeated on a new connection, except atomic operations
 * that may have been carried out. An operation on which connections break again and again is given up. The
 * channel's thread.
 */
#ifndef RMEM_CLIENT_DATA_RECONNECT_H
#define RMEM_CLIENT_DATA_RECONNECT_H

#include "client/data/channel.h"

/*
 * The connection broke, or there is none, or the lease may be over: get what the operations need to go on,
 * or let them fail. wanted_ns: whatever becomes of them, somebody needs the connection, and before this if nothing
 * else is on the channel; 0: nobody does. began_ns: since when the caller has waited.
 */
int reconnect_run(
	struct channel *ch, uint64_t wanted_ns, uint64_t began_ns, struct errinfo *errinfo);

/* Connect, if it is not, before the deadline. -EUSERS: the server has all the channels it can keep. */
int reconnect_channel(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo);

#endif
