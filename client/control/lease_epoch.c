/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/lease_epoch.h"

#include <errno.h>
#include <stddef.h>
#include <utlist.h>

void lease_epoch_begin(struct lease_epoch *e, uint64_t serial, uint64_t fencing_token)
{
	struct holding *h;

	if (e->fencing_token == fencing_token && e->serial == serial)
		return;
	e->fencing_token = fencing_token;
	e->serial = serial;
	e->number++;
	e->lost = 0;
	DL_FOREACH (e->held, h)
		e->lost++;
	if (e->lost)
		atomic_fetch_add(&e->fences, 1);
}

int lease_epoch_check(const struct lease_epoch *e, struct errinfo *errinfo)
{
	if (!e->lost)
		return 0;
	return errinfo_set(errinfo, -EOWNERDEAD,
		"the lease had ended, and with it %u locks that were held: until each has been "
		"released (which says -ESTALE) nothing is read or written",
		e->lost);
}

int lease_epoch_hold(struct lease_epoch *e, struct holding *h, uint64_t number)
{
	if (e->number != number)
		return -ESTALE;
	h->lease_epoch = number;
	DL_APPEND(e->held, h);
	return 0;
}

bool lease_epoch_release(struct lease_epoch *e, struct holding *h)
{
	bool lost = h->lease_epoch != e->number;

	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the list */
	DL_DELETE(e->held, h);
	e->lost -= lost;
	return lost;
}
