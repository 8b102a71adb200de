/* SPDX-License-Identifier: BSD-3-Clause */
/* Connecting a channel, and joining the session with it. The channel's thread. */
#ifndef RMEM_CLIENT_JOIN_H
#define RMEM_CLIENT_JOIN_H

#include "client/channel.h"

/*
 * Connect a channel that is not connected, trying until the deadline, with the session's own connection if
 * need be. 0, -ETIMEDOUT, -ECANCELED, -ENOMEM, -EUSERS, -EOWNERDEAD; -ECONNRESET for whatever else.
 */
int join_session(struct channel *ch, uint64_t deadline_ns, struct why *why);

#endif
