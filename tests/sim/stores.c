/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every store of the server's rooms. They are compiled as for the thread sanitizer (-fsanitize=thread), which puts a call
 * in front of each; its library is not linked, and what it would define is here: places where the server may be killed.
 */
#include <stdint.h>
#include <stdlib.h>

#include "tests/sim/host.h"

#ifdef SIM_STORES

#pragma GCC diagnostic ignored "-Wmissing-prototypes"

void __tsan_init(void)
{
}

void __tsan_func_entry(void *pc)
{
	(void)pc;
}

void __tsan_func_exit(void)
{
}

#define PLAIN(bytes) \
	void __tsan_read##bytes(void *at) \
	{ \
		(void)at; \
	} \
	void __tsan_write##bytes(void *at) \
	{ \
		host_store(at); \
	} \
	void __tsan_unaligned_read##bytes(void *at) \
	{ \
		(void)at; \
	} \
	void __tsan_unaligned_write##bytes(void *at) \
	{ \
		host_store(at); \
	} \
	void __tsan_volatile_read##bytes(void *at) \
	{ \
		(void)at; \
	} \
	void __tsan_volatile_write##bytes(void *at) \
	{ \
		host_store(at); \
	}
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *at, unsigned long bytes)
{
	(void)at;
	(void)bytes;
}

void __tsan_write_range(void *at, unsigned long bytes)
{
	(void)bytes;
	host_store(at);
}

#define ATOMIC(bits) \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *at, int order) \
	{ \
		(void)order; \
		return __atomic_load_n(at, __ATOMIC_SEQ_CST); \
	} \
	void __tsan_atomic##bits##_store( \
		volatile uint##bits##_t *at, uint##bits##_t value, int order) \
	{ \
		(void)order; \
		host_store(at); \
		__atomic_store_n(at, value, __ATOMIC_SEQ_CST); \
	}
ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)

int __tsan_atomic64_compare_exchange_strong(
	volatile uint64_t *at, uint64_t *expected, uint64_t value, int order, int failure_order)
{
	(void)order;
	(void)failure_order;
	host_store((void *)(uintptr_t)at);
	return __atomic_compare_exchange_n(
		at, expected, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

void __tsan_atomic_thread_fence(int order)
{
	(void)order;
}

#endif
