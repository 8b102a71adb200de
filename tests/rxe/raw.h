/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer of rmemd that keeps to no rule: one connection on bare verbs, the control protocol written by
 * hand with common/message.h. Nothing of librmem is in it, so nothing checks what is sent: any bytes as
 * a message, any key, any address, any private data.
 *
 * A connection belongs to one thread. Everything waits for a condition, at most for RAW_LIMIT_NS.
 * ERRORS: 0 or a negative errno; -ECONNRESET: the server cut the connection; -ETIMEDOUT: the limit.
 */
#ifndef RMEM_TESTS_RXE_RAW_H
#define RMEM_TESTS_RXE_RAW_H

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/message.h"

#define RAW_LIMIT_MS 90000 /* as RIG_LIMIT_MS */
#define RAW_LIMIT_NS (RAW_LIMIT_MS * 1000ULL * 1000)
#define RAW_DATA_BYTES ((size_t)64 << 10) /* what one access can move */

struct raw {
	struct rdma_event_channel *channel;
	struct rdma_cm_id *id;
	struct ibv_pd *pd;
	struct ibv_comp_channel *notify;
	struct ibv_cq *cq;
	uint8_t *memory; /* RAW_RECEIVES messages, one to send from, RAW_DATA_BYTES */
	struct ibv_mr *mr;
	bool established;
	bool gone;         /* the server disconnected, or our queue pair failed */
	uint32_t seq;      /* of the last request */
	unsigned inbox[8]; /* bytes of messages that have arrived, oldest first */
	unsigned slots[8]; /* and the buffers they are in */
	unsigned ninbox;
	bool sent; /* a completion of our own arrived: */
	enum ibv_wc_status status;
	struct preamble answer; /* what the server's preamble said */
	bool has_answer;
};

struct raw_attr {
	uint8_t purpose;          /* 0: PURPOSE_SESSION */
	const void *private_data; /* NULL: a correct preamble */
	uint8_t private_data_len;
	bool no_receives; /* never post a receive: every reply finds us not ready */
};

/*
 * Connect to rmemd on RMEM_HOST. attr may be NULL. When the server refuses, -ECONNREFUSED, and *out is
 * set all the same: it holds the server's preamble, and must be closed.
 */
int raw_connect(uint16_t port, const struct raw_attr *attr, struct raw **out);
void raw_close(struct raw *r); /* NULL is fine */

/* Any bytes as a message; returns when the device has delivered it. */
int raw_send(struct raw *r, const void *bytes, size_t n);
/* The same, without waiting for anything. At most two may be on their way. */
int raw_send_nowait(struct raw *r, const void *bytes, size_t n);

/* The next message of the server, in a buffer that is good until the next call. */
int raw_receive(struct raw *r, struct wire *out);

/* One request with the next sequence number; body NULL: none. Its reply, behind the header. A refusal is its status. */
int raw_request(struct raw *r, enum message_type type, const struct wire *body);
int raw_reply(struct raw *r, enum message_type type, struct wire *out);
/* Both. */
int raw_call(struct raw *r, enum message_type type, const struct wire *body, struct wire *out);

/* 0 when the server has ended the connection within the limit. */
int raw_wait_gone(struct raw *r, uint64_t limit_ns);

/* Where reads land and writes come from. */
uint8_t *raw_data(struct raw *r);

/* One access, any key, any address: how it ended. */
enum ibv_wc_status raw_access(
	struct raw *r, enum ibv_wr_opcode opcode, uint64_t addr, size_t bytes, uint32_t rkey);

/* A SEND of a message of n bytes that invalidates a key of the server. */
enum ibv_wc_status raw_send_with_inv(struct raw *r, const void *bytes, size_t n, uint32_t rkey);

#endif
