/* SPDX-License-Identifier: BSD-3-Clause */
/* Orders that take memory away are confirmed by the operator. */
#ifndef RMEM_CTL_ORDER_H
#define RMEM_CTL_ORDER_H

#include "ctl/options.h"

/*
 * Say what would be lost, and ask. 0: to be done (also if there is nothing to ask about), and o names exactly what was
 * shown. -ECANCELED: the operator says no. -EINVAL: there is nobody to ask, and no --yes. Or an error of the asking.
 */
int order_confirm(struct options *o, struct errinfo *errinfo);

#endif
