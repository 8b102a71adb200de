/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests to the server over the session's control connection. All want control.
 *
 * A request whose reply did not come is kept: before the next one is sent its reply is awaited, or, on
 * a new connection, it is sent again with the same number. What it brought is then undone, since its
 * caller was told that it failed.
 */
#ifndef RMEM_CLIENT_CONTROL_REQUEST_H
#define RMEM_CLIENT_CONTROL_REQUEST_H

#include "client/control/session.h"
#include "common/message.h"

/* Connected, nothing pending, lease good: tries until the deadline. */
int request_ready(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo);

/* A request and its answer: message types of common/message.h. */
struct control_call {
	enum message_type type;
	uint64_t deadline_ns;
	message_encode_fn *encode; /* NULL: the request has no body */
	const void *request;
	message_decode_fn *decode; /* NULL: the answer has no body */
	void *reply;
	/*
	 * With control, connected and with a good lease: is the request still right? What it is about may be gone
	 * since the caller looked. It may change the request. NULL: no question.
	 */
	int (*check)(struct session *s, void *arg, struct errinfo *errinfo);
	void *arg;
};

/*
 * Make it, and take control for that. Repeats itself over reconnects. 0, what check returned, or the server's
 * refusal; -ESTALE: refused, or the session was replaced (serial changed) before it was carried out.
 */
int control_call(struct session *s, const struct control_call *call, struct errinfo *errinfo);

/* The same where the caller has control, and where it matters that the session is ready has seen to that. */
int control_call_locked(
	struct session *s, const struct control_call *call, struct errinfo *errinfo);

#endif
