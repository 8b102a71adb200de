/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one place that knows how verbs and the connection manager report errors, and how a device is
 * asked for the address that a path must start from.
 *
 * Verbs calls return 0, an errno value, or -1 with errno; constructors return NULL with errno (or
 * without). Here it all becomes 0 or a negative errno, as everywhere else in this project.
 *
 * Any thread: nothing is kept.
 */
#ifndef RMEM_COMMON_VERBS_H
#define RMEM_COMMON_VERBS_H

#include <infiniband/verbs.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/errinfo.h"

/* What an ibv_ or rdma_ call that returns an int meant. To be asked before errno can change. */
int verbs_err(int ret);

/* What a call that returned NULL meant; never 0. */
int verbs_errno(void);

/*
 * What a completion means to the one who posted the request:
 *	-EACCES		the peer's device refused the key, the address or the right
 *	-ETIMEDOUT	the peer did not answer, or was never ready
 *	-ECANCELED	flushed: the queue pair failed earlier, or was told to stop
 *	-EFAULT		our own buffer is not registered for this
 *	-EINVAL		a window could not be bound
 *	-EIO		anything else: see ibv_wc_status_str()
 */
int verbs_wc_errno(enum ibv_wc_status status);

/* Is it soft-RoCE, which needs care here and there? */
bool verbs_is_rxe(const struct ibv_device_attr *attr);

/*
 * The bytes that one region may have, a power of 2. soft-RoCE refuses more than 1 GiB, with ENOMEM and a warning in
 * the kernel log (seen on Linux 6.12), and says nothing of that before.
 */
uint64_t verbs_region_max(const struct ibv_device_attr *attr);

/* Reading a channel's descriptor does not wait. */
int verbs_set_nonblocking(int fd);

/* Where a path on a device starts and ends: what ibv_modify_qp wants for the address of an IPv4. */
struct verbs_port {
	uint8_t port;
	uint8_t gid_index; /* meaningful if global */
	bool global;       /* route by GID (RoCE); else by LID (InfiniBand) */
	uint16_t lid;
	union ibv_gid gid;
	enum ibv_mtu mtu; /* the one in use on the port now */
};

/*
 * The port and GID index of a device that stand for an IPv4 address: the entry that holds the
 *address as an IPv4-mapped GID, RoCE v2 before v1. An InfiniBand port has no such entry; an active
 *one is taken and addressed by its LID. -EADDRNOTAVAIL	no port of the device has that address (yet)
 */
int verbs_find_port(struct ibv_context *ctx, struct in_addr addr, struct verbs_port *out,
	struct errinfo *errinfo);

#endif
