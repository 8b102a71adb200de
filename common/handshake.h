/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making a connection to rmemd through the connection manager: address, route, connect, and both
 * preambles, each step under one deadline of our own (the manager's are minutes long).
 *
 * Between handshake_resolve() and handshake_connect() the caller creates the queue pair on id and
 * posts its receives. One thread. The owner of the struct calls handshake_destroy() in the end,
 * also when the connection is established: the id and its event channel stay here.
 */
#ifndef RMEM_COMMON_HANDSHAKE_H
#define RMEM_COMMON_HANDSHAKE_H

#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"
#include "common/target.h"
#include "common/errinfo.h"

struct handshake {
	struct rdma_event_channel *channel; /* non-blocking */
	struct rdma_cm_id *id;
	uint64_t deadline_ns;
	int cancel_fd; /* -1: none */
	char peer[TARGET_TEXT_SIZE];
};

/* Find the device and the route. h->deadline_ns and h->cancel_fd are set by the caller. */
int handshake_resolve(struct handshake *h, const struct target_path *path, const char *device,
	struct errinfo *errinfo);

/* Is the peer, once resolved, at the address that we come from? */
bool handshake_is_local(const struct handshake *h);

/* Connect and check the preambles. -EAGAIN: the peer still remembers our predecessor, try again. */
int handshake_connect(struct handshake *h, enum purpose purpose, struct errinfo *errinfo);

/* Destroys id (its queue pair must be gone) and channel. Zeroed structs are fine. */
void handshake_destroy(struct handshake *h);

/*
 * Sleep until a descriptor (-1: none) is readable (0), until the deadline (-ETIMEDOUT), or until cancel (-ECANCELED).
 * There is no other result. If the kernel refuses to say whether descriptors are readable, the call returns 0 after a
 * pause, and callers try their descriptor again; a call without descriptors then sleeps until the deadline.
 */
int handshake_wait(int fd, int fd2, int cancel_fd, uint64_t deadline_ns);
/* The same; -EINTR when a signal handler has run. */
int handshake_wait_or_signal(int fd, int fd2, int cancel_fd, uint64_t deadline_ns);

#endif
