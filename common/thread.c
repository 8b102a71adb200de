/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/thread.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "common/denial.h"
#include "common/private_memory.h"

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

struct private_entry *thread_hide_stack(void)
{
	struct private_entry *entry = NULL;
	pthread_attr_t attr;
	size_t bytes;
	void *start;

	if (pthread_getattr_np(pthread_self(), &attr))
		return NULL;
	if (pthread_attr_getstack(&attr, &start, &bytes) == 0)
		entry = private_memory_add(start, bytes);
	(void)pthread_attr_destroy(&attr);
	return entry;
}

void thread_show_stack(struct private_entry *hidden)
{
	private_memory_remove(hidden);
}
