/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RMEM_TESTS_SUPPORT_ROUNDS_H
#define RMEM_TESTS_SUPPORT_ROUNDS_H

#include <stdlib.h>

/* How often a unit test repeats what is random: n times, and under valgrind, where all takes long, a quarter of that. */
static inline unsigned rounds(unsigned n)
{
	return getenv("RMEM_TEST_VALGRIND") ? n / 4 : n;
}

#endif
