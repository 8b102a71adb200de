/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a server is: the text that people type, and the RDMA addresses it stands for.
 *
 * "This machine" (no text, localhost, a loopback literal) means the address of one of its RDMA
 * devices, because the connection manager knows no loopback interface. Any thread; nothing is kept. Who is to
 * reach the same server again keeps the path: the next answer to a name may be another.
 */
#ifndef RMEM_COMMON_TARGET_H
#define RMEM_COMMON_TARGET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/errinfo.h"

#define TARGET_HOST_SIZE 256
#define TARGET_DEFAULT_PORT 7471

struct target {
	char host[TARGET_HOST_SIZE]; /* without brackets */
	uint16_t port;
	bool local; /* this machine */
};

/*
 * "host", "host:port", "[v6]" or "[v6]:port"; NULL or "" mean this machine. -EINVAL for anything
 * else.
 */
int target_parse(const char *text, struct target *out, struct errinfo *errinfo);

/* Source and destination of one possible path; source.ss_family is 0 if routing may choose it. */
struct target_path {
	struct sockaddr_storage source, destination;
};

#define TARGET_PATHS_MAX 4

/*
 * The paths to try, in order; device may be NULL: any. Returns how many (> 0), or
 *	-ENODEV		there is no RDMA device, or not the named one, or it has no usable address
 *	-EHOSTUNREACH	the name has no address, or none of a family that the device has
 *	-ETIMEDOUT	nobody has said by the deadline (on clock_boot_ns()); asking goes on in a thread that
 *			ends by itself (common/errand.h)
 *	-EAGAIN		that could not be started
 */
int target_resolve(const struct target *t, const char *device, uint64_t deadline_ns,
	struct target_path paths[TARGET_PATHS_MAX], struct errinfo *errinfo);

#define TARGET_TEXT_SIZE 64

/* "10.0.0.1:7471", "[fe80::1]:7471". Returns buf. */
const char *target_format(const struct sockaddr_storage *addr, char buf[TARGET_TEXT_SIZE]);

#endif
