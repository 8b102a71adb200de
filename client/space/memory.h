/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of the server's, borrowed and given back: rmem_alloc() and rmem_free() behind their arguments. Any thread. */
#ifndef RMEM_CLIENT_SPACE_MEMORY_H
#define RMEM_CLIENT_SPACE_MEMORY_H

#include "client/control/site.h"
#include "client/space/call.h"

/* How much is wanted, and where the program asks for it. */
struct memory_wish {
	size_t bytes;
	struct placement placement;
	struct slab *
		slab; /* ... for this one, which gets its address; it has no call site. NULL: an allocation */
	struct stack stack;
	/* of the stack, while it is being described; else NULL */
	struct site_description *description;
};

/* The server's number for a stack; 0: it has none. Errors as rmem_alloc(). */
int memory_site(struct rmem *rm, const struct stack *stack, uint64_t deadline_ns, uint32_t *out,
	struct errinfo *errinfo);

/* Errors as rmem_alloc(). */
int memory_alloc(struct rmem *rm, struct memory_wish *wish, uint64_t deadline_ns, rmem_addr_t *out,
	struct errinfo *errinfo);

/* addr: of an allocation, or of a slab. Errors as rmem_free(). */
int memory_free(struct session *s, rmem_addr_t addr, uint64_t deadline_ns, struct errinfo *errinfo);

#endif
