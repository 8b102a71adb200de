/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/base/destroy.h"

#include <string.h>

#include "common/log.h"

void destroy_failed(const char *what, int err)
{
	log_warn("%s cannot be destroyed (%s, tried %d times): it is left until rmemd ends", what,
		strerror(-err), DESTROY_TRIES);
}
