/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scan keeps only suspects: the allocations that it calls definite. They are sorted by slot, the order in which
 * records usually come, so two scans are compared by walking through both. Pure.
 */
#ifndef RMEM_SERVER_AUDIT_SCAN_H
#define RMEM_SERVER_AUDIT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct audit_scan;

struct audit_scan *audit_scan_create(void);    /* NULL: no memory */
void audit_scan_destroy(struct audit_scan *s); /* NULL is fine */

int audit_scan_add(struct audit_scan *s, uint32_t slot, uint64_t serial); /* -ENOMEM */
void audit_scan_sort(struct audit_scan *s);                               /* after the last */

/* Does a sorted scan have the allocation? NULL: no. *walk: where the search begins; for the next slot, where this one ended. */
bool audit_scan_agrees(const struct audit_scan *s, uint32_t slot, uint64_t serial, size_t *walk);

#endif
