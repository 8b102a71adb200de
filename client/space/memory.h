/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of the server's, borrowed: rmem_alloc() behind its arguments, of what is no object. Any thread. */
#ifndef RMEM_CLIENT_SPACE_MEMORY_H
#define RMEM_CLIENT_SPACE_MEMORY_H

#include "client/control/site.h"
#include "client/space/call.h"

/* How much is wanted, and where the program asks for it. */
struct memory_wish {
	size_t bytes;
	struct placement placement;
	struct slab *
		slab; /* it is for this one, which gets its address, and has no call site; else NULL */
	struct stack stack;
	/* of the stack, while it is being described; else NULL */
	struct site_description *description;
};

/* The server's number for a stack; 0: it has none. Errors as rmem_alloc(). */
int memory_site(struct rmem *rm, const struct stack *stack, uint64_t deadline_ns, uint32_t *out,
	struct errinfo *errinfo);

/*
 * The stack of the program's call that this thread carries out: as stack_capture(), or that of another thread
 * (client/space/locals.h).
 */
void memory_stack_here(struct stack *out, void *caller);

/* The number of that stack; 0 also if it cannot be had. */
uint32_t memory_site_here(struct rmem *rm, void *caller, uint64_t deadline_ns);

/* ... if it is known, and no other thread asks the server: without waiting. */
bool memory_known_site(struct rmem *rm, const struct stack *stack, uint32_t *out);

/* Errors as rmem_alloc(). */
int memory_alloc(struct rmem *rm, struct memory_wish *wish, uint64_t deadline_ns, rmem_addr_t *out,
	struct errinfo *errinfo);

#endif
