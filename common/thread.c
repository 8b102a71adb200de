/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/thread.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "common/denial.h"

int thread_start(
	pthread_t *out, const char *name, void *(*main)(void *), void *arg, struct errinfo *errinfo)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(out, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return denial_explain(DENIED_THREAD, -EAGAIN, "cannot start a thread", errinfo);
	pthread_setname_np(*out, name);
	return 0;
}
