/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's side of one connection to rmemd: librmem's, and rmemctl's.
 *
 * ASSUMPTIONS	Two roles may run at once, each in one thread at a time: the sender (endpoint_send,
 *		_post, _poll, _reap, _wait, _put_word) and the receiver (endpoint_receive). A thread that calls
 *		endpoint_send or _put_word finds nothing of the others in the send queue and leaves nothing
 *		there, unless its time was over first: then the next of these two waits for that, too.
 *		endpoint_call plays both. Waiting threads look after the connection manager's events;
 *		when nobody waits, somebody calls endpoint_watch() when endpoint_fd() is readable.
 * ERRORS	-ECONNRESET: the connection is over (endpoint_broken() is then true, for ever);
 *		-ETIMEDOUT: the deadline passed, the connection may still be good;
 *		-ECANCELED: cancel_fd became readable.
 *
 * Deadlines are on clock_boot_ns(). A wait polls the completion queue for a while before it sleeps.
 */
#ifndef RMEM_COMMON_ENDPOINT_H
#define RMEM_COMMON_ENDPOINT_H

#include <errno.h>
#include <infiniband/verbs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/domain.h"
#include "common/heap.h"
#include "common/message.h"
#include "common/target.h"
#include "common/errinfo.h"
#include "common/wire.h"

#define ENDPOINT_SGE_MAX 32 /* local pieces of one work request, where the device has as many */

struct endpoint;

/* How every endpoint begins: what the data path looks at each time, without a call. */
struct endpoint_port {
	struct ibv_qp *qp;
	struct ibv_cq *cq; /* of what is sent */
	uint32_t inline_bytes;
	atomic_bool broken;
};

struct endpoint_attr {
	const struct target_path *paths; /* to try, in order */
	int npaths;
	const char *device; /* NULL: the one routed to the server */
	enum purpose purpose;
	uint64_t deadline_ns;
	int cancel_fd; /* -1: none. Used by every later wait too; must outlive the endpoint */
	struct domain *domain; /* used if the connection goes over its device; else a new one */
	unsigned send_depth;   /* work requests that the caller may have outstanding; 0: 1 */
	struct heap *heap; /* for the endpoint: messages hold remote addresses. It outlives it */
};

/*
 * Connect and check that it is an rmemd.
 *	-ENODEV -EHOSTUNREACH -ECONNREFUSED -ECONNRESET -ETIMEDOUT -EPROTO -EUSERS -ENOMEM
 *	-ECANCELED, or what the server's rejection says
 */
int endpoint_connect(
	const struct endpoint_attr *attr, struct endpoint **out, struct errinfo *errinfo);

/* Disconnects. NULL and half-built are fine. No other thread may be inside. */
void endpoint_destroy(struct endpoint *ep);

/*
 * One request and its reply. body holds the encoded request without the header; *out reads the
 * reply behind its header and is valid until the next endpoint_send(). A refusal returns its
 * (negative) status, with the server's reason in why, and *out is not written. After -ETIMEDOUT and -ECANCELED
 * the answer may still come.
 */
int endpoint_call(struct endpoint *ep, enum message_type type, uint32_t seq,
	const struct wire *body, uint64_t deadline_ns, struct wire *out, struct errinfo *errinfo);

/*
 * The two halves of endpoint_call(). endpoint_send() waits until it has arrived; after -ETIMEDOUT or -ECANCELED it
 * is on its way. -EBUSY: one before it is, and this one was not sent. *refused tells a status of the server from
 * one of our own.
 */
int endpoint_send(struct endpoint *ep, enum message_type type, uint32_t seq,
	const struct wire *body, uint64_t deadline_ns, struct errinfo *errinfo);
int endpoint_receive(struct endpoint *ep, enum message_type type, uint32_t seq,
	uint64_t deadline_ns, struct wire *out, bool *refused, struct errinfo *errinfo);

/*
 * Post a list of work requests with one doorbell; the caller signals at least the last. 0; or
 * -ECONNRESET, and *bad is the first that was not posted: those before it will complete, flushed. -EPERM: the
 * same, and no other connection of this process will do: its credentials are not those it had.
 */
int endpoint_post(struct endpoint *ep, struct ibv_send_wr *list, struct ibv_send_wr **bad,
	struct errinfo *errinfo);

/*
 * Wait for at least one completion of posted work requests; returns how many of wc[] are filled (max 1 says that
 * there is no other: this one is polled for longer, see common/poll_budget.h). If none comes within the limit the
 * connection is broken on purpose, so that they all come, flushed.
 */
int endpoint_reap(struct endpoint *ep, struct ibv_wc *wc, int max, uint64_t limit_ns);

/*
 * The same, but nothing is broken if none comes by the deadline, or within the limit: 0. -EINTR, if that is wanted,
 * when a signal handler has run while this slept.
 */
int endpoint_wait(struct endpoint *ep, struct ibv_wc *wc, int max, uint64_t deadline_ns,
	uint64_t limit_ns, bool interruptible);

/* The same without waiting: 0 if there is none. */
int endpoint_poll(struct endpoint *ep, struct ibv_wc *wc, int max);

/*
 * Completions for those who wait elsewhere: the descriptor is readable after one came that came after
 * endpoint_arm(). endpoint_disarm() takes it back, and what it has announced.
 */
int endpoint_completion_fd(const struct endpoint *ep);
int endpoint_arm(struct endpoint *ep);
void endpoint_disarm(struct endpoint *ep);

/*
 * Write one 64-bit word in host byte order, and wait until it is there. 0, -EACCES, and what endpoint_send()
 * returns.
 */
int endpoint_put_word(struct endpoint *ep, uint64_t addr, uint32_t rkey, uint64_t value,
	uint64_t deadline_ns, struct errinfo *errinfo);

/* Stop all traffic: every posted work request completes with an error. */
void endpoint_break(struct endpoint *ep);

static inline const struct endpoint_port *endpoint_port(const struct endpoint *ep)
{
	return (const struct endpoint_port *)ep;
}

static inline bool endpoint_broken(const struct endpoint *ep)
{
	return atomic_load_explicit(&endpoint_port(ep)->broken, memory_order_relaxed);
}

/* Readable when the connection manager has something to say. */
int endpoint_fd(const struct endpoint *ep);
/* Handle what it has to say; 0 or -ECONNRESET. Any thread. */
int endpoint_watch(struct endpoint *ep);

/* The one it uses, which it holds. */
struct domain *endpoint_domain(const struct endpoint *ep);

/* What one work request can carry, and whether the local device can send atomics at all. */
static inline uint32_t endpoint_inline_bytes(const struct endpoint *ep)
{
	return endpoint_port(ep)->inline_bytes;
}

uint32_t endpoint_write_pieces(const struct endpoint *ep); /* 1 … ENDPOINT_SGE_MAX */
uint32_t endpoint_read_pieces(const struct endpoint *ep);
bool endpoint_has_atomics(const struct endpoint *ep);
/*
 * Must a read or atomic wait until the writes before it have completed? Soft-RoCE answers a write that was
 * repeated with the number of the last request it has executed (duplicate_request() in Linux,
 * drivers/infiniband/sw/rxe/rxe_resp.c), and takes that for the answer of a short read or an atomic
 * (COMPST_WRITE_SEND in rxe_comp.c), which then succeeds without its data. Only where packets are lost:
 * within a host none are.
 */
bool endpoint_keeps_apart(const struct endpoint *ep);

/*
 * Can the queue pair still send? A system call. When soft-RoCE cannot make sense of an answer to a read or an
 * atomic, as of one that the network has doubled, it completes that with success and without its data, and then
 * puts the queue pair into error (COMPST_ERROR in rxe_comp.c). Nothing else tells.
 */
bool endpoint_is_ready(const struct endpoint *ep);
uint32_t endpoint_send_depth(const struct endpoint *ep);            /* at most what was asked for */
const char *endpoint_peer(const struct endpoint *ep);               /* "10.0.0.1:7471" */
const struct target_path *endpoint_path(const struct endpoint *ep); /* that led there */

/* Has the kernel refused what was asked for because of who asked? (The result of ibv_post_send().) */
static inline bool endpoint_is_refusal(int error)
{
	return error == EACCES || error == EPERM;
}

/* -EPERM, and a sentence about it. */
int endpoint_explain_refusal(struct errinfo *errinfo);

#endif
