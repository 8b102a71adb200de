/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/base/barrier.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_NS 5000000L

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_registered;

static void register_once(void)
{
	is_registered =
		syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool barrier_is_there(void)
{
	pthread_once(&once, register_once);
	return is_registered;
}

/*
 * It was there, and is refused now (a program that has given up rights): threads go on without fences. A processor
 * makes what it has stored visible within microseconds, and a thread that does not run has left nothing behind in one.
 */
static void pause_instead(void)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	(void)nanosleep(&pause, NULL);
}

void barrier_all_threads(void)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (barrier_is_there() &&
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
		pause_instead();
	atomic_thread_fence(memory_order_seq_cst);
}
