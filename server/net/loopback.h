/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two RC queue pairs of one device that are connected to each other, without the connection manager:
 * what the probe tries a device out with. One request at a time, with a limit on how long it may take.
 *
 * One thread. Windows that were bound on a pair's holder must be gone before loopback_close(): a queue
 * pair that still has one is destroyed only after a long wait.
 */
#ifndef RMEM_SERVER_NET_LOOPBACK_H
#define RMEM_SERVER_NET_LOOPBACK_H

#include <infiniband/verbs.h>

#include "common/verbs.h"
#include "common/errinfo.h"

struct loopback {
	struct ibv_cq *cq;
	struct ibv_qp *holder; /* windows are bound here */
	struct ibv_qp *user;   /* and used from here */
};

/* errno of the verbs call that failed; why names the step only. */
int loopback_open(struct loopback *l, struct ibv_pd *pd, const struct verbs_port *port,
	struct errinfo *errinfo);
void loopback_close(struct loopback *l); /* zeroed, half-built and closed ones are fine */

/*
 * Post one request on one of the two queue pairs and wait for what comes of it, at most two seconds.
 * -ETIMEDOUT if nothing does; else as verbs_wc_errno().
 */
int loopback_execute(const struct loopback *l, struct ibv_qp *qp, struct ibv_send_wr *wr,
	struct errinfo *errinfo);

#endif
