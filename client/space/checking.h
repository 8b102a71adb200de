/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * $RMEM_CHECK: finding accesses that are too long or too late, which the library's own bounds check does not see:
 * those of other sessions, and by addresses that the program has computed.
 *
 * full: behind each small object is a canary up to the end of its slot; so the canary of the slot before is in front of
 * it. A freed slot is filled with a pattern and kept from reuse in a quarantine, in the order of freeing. Canary and
 * pattern are looked at when the object is freed, and when the slot is used again or the session is closed. Frees and
 * accesses that the library refuses are reported too.
 *
 * sample: one small allocation in so many gets a block of its own, of exactly its bytes: the NIC refuses what passes
 * its end, and what comes after rmem_free().
 *
 * Both are decided at rmem_open(). No thread's magazines are at hand then (thread_channels_cache_now()), so that each
 * call takes the long path, and the short one has nothing to ask. Any thread.
 */
#ifndef RMEM_CLIENT_SPACE_CHECKING_H
#define RMEM_CLIENT_SPACE_CHECKING_H

#include <errno.h>

#include "client/space/call.h"

#define QUARANTINE_ITEMS 16384U       /* of a session, */
#define QUARANTINE_BYTES_MAX 4194304U /* ... of so many bytes at most */

struct checking {
	bool full;
	uint32_t one_in;      /* sample */
	pthread_mutex_t lock; /* of what follows */
	uint32_t draw_left;   /* small allocations until the next sample, */
	uint32_t draw_state;  /* ... and what draws their number */
	/* The quarantine, the oldest first. */
	slab_item items[QUARANTINE_ITEMS];
	uint32_t first, n;
	uint64_t bytes;
};

/* asked: "full", "sample:N", "off", or NULL as that. Once, before there are threads. 0, -EINVAL or -ENOMEM. */
int checking_open(struct rmem *rm, const char *asked, struct errinfo *errinfo);
/* The quarantine is looked at, at most until the deadline, and given up. No thread is in a call. */
void checking_drain(struct rmem *rm, uint64_t deadline_ns);
void checking_close(struct rmem *rm);

static inline bool checking_is_full(const struct rmem *rm)
{
	return rm->checking && rm->checking->full;
}

/* As size_class_of(), with room for a canary where there is to be one. */
unsigned checking_size_class(const struct rmem *rm, uint64_t bytes, uint64_t align_bytes);

/* Is the small allocation that is about to be made a sample? */
bool checking_draws(struct rmem *rm);

/* full: a slot is about to be handed out. false: it is not as it was left, which was reported. */
bool checking_reuse(struct rmem *rm, slab_item item, void *caller);
/* full: an object was handed out. */
void checking_guard(struct rmem *rm, struct slab *slab, uint32_t slot);
/* full: an object was freed; its slot is taken over. */
void checking_retire(struct rmem *rm, struct slab *slab, uint32_t slot, void *caller);

/* rmem_free() has refused an address. is_double: the server says that another session has freed what was there. */
void checking_bad_free(
	struct rmem *rm, rmem_addr_t addr, void *caller, bool is_double, const struct errinfo *why);

/* The library has refused an access with -EFAULT, maybe for this range. Was it? Then it was reported. */
bool checking_bad_range(struct rmem *rm, rmem_addr_t addr, uint64_t bytes, bool is_read);
void checking_bad_access(struct rmem *rm, const struct operation *op);
/* What has become of an operation: refused, if it is -EFAULT and nothing of it was sent; or what it meant is gone. */
static inline void checking_result(struct rmem *rm, const struct operation *op, int rc)
{
	if (__builtin_expect((rc == -EFAULT || rc == -ESTALE) && rm->checking, 0))
		checking_bad_access(rm, op);
}

#endif
