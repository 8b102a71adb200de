/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A protection domain that several connections share, and that outlives each of them, so that memory
 * registered in it need not be registered again for every connection.
 *
 * It lives as long as somebody holds it; a registration in it holds it until that is undone. Any thread.
 */
#ifndef RMEM_COMMON_DOMAIN_H
#define RMEM_COMMON_DOMAIN_H

#include <infiniband/verbs.h>

struct domain;

/* A new one on a device, held once. 0, -ENOMEM, or what the device says. */
int domain_create(struct ibv_context *device, struct domain **out);

struct domain *domain_hold(struct domain *d);
void domain_release(struct domain *d); /* NULL is fine */

struct ibv_pd *domain_pd(const struct domain *d);

#endif
