/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread that holds the locks of standard input, output and errors until it is told to let go. */
#ifndef RMEM_TESTS_SUPPORT_LOCKED_STDIO_H
#define RMEM_TESTS_SUPPORT_LOCKED_STDIO_H

#include <semaphore.h>
#include <stddef.h>
#include <stdio.h>

static sem_t locked, go_on; /* the test sets both to 0, waits for the first and posts the second */

static void *lock_stdio(void *unused)
{
	FILE *const files[] = { stdin, stdout, stderr };

	(void)unused;
	for (int i = 0; i < 3; i++)
		flockfile(files[i]);
	sem_post(&locked);
	sem_wait(&go_on);
	for (int i = 0; i < 3; i++)
		funlockfile(files[i]);
	return NULL;
}

#endif
