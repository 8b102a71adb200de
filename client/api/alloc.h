/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What rmem_alloc() and rmem_free() do behind their arguments, for all calls that allocate and free: those that wait,
 * and those of queues (calls.h). Any thread.
 */
#ifndef RMEM_CLIENT_API_ALLOC_H
#define RMEM_CLIENT_API_ALLOC_H

#include "client/api/placement.h"
#include "client/space/objects.h"

/* What rmem_alloc() is asked for, and from where. */
struct alloc_call {
	size_t bytes;
	struct rmem_alloc_attr attr;
	struct placement placement;
	unsigned size_class; /* 0: a block */
	void *caller, *frame;
	const struct stack *stack; /* of the caller; NULL: the thread that carries it out has it */
};

static inline struct alloc_call alloc_call_for(size_t bytes, void *caller, void *frame)
{
	return (struct alloc_call){
		.bytes = bytes, .attr = RMEM_ALLOC_ATTR_INIT, .caller = caller, .frame = frame
	};
}

/* Check it, with the program's attr, which may be NULL. -EINVAL, -E2BIG. */
int alloc_read(struct rmem *rm, const struct rmem_alloc_attr *attr, struct alloc_call *call,
	struct errinfo *errinfo);

/* Errors as rmem_alloc(). */
int alloc_carry_out(struct rmem *rm, const struct alloc_call *call, uint64_t deadline_ns,
	rmem_addr_t *out, struct errinfo *errinfo);

/* The same without a round trip, in the caller's thread; its stack is known. false: it takes one, or may fail. */
bool alloc_here(struct rmem *rm, const struct alloc_call *call, rmem_addr_t *out);

/* Errors as rmem_free(). */
int alloc_release(struct rmem *rm, rmem_addr_t addr, void *caller, uint64_t deadline_ns,
	struct errinfo *errinfo);
/* May that record where it was called, or report it? */
bool alloc_tells_site(struct rmem *rm, rmem_addr_t addr);
/* Does that take no round trip? */
bool alloc_releases_here(const struct rmem *rm, rmem_addr_t addr);

/* rmem_alloc() and rmem_free() where they are not warm. frame: where the frame of what the program has called ends. */
int alloc_long(struct rmem *rm, size_t bytes, const struct rmem_alloc_attr *attr, rmem_addr_t *out,
	void *caller, void *frame);
int free_long(struct rmem *rm, rmem_addr_t addr, void *caller);

/* ... and where they are (alloc_quick.c), for calls that have another long way. false: they are not, nothing has changed. */
bool alloc_warm(struct rmem *rm, size_t bytes, void *caller, void *frame, rmem_addr_t *out);
bool free_warm(struct rmem *rm, rmem_addr_t addr);

#endif
