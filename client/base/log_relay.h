/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log, for a function of the program. It is called in a thread of its own, as long as there is such a function:
 * so it runs under no lock of ours, whatever the thread held that has logged.
 *
 * Who logs leaves a copy of the line and goes on: no lock, allocation or descriptor. There is room for some; what
 * there is no room for is counted, and said. A child after fork() has no such thread, and its lines go nowhere.
 */
#ifndef RMEM_CLIENT_BASE_LOG_RELAY_H
#define RMEM_CLIENT_BASE_LOG_RELAY_H

#include <stdint.h>

#include "common/errinfo.h"
#include "common/log.h"

typedef void log_relay_fn(void *user, int level, const char *text);

/*
 * From now on fn gets the lines that come; NULL: nobody. The one before gets what was logged until now, and is not
 * called any more when this has returned; nothing is waited for if that one is who calls. Any thread.
 *	-ETIMEDOUT	at the deadline it had not returned yet. It is not called again
 *	-EAGAIN		no thread could be started; nothing has changed
 */
int log_relay_set(enum log_level level, log_relay_fn *fn, void *user, uint64_t deadline_ns,
	struct errinfo *errinfo);

#endif
