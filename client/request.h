/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to the server over the session's control connection. All want control.
 *
 * A request whose reply did not come is kept: before the next one is sent its reply is awaited, or, on
 * a new connection, it is sent again with the same number. What it brought is then undone, since its
 * caller was told that it failed.
 */
#ifndef RMEM_CLIENT_REQUEST_H
#define RMEM_CLIENT_REQUEST_H

#include "client/session.h"

/* Connected, nothing pending, lease good: tries until the deadline. */
int request_ready(struct session *s, uint64_t deadline_ns, struct why *why);

/*
 * Start a request: its body is encoded into the returned cursor. Then make the call: *out is the
 * reply's body, valid until the next request. Repeats itself over reconnects. -ESTALE: refused, or
 * the session was replaced (serial changed) before it was carried out.
 */
struct wire *request_begin(struct session *s);
int request_call(struct session *s, enum message_type type, uint64_t deadline_ns, struct wire *out,
	struct why *why);

#endif
