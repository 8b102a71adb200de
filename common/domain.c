/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/domain.h"

#include <errno.h>
#include <rdma/rdma_cma.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/verbs.h"

struct domain {
	struct ibv_pd *pd;
	struct ibv_context **devices; /* keeps pd's device open between connections */
	atomic_uint holders;
};

int domain_create(struct ibv_context *device, struct domain **out)
{
	struct domain *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return -ENOMEM;
	d->pd = ibv_alloc_pd(device);
	if (!d->pd) {
		err = verbs_errno();
		free(d);
		return err;
	}
	/*
	 * The connection manager closes a device that was removed once no id uses it. This counts as a
	 * use. Where it fails (another device cannot be opened) only a removal would be noticed.
	 */
	d->devices = rdma_get_devices(NULL);
	atomic_init(&d->holders, 1);
	*out = d;
	return 0;
}

struct domain *domain_hold(struct domain *d)
{
	if (d)
		atomic_fetch_add(&d->holders, 1);
	return d;
}

void domain_release(struct domain *d)
{
	if (!d || atomic_fetch_sub(&d->holders, 1) > 1)
		return;
	ibv_dealloc_pd(d->pd);
	if (d->devices)
		rdma_free_devices(d->devices);
	free(d);
}

struct ibv_pd *domain_pd(const struct domain *d)
{
	return d->pd;
}
