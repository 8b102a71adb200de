/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One session with one rmemd, over as many connections as it takes.
 *
 * Locks, in the order they are taken:
 *	control	one control request at a time; connecting; what identifies the session
 *	buffers	registering local memory, and the protection domain it is registered in. The table of
 *		registered buffers changes with this one and the channel: either is enough to look
 *	channel	the send queue: whoever has it finds it empty and leaves it empty. Replacing the
 *		connection takes both, so either is enough to look at it
 *	table	the allocations and the lease's terms
 * The reply to a request is awaited without the channel, so that data and renewals go on while the
 * server is busy or stopped.
 *
 * A request whose reply did not come is kept: before the next one is sent its reply is awaited, or,
 * on a new connection, it is sent again with the same number. What it brought is then undone, since
 * its caller was told that it failed.
 */
#ifndef RMEM_CLIENT_SESSION_H
#define RMEM_CLIENT_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/allocations.h"
#include "client/buffers.h"
#include "client/transfer.h"
#include "client/turnstile.h"
#include "common/endpoint.h"
#include "common/message.h"
#include "common/target.h"
#include "common/why.h"

/* A request that was given a number and has not been answered. */
struct request {
	bool active;
	enum message_type type;
	uint32_t seq;
	uint64_t generation; /* of the connection it was sent on; 0: none yet */
	uint64_t sent_ns;
	uint64_t addr; /* of a FREE */
	size_t bytes;
	uint8_t body[MESSAGE_MAX];
};

struct session {
	struct target target;
	char *device; /* NULL: any */
	uint64_t timeout_ns;
	struct identity identity;
	int wake_fd;   /* wakes the keeper */
	int cancel_fd; /* ends every wait: closing */

	struct turnstile control;
	bool resumable; /* the server knows id and secret */
	uint8_t id[ID_SIZE], secret[ID_SIZE];
	uint64_t serial; /* changes when this process gets a new session: all before is stale */
	uint32_t seq;
	struct request pending;
	struct wire body; /* of the request being built, over body_bytes */
	uint8_t body_bytes[MESSAGE_MAX];

	struct turnstile channel;
	struct endpoint *endpoint;   /* NULL: not connected */
	atomic_int watch_fd;         /* its CM events, for the keeper; -1 */
	_Atomic uint32_t generation; /* of the connection; 0: never */
	struct transfer *transfer;
	uint64_t board_addr, board_value;
	uint32_t board_rkey;

	pthread_mutex_t buffers_lock;
	struct endpoint_domain domain; /* outlives connections; changes with the device only */
	struct buffers buffers;

	pthread_mutex_t table;
	struct allocations allocations;

	_Atomic uint32_t ttl_ms;
	_Atomic uint64_t lease_ns; /* until then we may touch remote memory */
};

/* Zeroed memory becomes a session that is not connected. 0, -ENOMEM, -EMFILE. */
int session_init(struct session *s, struct why *why);
void session_destroy(struct session *s); /* after a failed init too */
/* In a child after fork(): the device's objects are the parent's. */
void session_abandon(struct session *s);

/* control, at most until the deadline: 0 or -ETIMEDOUT. */
int session_lock(struct session *s, uint64_t deadline_ns, struct why *why);
void session_unlock(struct session *s);

/*
 * All below but the lease and channel functions want control.
 *
 * session_connect: one attempt to connect and to resume the session, or to open a new one if there
 * is none or the server has forgotten it (then everything is stale and serial changes).
 */
int session_connect(struct session *s, uint64_t deadline_ns, struct why *why);

/* Connected, nothing pending, lease good: tries until the deadline. */
int session_ready(struct session *s, uint64_t deadline_ns, struct why *why);

/*
 * Start a request: its body is encoded into the returned cursor. Then make the call: *out is the
 * reply's body, valid until the next request. Repeats itself over reconnects. -ESTALE: refused, or
 * the session was replaced (serial changed) before it was carried out.
 */
struct wire *session_begin(struct session *s);
int session_call(struct session *s, enum message_type type, uint64_t deadline_ns, struct wire *out,
	struct why *why);

/* The channel, for data; and for a short message that must not wait for more than one window. */
void session_channel_lock(struct session *s);
void session_channel_unlock(struct session *s);
void session_urgent_lock(struct session *s);

/* With the channel: is there a connection that works? */
bool session_connected(const struct session *s);

/*
 * Local memory to be used in place. Registering may take long, but holds up nothing except other
 * calls of these two, and coming back over another device.
 *
 * b has its bytes, and its start unless it is to be mapped. 0, -EINVAL, -ENOMEM.
 */
int session_add_buffer(struct session *s, struct buffer *b, bool map, struct why *why);
/* -EINVAL: no buffer starts there. */
int session_remove_buffer(struct session *s, uintptr_t start, struct why *why);

/* May remote memory be touched now? */
bool session_lease_good(const struct session *s);
/* A sign of life was sent then, and was acknowledged. */
void session_lease_extend(struct session *s, uint64_t sent_ns);
/* One-sided renewal. 0, -ECONNRESET, or -ESTALE if it is too late for that. */
int session_renew(struct session *s, struct why *why);

void session_wake_keeper(struct session *s);

#endif
