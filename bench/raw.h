/* SPDX-License-Identifier: BSD-3-Clause */
/* What the two sides of raw-bench agree on. */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include <rdma/rdma_cma.h>
#include <stdint.h>

/* Comes with the server's acceptance of a connection: memory that this connection may use. */
struct raw_memory {
	uint64_t addr;
	uint32_t rkey;
};

/*
 * An id on the server's port, with everything to make (client) or accept (server) connections on a
 * queue pair as attr says. NULL after saying what is wrong.
 */
struct rdma_cm_id *raw_endpoint(int flags, struct ibv_qp_init_attr *attr);

/* The other side: lends memory to everybody who connects, until killed. */
int raw_serve(void);

#endif
