/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Local memory registered for the time of one operation: long pieces that the application did not have
 * registered. One is shared by the work requests of its operation, and goes with it at the latest:
 * afterwards the application may have unmapped the memory, and mapped other memory there.
 *
 * One thread: the connection's sender.
 */
#ifndef RMEM_CLIENT_DATA_TEMP_MRS_H
#define RMEM_CLIENT_DATA_TEMP_MRS_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

#define TEMP_MRS 32

struct temp_mr {
	struct ibv_mr *mr;
	uintptr_t start, end;
	const void *owner; /* the operation */
	uint64_t used;     /* number of the last work request that uses it */
};

struct temp_mrs {
	struct temp_mr items[TEMP_MRS];
	unsigned count;
	uint64_t made; /* ever */
};

/* What a work request wants registered. */
struct temp_mr_request {
	struct ibv_pd *pd;
	uintptr_t start, end,
		limit; /* what follows end up to limit is taken in too, within bounds */
	bool writable; /* the device will write there; else the memory may be read-only */
	const void *owner;
	uint64_t number; /* of the work request */
	uint64_t done;   /* all before this one have completed */
};

/*
 * 0; -EAGAIN: all are in use; -ENOMEM: it cannot be done (the limit on locked memory, or memory that
 * cannot be pinned, but can be copied); -EFAULT: not all of it, from start to end, is mapped.
 */
int temp_mrs_get(struct temp_mrs *p, const struct temp_mr_request *request, struct ibv_mr **out);

/* The operation has completed / nothing is outstanding: let go of its own, or all. */
void temp_mrs_release(struct temp_mrs *p, const void *owner);
void temp_mrs_clear(struct temp_mrs *p);

#endif
