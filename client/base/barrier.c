/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/base/barrier.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_registered;

static void register_once(void)
{
	is_registered =
		syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/* Where membarrier(2) is forbidden: taking a right away from a page interrupts each processor that runs the process. */
static void change_rights(void)
{
	const size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
	char *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	*(volatile char *)page = 1;
	(void)mprotect(page, bytes, PROT_READ);
	(void)munmap(page, bytes);
}

void barrier_all_threads(void)
{
	pthread_once(&once, register_once);
	if (!is_registered || syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
		change_rights();
}
