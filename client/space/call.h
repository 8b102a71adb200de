/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all public calls begin and end with, and what a struct rmem is. Any thread.
 */
#ifndef RMEM_CLIENT_SPACE_CALL_H
#define RMEM_CLIENT_SPACE_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/control/lease_thread.h"
#include "client/control/symbolizer.h"
#include "client/space/call_thread.h"
#include "client/space/slab_thread.h"
#include "client/space/thread_channels.h"
#include "client/control/session.h"
#include "common/errinfo.h"
#include "rmem/rmem.h"

struct checking;
struct sites;

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): as in the session */
struct rmem {
	struct session session;
	struct thread_channels channels;
	pthread_mutex_t queues_lock;
	struct rmem_queue *queues;
	/* an epoll descriptor over those that are watched; -1: there is none. Set under queues_lock */
	atomic_int queues_fd;
	struct lease_thread lease_thread;
	struct symbolizer symbolizer;
	struct slab_thread slab_thread;
	struct call_thread call_thread;
	struct checking *checking; /* RMEM_CHECK; NULL: off */
	struct sites *sites;       /* under control */
	uint64_t sites_serial;     /* of the session that numbered them */
};

/* The beginning of every call on an open session. 0, -EINVAL, -EPERM (after a fork). */
int call_enter(const struct rmem *rm, struct errinfo *errinfo);

/* The end of every public call: returns rc; on failure, keeps the sentence for rmem_errmsg(). */
int call_done(int rc, const char *call, const struct errinfo *errinfo);
const char *call_errmsg(void);

/* Can this process open a session at all? 0, -EPERM, or as wiped_map(). */
int call_check_fork(struct errinfo *errinfo);

/*
 * Structs that begin with their size, so that they can grow at the end: src is the program's, as the header has it that
 * the program was built with; dst is ours, of dst_size. v1_size is what the struct's first version had. What the
 * program's does not have becomes zero.
 *	-EINVAL		it is shorter than the first version
 *	-E2BIG		it is longer than ours, and what we do not know is not zero
 */
int call_copy_attr(
	void *dst, size_t dst_size, const void *src, size_t v1_size, struct errinfo *errinfo);
/* ... the other way: the program gets what both know, and zeroes. Its size stays as it is. */
int call_copy_out(
	void *dst, const void *src, size_t src_size, size_t v1_size, struct errinfo *errinfo);

/* Is the size in a struct of the program's a possible one? As both of these begin. */
int call_check_size(const void *program, size_t v1_size, struct errinfo *errinfo);

/* Flags of an attr that we do not know may mean anything: -EINVAL. */
int call_check_flags(uint32_t flags, uint32_t known, struct errinfo *errinfo);

/* Has no fork() come between? Then the session is this process's. */
static inline bool call_is_ours(const struct rmem *rm)
{
	return atomic_load_explicit(&rm->session.vitals->epoch, memory_order_relaxed) != 0;
}

/* When a call that begins now has to be over. */
static inline uint64_t call_deadline(const struct rmem *rm)
{
	return clock_boot_ns() + rm->session.timeout_ns;
}

#endif
