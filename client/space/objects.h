/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small allocations: objects in slabs (common/size_class.h). A warm one is local: a slot from the thread's magazine,
 * and its record. Any thread.
 */
#ifndef RMEM_CLIENT_SPACE_OBJECTS_H
#define RMEM_CLIENT_SPACE_OBJECTS_H

#include <time.h>

#include "client/space/call.h"

/* An object as it is asked for. */
struct object_wish {
	unsigned size_class;
	uint32_t bytes; /* 1 to those of the class */
	uint64_t site;  /* object_record_site(); 0: unknown */
	void *caller;   /* the program's code that allocates, for RMEM_CHECK; NULL: unknown */
};

struct object {
	struct slab *slab;
	rmem_addr_t addr;
	bool zero; /* its bytes are known to be zero */
};

/* A slot for objects_hand_out(). Errors as rmem_alloc(). */
int objects_take(struct rmem *rm, unsigned size_class, uint64_t deadline_ns, slab_item *out,
	struct errinfo *errinfo);
/* ... of those that the session has: without a round trip. 0, or -EAGAIN: another slab is needed. */
int objects_take_here(struct rmem *rm, unsigned size_class, slab_item *out);
/* It was not handed out. */
__attribute__((noinline, cold)) void objects_put_back(struct rmem *rm, slab_item item);

/* Write zeroes to an object, or to a part of it. Errors as rmem_write(). */
int objects_zero(struct rmem *rm, rmem_addr_t addr, uint32_t bytes, uint64_t deadline_ns,
	struct errinfo *errinfo);

/* slab: that addr is in; caller: as in a wish. Errors as rmem_free(). */
int objects_free(struct rmem *rm, struct slab *slab, rmem_addr_t addr, void *caller,
	struct errinfo *errinfo);

/* Its object is freed, and nobody else reaches it: the slot is for others from now on. */
void objects_retire(struct rmem *rm, struct slab *slab, uint32_t slot, void *caller);

/* The slab was lost while an object of it was freed. */
__attribute__((noinline, cold)) void objects_freed_late(struct rmem *rm, struct slab *slab);

/*
 * The same where it takes neither a server nor an explanation: from the thread's magazines, or after a look into the
 * depot. false: it takes more than that, and nothing has changed.
 */
bool objects_free_warm(struct rmem *rm, rmem_addr_t addr);

/* quick_free() has freed an object of a slab whose state is rare. */
__attribute__((cold)) void objects_freed_rare(struct rmem *rm, struct slab *slab);
/* quick_alloc() has allocated one in this slot. false: the slab was lost meanwhile, and it was not. */
__attribute__((cold)) bool objects_allocated_rare(struct rmem *rm, slab_item item);

/* The slot is the program's from now on. false: its slab was lost meanwhile. */
bool objects_hand_out(
	struct rmem *rm, slab_item item, const struct object_wish *wish, struct object *out);

#endif
