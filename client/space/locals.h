/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the library keeps for a thread, on the heap: a library that is loaded late finds a few dozen bytes
 * of thread-local storage at best, which several others have used already. It goes when the thread ends.
 *
 * A process may have none of its 1024 keys left for that. Then a thread has no channel of its own
 * (client/space/thread_channels.h), and rmem_errmsg() says no more than strerror().
 */
#ifndef RMEM_CLIENT_SPACE_LOCALS_H
#define RMEM_CLIENT_SPACE_LOCALS_H

#include <stddef.h>

#include "common/errinfo.h"

struct stack;
struct thread_channel;

struct locals {
	char message[ERRINFO_TEXT_SIZE]; /* of the last call that failed */
	struct thread_channel *channels; /* one for each session that the thread has used */
	void (*leave)(
		struct locals *l); /* gives them back when the thread ends; NULL: there are none */
	size_t count, capacity;
	/* Of the program's call that this thread carries out for another thread; NULL: calls are this thread's own. */
	const struct stack *stack;
};

/* This thread's, made at the first call. NULL: there is no memory, or no key. */
struct locals *locals_get(void);

/* What rmem_errmsg() returns in this thread: its locals' message, or a constant; NULL: nothing yet. */
extern _Thread_local const char *locals_message __attribute__((tls_model("initial-exec")));

#endif
