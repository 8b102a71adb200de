/* SPDX-License-Identifier: BSD-3-Clause */
/* Tell the service manager how we are (sd_notify(3)'s protocol); nothing happens without one. */
#ifndef RMEM_SERVER_NOTIFY_H
#define RMEM_SERVER_NOTIFY_H

/* state, e.g. "READY=1". */
void notify_manager(const char *state);

#endif
