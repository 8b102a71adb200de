/* SPDX-License-Identifier: BSD-3-Clause */
/* One question to an rmemd on its admin socket: a line of JSON each way (docs/ADMIN.md). */
#ifndef RMEM_CTL_ADMIN_H
#define RMEM_CTL_ADMIN_H

#include <stddef.h>
#include <stdint.h>

#include "common/errinfo.h"

/*
 * request is one line, without its newline. deadline_ns is on clock_boot_ns(). Free *out.
 *	-ENOENT		nobody listens there
 *	-EACCES		we may not ask
 *	-ETIMEDOUT -EBADMSG (cut short) -EMSGSIZE (too long) -ENAMETOOLONG -ENOMEM
 */
int admin_ask(const char *path, const char *request, uint64_t deadline_ns, char **out,
	size_t *out_size, struct errinfo *errinfo);

#endif
