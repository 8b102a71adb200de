/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations on their way over one connection: cut into work requests, handed to the device in lists,
 * completed in the order they were started.
 *
 * How local bytes travel, in the order of preference:
 *	inline		a write that the device carries inside the request: no memory is looked at
 *			later
 *	in place	pieces inside registered buffers, whatever their length: no copy
 *	registered	long pieces elsewhere are registered for the operation
 *	bounced		what is left is copied through a little registered memory
 * Pieces that are neighbours on the remote side share a request where they travel alike. Of the requests
 * that are handed over together one in so many is signaled: a queue pair works in order, so its
 * completion stands for those before it, and one that fails completes in any case.
 *
 * One thread at a time, which is the connection's sender (common/endpoint.h).
 */
#ifndef RMEM_CLIENT_DATA_PIPELINE_H
#define RMEM_CLIENT_DATA_PIPELINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/base/grace.h"
#include "client/data/bounce.h"
#include "client/control/buffers.h"
#include "client/data/operation.h"
#include "client/data/reasons.h"
#include "client/data/temp_mrs.h"
#include "client/slabs/depot.h"
#include "common/clock.h"
#include "common/endpoint.h"
#include "common/errinfo.h"

#define PIPELINE_DEPTH 128 /* work requests, built and not completed; a power of 2 */
#define PIPELINE_BATCH 32  /* ... of a queue that are posted without being asked for */

/*
 * Nothing completes for so long: the connection is given up. The device's own retries end sooner. A call that
 * waits for less looks this often whether it is so.
 */
#define PIPELINE_PROGRESS_NS (10 * NSEC_PER_SEC)
#define PIPELINE_LOOK_NS (5 * NSEC_PER_SEC)
#define PIPELINE_FOREVER UINT64_MAX

enum way { WAY_INLINE, WAY_IN_PLACE, WAY_TEMP_MR, WAY_BOUNCED, WAYS };

/* Counted by one thread, read by any. */
struct traffic {
	_Atomic uint64_t requests[WAYS], bytes[WAYS];
	_Atomic uint64_t registrations, doorbells, atomics;
};

static inline void traffic_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

static inline uint64_t traffic_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Its wr.next is the next of the ring's, but while a list is posted; its wr.sg_list is sges. */
struct work {
	struct operation *op;
	/* where its bytes begin: a bounced read is handed out by walking it again */
	struct plan at;
	size_t bytes;
	enum way way;
	uint8_t *bounced;     /* its part of the bounce memory; NULL: none */
	uint64_t bounce_head; /* after it was taken */
	struct ibv_send_wr wr;
	struct ibv_sge sges[ENDPOINT_SGE_MAX];
};

/* The first work request that failed on a connection. */
struct failure {
	struct operation *op;
	uint64_t remote;
	size_t bytes;
	enum ibv_wc_status status;
	uint32_t vendor_err;
};

struct pipeline {
	struct endpoint *ep;           /* NULL: not connected */
	const struct buffers *buffers; /* registered, on the endpoint's domain */
	struct operation *first;       /* the oldest that has not completed */
	struct operation *building;    /* the first that is not built; NULL: all are */
	struct operation *last;
	bool fence;     /* the next work request gets one */
	uint64_t depth; /* of the connection, at most PIPELINE_DEPTH */
	/* short operations may be built up to here, until something else is done; 0: none */
	uint64_t short_end;
	uint64_t long_end; /* work requests from here on are of short operations, and not bounced */
	unsigned once;     /* built and not posted, of operations that are sent once */
	uint32_t units;    /* so far */
	/* The record that was given up last: data of its unit is not sent. Unit 0: none was. */
	uint32_t failed_unit, failed_reason;
	int failed_status;
	/* no operation ends earlier by its own; PIPELINE_FOREVER: none has one */
	uint64_t deadline_ns;
	uint64_t built, posted, done; /* work requests: done <= posted <= built */
	uint64_t writes_end;          /* behind the last write that was built */
	uint64_t waited_for; /* the oldest on its way, counted from 1; 0: nobody has looked */
	uint64_t waited_since_ns;
	struct grace_member turn; /* operations begun and ended */
	bool unsettled; /* the server may still carry out what was sent on the connection before: none ends until the next */
	bool carried;   /* the next to be added has begun already, the short way */
	bool apart;     /* endpoint_keeps_apart() */
	bool flushed;   /* nothing more comes of the connection */
	bool interruptible; /* a signal handler that has run ends progress_advance(): -EINTR */
	struct bounce bounce;
	struct ibv_mr *bounce_mr;
	struct domain *domain; /* that bounce_mr is registered in */
	struct temp_mrs temp_mrs;
	struct failure failure;  /* op NULL: none */
	struct reasons *reasons; /* of what fails here; NULL: nobody asks */
	uint32_t broke;          /* on which the connection broke; 0: it has not been told */
	struct traffic traffic;
	struct work works[PIPELINE_DEPTH];
};

/* Zeroed memory becomes a pipeline that is not connected. 0 or -ENOMEM. */
int pipeline_init(struct pipeline *p, struct heap *heap);
void pipeline_destroy(struct pipeline *p); /* detached; after a failed init too */

/* Use this connection from now on, with nothing outstanding. 0, -ENOMEM or what the device says. */
int pipeline_attach(struct pipeline *p, struct endpoint *ep, struct errinfo *errinfo);

/*
 * Let go of the connection, which is destroyed here: what is left of every operation starts again with
 * the next. Atomic operations that may have been carried out complete with -EREMOTEIO instead.
 */
void pipeline_detach(struct pipeline *p);

/* Detached: nothing is to be repeated, all that is left fails, for this reason. */
void pipeline_fail(struct pipeline *p, int rc, const struct errinfo *errinfo);

/* The one that had begun the short way is not added: it has failed. */
void pipeline_drop_carried(struct pipeline *p);

/* Start an operation: its lists were checked. */
void pipeline_add(struct pipeline *p, struct operation *op);

static inline void pipeline_link(struct pipeline *p, struct operation *op)
{
	op->following = NULL;
	if (p->last)
		p->last->following = op;
	else
		p->first = op;
	p->last = op;
}

/* ... a short one that is built, behind others that are. */
static inline void pipeline_append(struct pipeline *p, struct operation *op)
{
	grace_add(&p->turn.begun, 1);
	pipeline_link(p, op);
}

/* The one to be built next. The compiler is not to compute its address again at each use. */
static inline struct work *pipeline_next_work(struct pipeline *p)
{
	struct work *work = &p->works[p->built % PIPELINE_DEPTH];

	__asm__("" : "+r"(work));
	return work;
}

/* A work request was built. */
static inline void pipeline_count(struct pipeline *p, enum way way, size_t bytes)
{
	traffic_add(&p->traffic.requests[way], 1);
	traffic_add(&p->traffic.bytes[way], bytes);
}

/* Build this one next. A fence before it stays until there is a work request that it can go with. */
void pipeline_build_from(struct pipeline *p, struct operation *op);

/*
 * A number for records and the operation that they are in front of: if one of the records fails, so does the operation,
 * which is not sent without it.
 */
static inline uint32_t pipeline_next_unit(struct pipeline *p)
{
	p->units += p->units == UINT32_MAX ? 2 : 1;
	return p->units;
}

/* It has failed: what is on its way ends, the rest is not sent. */
void pipeline_give_up(struct pipeline *p, struct operation *op);

/*
 * Operations whose time is over fail with -ETIMEDOUT; if one of them is on its way, the connection is broken for
 * it, and the others begin anew with the next. Those that are sent once, and may have been carried out: -EREMOTEIO.
 * True: some have failed, and complete when those before them have; errinfo, which says what has kept them so far, or
 * nothing, says why then.
 */
bool pipeline_expire(struct pipeline *p, uint64_t now_ns, struct errinfo *errinfo);

/* Those at the head that are done leave, in order. */
void pipeline_complete(struct pipeline *p);

/* Hand what was built to the device with one doorbell. 0, -ECONNRESET, or -EPERM (endpoint_post()). */
int pipeline_post(struct pipeline *p, struct errinfo *errinfo);

/*
 * Take in completions: those that are there, or wait for the first until the deadline. Operations complete.
 * -ECONNRESET: the connection broke, and nothing more will come; p->failure says on what. -EINTR: it is
 * interruptible, and a signal handler has run.
 */
int pipeline_poll(struct pipeline *p, uint64_t now_ns);
int pipeline_wait(struct pipeline *p, uint64_t deadline_ns, bool interruptible);

/* The connection is broken: take in all that still completes. Waits for it once. */
void pipeline_flush(struct pipeline *p);

static inline bool pipeline_is_idle(const struct pipeline *p)
{
	return p->posted == p->done;
}

#endif
