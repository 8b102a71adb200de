/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/copy.h"

#include "client/access.h"
#include "common/units.h"

#define WINDOW_BYTES (16 * MIB) /* moved before others get the channel */

struct copy {
	enum transfer_direction direction;
	struct plan *plan;
};

static int act(void *ctx, struct access *access, struct why *why)
{
	struct copy *copy = ctx;
	int rc = transfer_run(access->session->transfer, copy->direction, copy->plan, WINDOW_BYTES,
		access_key, access, why);

	return rc == 0 && copy->plan->left ? ACCESS_MORE : rc;
}

int copy_run(
	struct session *s, enum transfer_direction direction, struct plan *plan, struct why *why)
{
	struct copy copy = { .direction = direction, .plan = plan };
	int rc = 0;

	for (int i = 0; i < plan->nremote && rc == 0; i++)
		if (plan->remote[i].len)
			rc = access_check(s, plan->remote[i].base, plan->remote[i].len, why);
	return rc || !plan->left ? rc : access_run(s, act, &copy, why);
}
