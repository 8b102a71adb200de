/* SPDX-License-Identifier: BSD-3-Clause */
/* Taking the memory of sessions back, in slices. The event loop only. */
#ifndef RMEM_SERVER_LEASE_RECLAIM_H
#define RMEM_SERVER_LEASE_RECLAIM_H

#include <stdbool.h>
#include <stdint.h>

struct access;
struct leases;
struct session;
struct work;

struct reclaim {
	struct leases *leases;
	struct access *access;
	const struct work *work;
	uint64_t blocks, bytes; /* taken back so far */
};

/* Take a session's memory back, and say in the log why. Nothing if it has a connection. */
void reclaim_session(struct reclaim *r, struct session *session, const char *why);

/* A slice of what is being taken back. True: there is more. */
bool reclaim_some(struct reclaim *r);

/* What the policy takes back by itself as time passes. now_ns: server time. */
void reclaim_tick(struct reclaim *r, uint64_t now_ns);

#endif
