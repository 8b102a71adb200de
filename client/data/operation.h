/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One copy or atomic operation, from its start until it has completed, over as many connections as it
 * takes. Its maker keeps it, and the lists its plan refers to, where they are until then.
 */
#ifndef RMEM_CLIENT_DATA_OPERATION_H
#define RMEM_CLIENT_DATA_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "client/data/plan.h"

enum __attribute__((packed)) operation_kind {
	OPERATION_READ,
	OPERATION_WRITE,
	OPERATION_FETCH_ADD,
	OPERATION_COMPARE_SWAP,
};

struct operation {
	enum operation_kind kind;
	bool fence; /* wait for the reads and atomics before it */
	/*
	 * A copy whose only work request is on its way. It has its tag, as_of, result, the bases of one_local and
	 * one_remote, a status and no failures; the rest is unset before operation_plan_again().
	 */
	bool is_short;
	bool begun; /* an atomic operation: its work request has been built */
	bool once; /* never sent again after it may have been carried out; so is every atomic one */
	bool uncertain; /* ... and posted */
	bool is_journal; /* the library's own: it may touch what is no object, as records of a slab */
	bool timed;      /* it fails when it has not completed by deadline_ns */
	bool silent;     /* the program is told of a failure only */
	int status;      /* once it has completed: 0 or a negative errno */
	unsigned failures;      /* connections that broke on it */
	uint32_t reason;        /* ... and its reasons_add(); 0: nothing was said */
	uint64_t result;        /* bytes of a copy; or what an atomic operation has found */
	uint64_t tag;           /* the maker's */
	uint64_t as_of;         /* keys_as_of() when the program asked for it: what it means */
	struct iovec one_local; /* room for lists of one piece */
	struct rmem_iovec one_remote;
	struct operation *following; /* started after it */
	struct plan left;            /* a copy: what has not been confirmed yet */
	struct plan next;            /* ... and what is not in a work request yet */
	uint64_t addr;               /* an atomic operation: of the word */
	uint64_t
		add_or_expected; /* what is added, or what must be there; with slab: the record when it was planned */
	uint64_t desired;  /* what is stored then */
	struct slab *slab; /* is_journal, for one record, desired: of this slab, and */
	uint32_t
		slot; /* ... of this slot, which count as sent when it has completed; NULL: not for one */
	uint32_t unit;      /* of records and the data behind them: pipeline_next_unit(); 0: none */
	uint64_t *old;      /* where to put what was there; NULL is fine */
	size_t pause_bytes; /* build no work request beyond this many bytes left */
	unsigned outstanding; /* its work requests that are posted */
	uint64_t lease_epoch; /* an atomic operation: to be sent in this one only; 0: in any */
	uint64_t deadline_ns; /* if it is timed; on the boot clock */
};

/* Give a copy its lists. -EINVAL as plan_start(). */
int operation_plan(struct operation *op, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, struct errinfo *errinfo);
/* ... of one piece each, which are kept in the operation: it must not move. */
int operation_plan_one(struct operation *op, void *local, rmem_addr_t remote, size_t bytes,
	struct errinfo *errinfo);

/* A copy of one piece that needs no checks, and whose only work request is built. */
static inline void operation_set_short(struct operation *op, enum operation_kind kind, void *local,
	rmem_addr_t remote, size_t bytes, uint64_t as_of, uint64_t tag, bool silent)
{
	/* In the order of the struct: these are one store. */
	op->kind = kind;
	op->fence = false;
	op->is_short = true;
	op->begun = op->once = op->uncertain = op->is_journal = op->timed = false;
	op->silent = silent;
	op->status = 0;
	op->failures = 0;
	op->tag = tag;
	op->as_of = as_of;
	op->one_local.iov_base = local;
	op->one_remote.base = remote;
	op->result = bytes;
}

/* It has failed, or is going to when what is on its way has ended: no other reason counts any more. */
static inline void operation_fail(struct operation *op, int rc, uint32_t reason)
{
	op->status = rc;
	op->reason = reason;
}

/* A short one is to be repeated, or to be looked at. */
void operation_plan_again(struct operation *op);

/* Is the address one for an atomic operation? 0 or -EINVAL. */
int operation_check_word(const struct operation *op, struct errinfo *errinfo);

static inline bool operation_is_copy(const struct operation *op)
{
	return op->kind <= OPERATION_WRITE;
}

/* Never sent again after it may have been carried out. */
static inline bool operation_is_once(const struct operation *op)
{
	return op->once || !operation_is_copy(op);
}

/* All its work requests exist, as far as it may go now. */
static inline bool operation_is_built(const struct operation *op)
{
	if (op->is_short)
		return true;
	return operation_is_copy(op) ? op->next.left <= op->pause_bytes : op->begun;
}

static inline bool operation_is_done(const struct operation *op)
{
	if (op->is_short || op->outstanding)
		return false;
	return operation_is_copy(op) ? op->left.left <= op->pause_bytes : op->begun;
}

#endif
