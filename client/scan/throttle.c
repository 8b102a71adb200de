/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/scan/throttle.h"

#include "common/clock.h"

__extension__ typedef unsigned __int128 wide;

static uint64_t cost_of_bytes(const struct throttle *t, uint64_t bytes)
{
	const uint64_t rate = t->bytes_per_s;

	if (!rate)
		return 0;
	return (uint64_t)((wide)bytes * NSEC_PER_SEC / rate);
}

uint64_t throttle_charge(struct throttle *t, uint64_t bytes, uint64_t cpu_ns, uint64_t now_ns)
{
	const uint64_t by_bytes = cost_of_bytes(t, bytes);
	const uint64_t by_cpu =
		t->cpu_percent && t->cpu_percent < 100 ? cpu_ns * 100 / t->cpu_percent : 0;

	if (t->due_ns + THROTTLE_BURST_NS < now_ns)
		t->due_ns = now_ns - THROTTLE_BURST_NS;
	t->due_ns += by_bytes > by_cpu ? by_bytes : by_cpu;
	return t->due_ns > now_ns ? t->due_ns - now_ns : 0;
}
