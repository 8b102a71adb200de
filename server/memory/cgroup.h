/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much memory this service's control group (version 2) still allows. Pages of an arena are charged
 * to it, and what it does not allow is an out-of-memory kill of rmemd, not an error: so it is asked
 * first. Any thread.
 */
#ifndef RMEM_SERVER_MEMORY_CGROUP_H
#define RMEM_SERVER_MEMORY_CGROUP_H

#include <stdint.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_NO_LIMIT UINT64_MAX

/*
 * The least of what is left of memory.max in the group "/a/b" and the ones above it, file cache not
 * counted as used. What cannot be read does not limit.
 */
uint64_t cgroup_free_bytes_of(const char *root, const char *group);

/* The same for the group that this process is in. */
uint64_t cgroup_free_bytes(void);

#endif
