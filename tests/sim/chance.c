/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/chance.h"

#include <sys/types.h>

#include "tests/support/random.h"

static uint64_t choices, numbers;

ssize_t __wrap_getrandom(void *out, size_t bytes, unsigned flags);

void chance_begin(uint64_t seed)
{
	choices = seed;
	numbers = ~seed;
}

uint64_t chance_u64(void)
{
	return random_u64(&choices);
}

uint64_t chance_below(uint64_t n)
{
	return random_below(&choices, n);
}

bool chance_in(unsigned n)
{
	return n && chance_below(n) == 0;
}

/* In place of the kernel's, for the server. */
ssize_t __wrap_getrandom(void *out, size_t bytes, unsigned flags)
{
	(void)flags;
	random_bytes(&numbers, out, bytes);
	return (ssize_t)bytes;
}
