/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that keeps a session alive: it renews the lease every third of its term, by one-sided
 * writes that need no CPU of the server, and when the connection breaks it comes back by itself, so
 * that an idle program survives a restart of the server.
 */
#ifndef RMEM_CLIENT_CONTROL_LEASE_THREAD_H
#define RMEM_CLIENT_CONTROL_LEASE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "client/control/session.h"

struct lease_thread {
	struct session *session;
	pthread_t thread;
	bool started;
	atomic_bool stopping;
};

int lease_thread_start(struct lease_thread *k, struct session *s, struct errinfo *errinfo);
/* The session's cancel_fd must be readable by now. A lease thread that was not started is fine. */
void lease_thread_stop(struct lease_thread *k);

#endif
