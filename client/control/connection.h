/* SPDX-License-Identifier: BSD-3-Clause */
/* The session's control connection: made anew, and the session opened or resumed on it. All want control. */
#ifndef RMEM_CLIENT_CONTROL_CONNECTION_H
#define RMEM_CLIENT_CONTROL_CONNECTION_H

#include "client/control/session.h"

/*
 * One attempt to connect and to resume the session, or to open a new one if there is none or the server has
 * forgotten it (then everything is stale and serial changes).
 */
int connection_open(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo);

/*
 * What a failed attempt to connect again means to an open session: -ECONNRESET, and the next one may succeed
 * (nobody listens while rmemd is replaced), or an error that stays.
 */
int connection_error(int rc);

#endif
