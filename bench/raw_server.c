/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The passive side of raw-bench: every connection gets REGION_BYTES of registered memory, and a thread
 * that does nothing but wait for its end. No processor of this side takes part in what is measured.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bench/party.h"
#include "bench/raw.h"

#define RAW_PORT "7541"

struct rdma_cm_id *raw_endpoint(int flags, struct ibv_qp_init_attr *attr)
{
	struct rdma_addrinfo hints = { .ai_flags = flags, .ai_port_space = RDMA_PS_TCP };
	const char *host = party_host();
	struct rdma_addrinfo *found;
	struct rdma_cm_id *id;
	int rc;

	if (!host)
		return NULL;
	if (rdma_getaddrinfo(host, RAW_PORT, &hints, &found)) {
		party_fail("no RDMA route to %s: %s", host, strerror(errno));
		return NULL;
	}
	rc = rdma_create_ep(&id, found, NULL, attr);
	if (rc)
		party_fail("cannot make a queue pair for %s: %s", host, strerror(errno));
	rdma_freeaddrinfo(found);
	return rc ? NULL : id;
}

/* Wait until the other side has left, then take everything down. */
static void *outlive(void *arg)
{
	struct rdma_cm_id *id = arg;
	struct ibv_mr *mr = id->context;
	void *memory = mr->addr;
	struct rdma_cm_event *event;
	bool gone = false;

	while (!gone && !rdma_get_cm_event(id->channel, &event)) {
		gone = event->event == RDMA_CM_EVENT_DISCONNECTED;
		rdma_ack_cm_event(event);
	}
	rdma_disconnect(id);
	ibv_dereg_mr(mr);
	rdma_destroy_ep(id);
	free(memory);
	return NULL;
}

static int accept_one(struct rdma_cm_id *id)
{
	struct raw_memory lent = { 0 };
	struct rdma_conn_param param = { .responder_resources = RDMA_MAX_RESP_RES,
		.initiator_depth = RDMA_MAX_INIT_DEPTH,
		.private_data = &lent,
		.private_data_len = sizeof(lent) };
	void *memory = aligned_alloc(4096, REGION_BYTES);
	struct ibv_mr *mr = NULL;
	pthread_t thread;

	if (memory) {
		memset(memory, 1, REGION_BYTES);
		mr = ibv_reg_mr(id->pd, memory, REGION_BYTES,
			IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE);
	}
	if (!mr)
		goto fail;
	lent.addr = (uintptr_t)memory;
	lent.rkey = mr->rkey;
	id->context = mr;
	if (rdma_accept(id, &param) || pthread_create(&thread, NULL, outlive, id))
		goto fail;
	pthread_detach(thread);
	return 0;
fail:
	party_fail("cannot accept a connection: %s", strerror(errno));
	if (mr)
		ibv_dereg_mr(mr);
	rdma_destroy_ep(id);
	free(memory);
	return -1;
}

int raw_serve(void)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 }
	};
	struct rdma_cm_id *listener = raw_endpoint(RAI_PASSIVE, &attr);
	struct rdma_cm_id *id;

	if (!listener)
		return -1;
	if (rdma_listen(listener, 16))
		return party_fail("cannot listen on port %s: %s", RAW_PORT, strerror(errno));
	party_ready();
	while (!rdma_get_request(listener, &id))
		accept_one(id);
	return party_fail("no more connections: %s", strerror(errno));
}
