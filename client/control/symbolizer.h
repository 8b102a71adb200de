/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that has the names of new call sites found, one after the other, and sends them to the server.
 * Reading debug information can take seconds, or minutes on a busy machine, so it is neither done in the
 * program's threads nor in the one that renews the lease, nor in this one, which rmem_close() waits for: it is
 * an errand (common/errand.h).
 *
 * What is queued lies on the session's heap, because it is queued with the control lock. An errand may outlive the
 * session, so it has a heap of its own.
 */
#ifndef RMEM_CLIENT_CONTROL_SYMBOLIZER_H
#define RMEM_CLIENT_CONTROL_SYMBOLIZER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/control/session.h"
#include "client/control/site.h"

struct symbol_wish;
struct symbol_job;

struct symbolizer {
	struct session *session;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* monotonic clock */
	struct symbol_wish *first, **last;
	struct symbol_job *job; /* for the first; NULL: not begun */
	bool stopping;          /* finish what is queued, then end */
	bool cancelled;         /* end now */
	bool idle;
};

int symbolizer_start(struct symbolizer *n, struct session *s, struct errinfo *errinfo);

/*
 * Take over a description, which lies on the session's heap, and find its names some time. serial: the session that
 * gave the number.
 */
void symbolizer_add(
	struct symbolizer *n, struct site_description *d, uint32_t number, uint64_t serial);

/*
 * Wait until everything was sent, at most until the deadline, then cancel (make cancel_fd readable)
 * and end. Names that are being looked up are given up; the thread that does it ends by itself, also when
 * the session is gone. A symbolizer that was not started is fine.
 */
void symbolizer_stop(struct symbolizer *n, uint64_t deadline_ns);

#endif
