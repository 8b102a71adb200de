/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that destroy an object of the device, the connection manager or the kernel. One that fails is made again
 * at once: a leftover is pinned memory, or a queue pair that no other client gets. After that it is
 * logged, and the object stays until rmemd ends, when the kernel destroys all of them, the newest first.
 *
 * Callers that destroy a window which may be bound look at the result (grant_revoke(), server/net/probe.c): neither its
 * memory nor its queue pair may go while the window exists.
 */
#ifndef RMEM_SERVER_BASE_DESTROY_H
#define RMEM_SERVER_BASE_DESTROY_H

#include "common/verbs.h"

#define DESTROY_TRIES 3

/* what, for people: "a region". call is evaluated again while it fails. 0 or a negative errno. */
#define DESTROY(what, call) \
	({ \
		int destroy_err, destroy_try = 0; \
\
		do { \
			destroy_err = verbs_err(call); \
		} while (destroy_err && ++destroy_try < DESTROY_TRIES); \
		if (destroy_err) \
			destroy_failed(what, destroy_err); \
		destroy_err; \
	})

void destroy_failed(const char *what, int err);

#endif
