/* SPDX-License-Identifier: BSD-3-Clause */
/* --watch: a report again and again, until SIGINT, or until nobody reads it any more. */
#ifndef RMEM_CTL_WATCH_H
#define RMEM_CTL_WATCH_H

#include "ctl/options.h"

/*
 * once: asks and prints. The status is that of the last report that was printed, STATUS_UNCHECKED as soon as one
 * cannot be had, and STATUS_CLEAN if nobody has read even the first.
 */
enum exit_status watch_run(
	const struct options *o, enum exit_status (*once)(const struct options *o));

/* A report is being printed from here on: it is printed whole, and its status counts, also if SIGINT comes now. */
void watch_hold(void);

/* When the report that follows was asked for, if it is text. */
void watch_put_time(const struct options *o);

/* Nobody reads standard output any more. */
bool watch_is_alone(void);

#endif
