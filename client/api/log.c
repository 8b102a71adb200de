/* SPDX-License-Identifier: BSD-3-Clause */
/* The log of the library, for the program. */
#include <errno.h>

#include "client/base/log_relay.h"
#include "client/space/call.h"

#define WAIT_NS (3 * NSEC_PER_SEC) /* for a function of the program */

_Static_assert((int)RMEM_LOG_ERROR == LOG_LEVEL_ERROR && (int)RMEM_LOG_DEBUG == LOG_LEVEL_DEBUG,
	"the levels are ours");

RMEM_API int rmem_set_log(int level, rmem_log_fn *fn, void *user)
{
	struct errinfo errinfo = { "" };
	int rc = call_check_fork(&errinfo);

	if (rc == 0 && fn && (level < RMEM_LOG_ERROR || level > RMEM_LOG_DEBUG))
		rc = errinfo_set(&errinfo, -EINVAL, "there is no level %d", level);
	if (rc == 0)
		rc = log_relay_set(
			(enum log_level)level, fn, user, clock_boot_ns() + WAIT_NS, &errinfo);
	return call_done(rc, "rmem_set_log", &errinfo);
}
