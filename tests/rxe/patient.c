/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded before a program that opens its sessions with the default timeout, in a test that is about something
 * else: gives them one that a busy machine does not reach.
 */
#include <dlfcn.h>
#include <errno.h>

#include "rmem/rmem.h"

#define TIMEOUT_MS 60000

typedef int open_fn(const char *server, const struct rmem_open_attr *attr, struct rmem **out);

RMEM_API int rmem_open(const char *server, const struct rmem_open_attr *attr, struct rmem **out)
{
	struct rmem_open_attr patient = RMEM_OPEN_ATTR_INIT;
	open_fn *next = (open_fn *)dlsym(RTLD_NEXT, "rmem_open");

	if (!next)
		return -ENOSYS;
	if (attr)
		patient = *attr;
	if (!patient.timeout_ms)
		patient.timeout_ms = TIMEOUT_MS;
	return next(server, &patient, out);
}
