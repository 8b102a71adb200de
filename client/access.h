/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every one-sided access to remote memory has in common: it is checked against the allocations
 * first, needs a key, and goes on over broken connections, ended leases and keys that have to be
 * fetched again, as long as it is certain that repeating it does no harm. Any thread.
 */
#ifndef RMEM_CLIENT_ACCESS_H
#define RMEM_CLIENT_ACCESS_H

#include <stddef.h>
#include <stdint.h>

#include "client/session.h"

/* What one access carries from try to try. */
struct access {
	struct session *session;
	uint64_t deadline_ns; /* of recovering; 0: nothing had to be recovered yet */
	unsigned retries;
	uint64_t attach_addr; /* the allocation that access_key() had no key for */
};

/* Is the range inside one allocation that may be used? 0, -EFAULT, -ESTALE. */
int access_check(struct session *s, uint64_t addr, size_t bytes, struct why *why);

/* A transfer_key_fn on a struct access. */
int access_key(void *access, uint64_t addr, size_t bytes, uint32_t *out_rkey, struct why *why);

/*
 * One try, with the channel, a connection and a good lease. Returns
 *	0			done
 *	ACCESS_MORE		some of it: others may have the channel in between
 *	-EAGAIN			access_key() had none: it is fetched, then tried again
 *	-EACCES, -ECONNRESET	the connection broke, and trying again does no harm
 *	-EREMOTEIO		the connection broke, and it may have been carried out
 *	anything else		it failed
 */
#define ACCESS_MORE 1
typedef int access_act(void *ctx, struct access *access, struct why *why);

/* -EFAULT -ESTALE -ECONNRESET -ETIMEDOUT -EREMOTEIO: as in rmem.h; and what act() returned. */
int access_run(struct session *s, access_act *act, void *ctx, struct why *why);

#endif
