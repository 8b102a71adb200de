/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One RC queue pair of a client: message buffers, request and reply, and the one way it ends. A session has one that
 * carries its requests (PURPOSE_SESSION), and channels for data.
 *
 * A peer has one request outstanding. Two receive and two send buffers are all that it can make us
 * keep; a peer that sends more than that is cut off.
 *
 *	ACCEPTING ── established ──▶ OPEN ── any failure, expiry, goodbye ──▶ CLOSING ── torn down ──▶ gone
 *
 * CLOSING: the queue pair is in error. It is torn down in slices (server/grant/teardown.h). The event loop only.
 */
#ifndef RMEM_SERVER_NET_CONNECTION_H
#define RMEM_SERVER_NET_CONNECTION_H

#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"
#include "server/base/wait.h"
#include "server/net/net.h"

#define CONNECTION_RECVS 2
#define CONNECTION_SENDS 2
#define CONNECTION_SPARES 16

enum connection_state { CONNECTION_ACCEPTING, CONNECTION_OPEN, CONNECTION_CLOSING };

/* A COPY, or a FILL, that goes on. */
struct transfer {
	struct place dst, src; /* src: of a COPY */
	uint64_t bytes, done;
	bool fill;
	uint8_t byte; /* of a FILL */
};

/* A request that is answered later, when its wait ends. At most one. */
struct pending {
	bool active;
	uint8_t type;
	uint32_t seq;
	struct wait wait;
	union {
		/* ALLOC, HELLO: wait for room, since then on the boot clock */
		struct {
			uint64_t since_ns;
			bool taken; /* struct wish */
			union {
				struct alloc_request alloc;
				struct hello_request hello;
			};
		};
		/* DETACH, UNSHARE: wait for grants on the allocation, or on the object there, to end */
		struct {
			const struct allocation *allocation;
			uint64_t offset;
		};
		struct transfer transfer; /* COPY, FILL: waits for its turn */
		struct session *session;  /* HELLO, JOIN: waits for connections to be gone */
	};
};

struct allocation;
struct grantee;
struct session;

struct connection {
	struct net *net;
	struct device *device;
	struct rdma_cm_id *id;
	struct ibv_cq *cq;
	unsigned cq_events; /* taken from the channel, not yet acknowledged */
	uint8_t *buffers;
	struct ibv_mr *buffers_region;
	enum connection_state state;
	enum purpose purpose;
	uint32_t number;         /* the client's, of a channel; 0: none */
	struct grantee *grantee; /* its session; NULL before HELLO or JOIN, and for observers */
	struct wait grantee_closing, grantee_gone; /* the session's, on the two lists below */
	struct grant *grants;                      /* all of them, the heartbeat line's too */
	struct grant *heartbeat;
	struct ibv_mw *spares[CONNECTION_SPARES]; /* unbound windows to use again */
	unsigned nspares;
	unsigned replies; /* so far */
	struct pending pending;
	struct wait *closing;  /* waits for this connection to be aborted */
	struct wait *gone;     /* waits for it to be torn down */
	unsigned revoke_round; /* so many rounds over its grants have left some */
	bool warned;           /* that windows cannot be revoked */
	bool retry_next_tick;  /* the next round waits for a tick */
	bool left; /* an event may still name it: it stays CLOSING, and is never freed */
	unsigned invalidating;         /* windows whose invalidation was posted */
	uint64_t opened_ns, active_ns; /* boot time */
	char *report;                  /* what the peer's REPORT_READs read from */
	size_t report_bytes;
	char peer[48];
	struct connection **list; /* the one it is in */
	struct connection *prev, *next;
};

/* Build a queue pair on the id of a CONNECT_REQUEST and accept. On failure the id is still open. */
int connection_accept(struct net *net, struct device *d, struct rdma_cm_id *id,
	const struct rdma_conn_param *asked, enum purpose purpose);

void connection_established(struct connection *c);

/* From the list it is in to the end of another. */
void connection_move(struct connection *c, struct connection **list);

/* The request is answered when the wait on that list ends; what else is to be known then is in c->pending. */
void connection_wait(struct connection *c, const struct header *h, struct wait **list,
	void (*done)(struct wait *w, int result));
/* The connection whose pending request has that wait. */
struct connection *connection_of_wait(struct wait *w);
/* The request is answered now, or waits again. */
struct header connection_take_pending(struct connection *c);

/* Begin the end: after this no message is sent or handled. Safe to call again. */
void connection_abort(struct connection *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Peers that connect and then say nothing, and observers that ask nothing any more. */
void connections_drop_idle(struct net *net, uint64_t now_ns);

/* rmemd stops: all that are no channels of sessions; those end with their session's control connection. */
void connections_abort_all(struct net *net);

/*
 * The end of a CLOSING connection without grants: its objects go. Its memory stays for those who wait on c->gone, until
 * connection_free().
 */
void connection_close(struct connection *c);
void connection_free(struct connection *c);

/* What the device has finished; a bounded part of it, if there is no end to it. */
void connection_poll_device(struct device *d);

/* A reply under construction: begin, put the body's fields into the cursor, send. */
struct reply {
	struct wire body;
};

void connection_reply_begin(
	struct connection *c, uint8_t type, uint32_t seq, int32_t status, struct reply *r);

/* bind, if not NULL, goes to the device in front of the reply, in one post. */
int connection_reply_send(struct connection *c, struct reply *r, struct ibv_send_wr *bind);

/* A reply without fields: status 0, or a refusal with its reason. */
int connection_reply_status(
	struct connection *c, uint8_t type, uint32_t seq, int32_t status, const char *reason);

/* Post the invalidation of the grant's window; its completion is a net_events.invalidated. */
int connection_post_invalidate(struct connection *c, struct grant *g, struct ibv_send_wr *wr);

#endif
