/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that a child process finds zeroed, however it was made: fork(), _Fork(), a bare clone(2). Handlers
 * of pthread_atfork() run for the first of these only. So a session can be known to be the parent's by a
 * look at a word that its calls read anyway. Any thread.
 */
#ifndef RMEM_CLIENT_BASE_WIPED_H
#define RMEM_CLIENT_BASE_WIPED_H

#include <stdbool.h>

#include "common/errinfo.h"

/* A page of zeroes, for at most that many bytes, or -errno: -ENOMEM, -EINVAL. */
#define WIPED_BYTES 4096
int wiped_map(void **out, struct errinfo *errinfo);
void wiped_unmap(void *page); /* NULL is fine */

/* From here on this process is no child. 0, or as above; may be called again. */
int wiped_mark_process(struct errinfo *errinfo);
/* Is this a child of a process that was marked? */
bool wiped_is_child(void);

#endif
