/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What all public calls begin and end with, and what a struct rmem is. Any thread.
 */
#ifndef RMEM_CLIENT_CALL_H
#define RMEM_CLIENT_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/keeper.h"
#include "client/namer.h"
#include "client/seats.h"
#include "client/session.h"
#include "common/why.h"
#include "rmem/rmem.h"

struct sites;

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): as in the session */
struct rmem {
	struct session session;
	struct seats seats;
	pthread_mutex_t queues_lock;
	struct rmem_queue *queues;
	struct keeper keeper;
	struct namer namer;
	struct sites *sites;   /* under control */
	uint64_t sites_serial; /* of the session that numbered them */
};

/* The beginning of every call on an open session. 0, -EINVAL, -EPERM (after a fork). */
int call_enter(const struct rmem *rm, struct why *why);

/* The end of every public call: returns rc; on failure, keeps the sentence for rmem_errmsg(). */
int call_done(int rc, const char *call, const struct why *why);
const char *call_errmsg(void);

/* Can this process open a session at all? 0, -EPERM, or as wiped_map(). */
int call_check_fork(struct why *why);

/* An attr may be shorter than no version of its struct, and say nothing that we do not know. */
int call_check_attr(const void *attr, size_t size, size_t known, struct why *why);

/* Has no fork() come between? Then the session is this process's. */
static inline bool call_is_ours(const struct rmem *rm)
{
	return atomic_load_explicit(&rm->session.vitals->epoch, memory_order_relaxed) != 0;
}

#endif
