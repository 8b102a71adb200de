/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/base/thread.h"

#include <signal.h>

#define STACK_BYTES ((size_t)256 * 1024)

int thread_start(pthread_t *out, void *(*run)(void *arg), void *arg)
{
	pthread_attr_t attr;
	sigset_t all, before;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	sigfillset(&all);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES); /* on failure the default, larger */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(out, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}
