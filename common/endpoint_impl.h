/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the two halves of an endpoint share: endpoint.c is the connection and its work requests,
 * endpoint_message.c what is said over it.
 */
#ifndef RMEM_COMMON_ENDPOINT_IMPL_H
#define RMEM_COMMON_ENDPOINT_IMPL_H

#include "common/cq.h"
#include "common/endpoint.h"
#include "common/handshake.h"

#define RECEIVE_BUFFERS 2UL /* one in the caller's hands, one posted */
#define ENDPOINT_BUFFER_BYTES ((RECEIVE_BUFFERS + 1) * MESSAGE_MAX)

struct endpoint {
	struct endpoint_port port; /* first: endpoint_port() */
	struct handshake shake;
	struct domain *domain;
	struct ibv_mr *mr; /* over buffers */
	struct heap *heap;
	uint8_t *buffers; /* RECEIVE_BUFFERS, then one to send from */
	uint32_t send_depth;
	struct cq send, receive;
	uint32_t write_pieces, read_pieces;
	bool has_atomics;
	bool keeps_apart;
	int held;         /* receive buffer in the caller's hands, or -1 */
	bool sending;     /* the last message was posted, and nobody has seen its completion */
	uint64_t sent_ns; /* then */
	struct target_path path;
	bool connected;
};

/* Buffers for messages, once there is a domain. 0, or what the device says. */
int endpoint_create_buffers(struct endpoint *ep, struct errinfo *errinfo);

/* Hand them to the queue pair, once there is one. */
int endpoint_post_receives(struct endpoint *ep);

/* At least one completion, or -ETIMEDOUT, -ECANCELED, -EIO. */
int endpoint_completions(struct endpoint *ep, struct cq *q, struct ibv_wc *wc, int max,
	uint64_t deadline_ns, int cancel_fd);

/* The connection is over: -ECONNRESET, and says so. */
int endpoint_reset(const struct endpoint *ep, struct errinfo *errinfo);

/* An errno of the device while doing what; 0 stays 0. */
int endpoint_explain(int rc, const char *what, struct errinfo *errinfo);

#endif
