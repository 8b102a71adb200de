/* SPDX-License-Identifier: BSD-3-Clause */
/* Windows for an operation's remote pieces, bound on the channel's connection. The channel's thread. */
#ifndef RMEM_CLIENT_ATTACH_H
#define RMEM_CLIENT_ATTACH_H

#include "client/channel.h"

/* Is every remote piece inside one allocation that may be used? 0, -EFAULT, -ESTALE. Nothing is sent. */
int attach_check(struct channel *ch, const struct operation *op, struct why *why);

/*
 * Connected: have a key for every remote piece. For one that is missing, what is outstanding is waited
 * for, then the server is asked. -ECONNRESET: it broke; -EDQUOT: the server has no windows left;
 * -EOPNOTSUPP, -ESTALE: it cannot go over this connection.
 */
int attach_all(struct channel *ch, const struct operation *op, struct why *why);

#endif
