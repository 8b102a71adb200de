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

enum operation_kind {
	OPERATION_READ,
	OPERATION_WRITE,
	OPERATION_FETCH_ADD,
	OPERATION_COMPARE_SWAP,
};

struct operation {
	enum operation_kind kind;
	bool fence;               /* wait for the reads and atomics before it */
	struct plan left;         /* a copy: what has not been confirmed yet */
	struct plan next;         /* ... and what is not in a work request yet */
	uint64_t addr;            /* an atomic operation: of the word */
	uint64_t add_or_expected; /* what is added, or what must be there */
	uint64_t desired;         /* what is stored then */
	uint64_t *old;            /* where to put what was there; NULL is fine */
	size_t pause_bytes;       /* build no work request beyond this many bytes left */
	unsigned outstanding;     /* its work requests that are posted */
	uint64_t as_of;           /* lookup_as_of() when the program asked for it: what it means */
	uint64_t lease_epoch;     /* an atomic operation: to be sent in this one only; 0: in any */
	bool begun;               /* an atomic operation: its work request has been built */
	bool uncertain;           /* ... and posted, so that it may have been carried out */
	unsigned failures;        /* connections that broke on it */
	int status;               /* once it has completed: 0 or a negative errno */
	uint64_t tag;             /* the maker's */
	struct operation *following; /* started after it */
	struct iovec one_local;      /* room for lists of one piece */
	struct rmem_iovec one_remote;
};

/* Give a copy its lists. -EINVAL as plan_start(). */
int operation_plan(struct operation *op, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, struct errinfo *errinfo);
/* ... of one piece each, which are kept in the operation: it must not move. */
int operation_plan_one(struct operation *op, void *local, rmem_addr_t remote, size_t bytes,
	struct errinfo *errinfo);

/*
 * A copy of one piece that needs no checks, whose only work request is built: it has its piece, and the
 * bytes that are left, but no plan before operation_plan_again().
 */
static inline void operation_set_built(
	struct operation *op, void *local, rmem_addr_t remote, size_t bytes, uint64_t as_of)
{
	op->as_of = as_of;
	op->one_local = (struct iovec){ local, bytes };
	op->one_remote = (struct rmem_iovec){ remote, bytes };
	op->left.local = NULL;
	op->left.left = bytes;
	op->next.left = 0;
	op->pause_bytes = 0;
	op->outstanding = 1;
	op->lease_epoch = 0;
	op->begun = op->uncertain = false;
	op->failures = 0;
	op->status = 0;
}

static inline bool operation_is_unplanned(const struct operation *op)
{
	return op->left.left && !op->left.local;
}

/* It is to be repeated. */
void operation_plan_again(struct operation *op);

/* Is the address one for an atomic operation? 0 or -EINVAL. */
int operation_check_word(const struct operation *op, struct errinfo *errinfo);

static inline bool operation_is_copy(const struct operation *op)
{
	return op->kind <= OPERATION_WRITE;
}

/* All its work requests exist, as far as it may go now. */
static inline bool operation_is_built(const struct operation *op)
{
	return operation_is_copy(op) ? op->next.left <= op->pause_bytes : op->begun;
}

static inline bool operation_is_done(const struct operation *op)
{
	return operation_is_copy(op) ? op->left.left <= op->pause_bytes && !op->outstanding
				     : op->begun && !op->outstanding;
}

#endif
