/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much memory this service's control group (version 2) still allows. Arena pages are charged to the group.
 * Exceeding its limit gets rmemd OOM-killed instead of returning an error, so rmemd checks the limit first. Any thread.
 */
#ifndef RMEM_SERVER_MEMORY_CGROUP_H
#define RMEM_SERVER_MEMORY_CGROUP_H

#include <stdint.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_NO_LIMIT UINT64_MAX

/*
 * The smallest remainder of memory.max in the group "/a/b" and its ancestors. File cache does not count as used.
 * An unreadable group has no limit.
 */
uint64_t cgroup_free_bytes_of(const char *root, const char *group);

/* cgroup_free_bytes_of() for the group of this process. */
uint64_t cgroup_free_bytes(void);

#endif
