/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public structs, as programs have been built with them: no padding, and nothing that is there ever moves. A
 * struct with a size grows at the end, which makes its last line here wrong: add the field, and the new size.
 */
#include <stddef.h>

#include "rmem/rmem.h"

#define AT(type, member, offset) \
	_Static_assert(offsetof(struct type, member) == (offset), #type "." #member " has moved")
#define SIZE(type, bytes) \
	_Static_assert(sizeof(struct type) == (bytes), #type " has changed its size")

_Static_assert(sizeof(size_t) == 8 && sizeof(void *) == 8, "an LP64 system");

AT(rmem_iovec, base, 0);
AT(rmem_iovec, len, 8);
SIZE(rmem_iovec, 16);

AT(rmem_open_attr, size, 0);
AT(rmem_open_attr, device, 8);
AT(rmem_open_attr, job, 16);
AT(rmem_open_attr, timeout_ms, 24);
AT(rmem_open_attr, channels, 28);
AT(rmem_open_attr, journal, 32);
AT(rmem_open_attr, flags, 36);
SIZE(rmem_open_attr, 40);

AT(rmem_alloc_attr, size, 0);
AT(rmem_alloc_attr, node, 8);
AT(rmem_alloc_attr, flags, 12);
AT(rmem_alloc_attr, policy, 16);
AT(rmem_alloc_attr, attribute, 20);
AT(rmem_alloc_attr, nodes, 24);
AT(rmem_alloc_attr, near_addr, 32);
AT(rmem_alloc_attr, align_bytes, 40);
SIZE(rmem_alloc_attr, 48);

AT(rmem_share_key, bytes, 0);
SIZE(rmem_share_key, 64);

AT(rmem_queue_attr, size, 0);
AT(rmem_queue_attr, depth, 8);
AT(rmem_queue_attr, flags, 12);
SIZE(rmem_queue_attr, 16);

AT(rmem_completion, tag, 0);
AT(rmem_completion, status, 8);
AT(rmem_completion, flags, 12);
AT(rmem_completion, result, 16);
SIZE(rmem_completion, 24);

AT(rmem_event, size, 0);
AT(rmem_event, kind, 8);
AT(rmem_event, lost, 12);
AT(rmem_event, time_ns, 16);
AT(rmem_event, serial, 24);
AT(rmem_event, addr, 32);
SIZE(rmem_event, 40);

AT(rmem_op, size, 0);
AT(rmem_op, kind, 8);
AT(rmem_op, flags, 12);
AT(rmem_op, tag, 16);
AT(rmem_op, local, 24);
AT(rmem_op, remote, 32);
AT(rmem_op, nlocal, 40);
AT(rmem_op, nremote, 44);
AT(rmem_op, addr, 48);
AT(rmem_op, operand, 56);
AT(rmem_op, desired, 64);
AT(rmem_op, old, 72);
AT(rmem_op, timeout_ms, 80);
AT(rmem_op, reserved, 84);
SIZE(rmem_op, 88);

AT(rmem_stat, size, 0);
AT(rmem_stat, base, 8);
AT(rmem_stat, bytes, 16);
AT(rmem_stat, usable_bytes, 24);
AT(rmem_stat, age_ns, 32);
AT(rmem_stat, serial, 40);
AT(rmem_stat, node, 48);
AT(rmem_stat, flags, 52);
SIZE(rmem_stat, 56);

AT(rmem_limits, size, 0);
AT(rmem_limits, alloc_bytes, 8);
AT(rmem_limits, object_bytes, 16);
AT(rmem_limits, request_bytes, 24);
AT(rmem_limits, pieces, 32);
AT(rmem_limits, queue_depth, 36);
AT(rmem_limits, channels, 40);
AT(rmem_limits, all_channels, 44);
AT(rmem_limits, windows, 48);
AT(rmem_limits, flags, 52);
SIZE(rmem_limits, 56);

AT(rmem_share_attr, size, 0);
AT(rmem_share_attr, flags, 8);
AT(rmem_share_attr, reserved, 12);
SIZE(rmem_share_attr, 16);

AT(rmem_stats, size, 0);
AT(rmem_stats, in_place_requests, 8);
AT(rmem_stats, in_place_bytes, 16);
AT(rmem_stats, inline_requests, 24);
AT(rmem_stats, inline_bytes, 32);
AT(rmem_stats, slot_requests, 40);
AT(rmem_stats, slot_bytes, 48);
AT(rmem_stats, registered_requests, 56);
AT(rmem_stats, registered_bytes, 64);
AT(rmem_stats, registrations, 72);
AT(rmem_stats, doorbells, 80);
AT(rmem_stats, atomics, 88);
SIZE(rmem_stats, 96);
