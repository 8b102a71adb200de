/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * raw-bench: the same operations with nothing between the program and verbs, as somebody would write
 * them who knows exactly what is needed: requests that are made once, one doorbell for all that can go
 * together, a completion only where something waits for one, short writes inline. Nothing is checked but
 * the status of completions. This is the floor that librmem is held against.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/party.h"
#include "bench/raw.h"

#define INLINE_MAX 64
#define BATCH 32

struct lane {
	struct rdma_cm_id *id;
	struct ibv_mr *mr;
	void *memory;
	unsigned moderation;
	unsigned ring;               /* how many of wrs are used */
	unsigned started, done;      /* operations, of MODE_FLOW */
	struct ibv_send_wr *pending; /* started, not handed to the device: a list */
	struct ibv_send_wr **end;    /* of that list */
	struct ibv_send_wr wrs[DEPTH_MAX];
	struct ibv_sge sges[DEPTH_MAX];
};

/* All requests that the job will ever need, each with its number, for call() in one list. */
static void prepare(struct lane *lane, const struct job *job, const struct raw_memory *lent)
{
	bool calls = job->mode == MODE_CALL;

	lane->ring = calls ? job->pieces : job->depth;
	for (unsigned i = 0; i < lane->ring; i++) {
		size_t offset = calls ? piece_offset(job, i) : 0;
		struct ibv_send_wr *wr = &lane->wrs[i];

		lane->sges[i] = (struct ibv_sge){ (uintptr_t)lane->memory + offset,
			(uint32_t)job->bytes, lane->mr->lkey };
		wr->sg_list = &lane->sges[i];
		wr->num_sge = 1;
		wr->opcode = job->write ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
		wr->wr.rdma.remote_addr = lent->addr + offset;
		wr->wr.rdma.rkey = lent->rkey;
		if (job->write && job->bytes <= INLINE_MAX)
			wr->send_flags = IBV_SEND_INLINE;
		if (calls && i + 1 < job->pieces)
			wr->next = wr + 1;
	}
	lane->wrs[lane->ring - 1].send_flags |= calls ? IBV_SEND_SIGNALED : 0;
	lane->moderation = moderation(job);
	lane->end = &lane->pending;
}

static int connect_lane(struct lane *lane, struct raw_memory *lent)
{
	struct rdma_conn_param param = { .responder_resources = RDMA_MAX_RESP_RES,
		.initiator_depth = RDMA_MAX_INIT_DEPTH,
		.retry_count = 6 };
	struct ibv_device_attr device;

	if (ibv_query_device(lane->id->verbs, &device))
		return -1;
	if (device.max_qp_init_rd_atom < 255)
		param.initiator_depth = (uint8_t)device.max_qp_init_rd_atom;
	/* Blocks: an id of rdma_create_ep() without a channel of its own waits for its events. */
	if (rdma_connect(lane->id, &param) || !lane->id->event ||
		lane->id->event->param.conn.private_data_len < sizeof(*lent))
		return -1;
	memcpy(lent, lane->id->event->param.conn.private_data, sizeof(*lent));
	return 0;
}

static void detach(void *arg)
{
	struct lane *lane = arg;

	if (lane->id) {
		rdma_disconnect(lane->id);
		if (lane->mr)
			ibv_dereg_mr(lane->mr);
		rdma_destroy_ep(lane->id);
	}
	free(lane->memory);
	free(lane);
}

static int attach(const struct job *job, void **out)
{
	unsigned queue = job->mode == MODE_CALL ? job->pieces : job->depth;
	struct ibv_qp_init_attr attr = { .qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = queue + 1,
			.max_recv_wr = 1,
			.max_send_sge = 1,
			.max_recv_sge = 1,
			.max_inline_data = INLINE_MAX } };
	struct lane *lane = calloc(1, sizeof(*lane));
	struct raw_memory lent;

	if (job->mode == MODE_ALLOC)
		goto fail;
	if (lane)
		lane->memory = aligned_alloc(4096, REGION_BYTES);
	if (!lane || !lane->memory)
		goto fail;
	memset(lane->memory, 1, REGION_BYTES);
	lane->id = raw_endpoint(0, &attr);
	if (!lane->id)
		goto fail;
	lane->mr = ibv_reg_mr(lane->id->pd, lane->memory, REGION_BYTES, IBV_ACCESS_LOCAL_WRITE);
	if (!lane->mr || connect_lane(lane, &lent))
		goto fail;
	prepare(lane, job, &lent);
	*out = lane;
	return 0;
fail:
	party_fail("cannot begin: %s", strerror(errno));
	if (lane)
		detach(lane);
	return -1;
}

/* The bare loop. */
static int call(void *arg)
{
	struct lane *lane = arg;
	struct ibv_send_wr *bad;
	struct ibv_wc wc;
	int n;

	if (ibv_post_send(lane->id->qp, lane->wrs, &bad))
		return party_fail("cannot post: %s", strerror(errno));
	while (!(n = ibv_poll_cq(lane->id->send_cq, 1, &wc)))
		;
	if (n < 0 || wc.status != IBV_WC_SUCCESS)
		return party_fail("an operation failed: %s", ibv_wc_status_str(wc.status));
	return 0;
}

static int start(void *arg, bool last)
{
	struct lane *lane = arg;
	struct ibv_send_wr *wr = &lane->wrs[lane->started++ % lane->ring];

	wr->wr_id = lane->started;
	wr->next = NULL;
	if (last || lane->started % lane->moderation == 0)
		wr->send_flags |= IBV_SEND_SIGNALED;
	else
		wr->send_flags &= ~(unsigned)IBV_SEND_SIGNALED;
	*lane->end = wr;
	lane->end = &wr->next;
	return 0;
}

static int reap(void *arg)
{
	struct lane *lane = arg;
	unsigned before = lane->done;
	struct ibv_send_wr *bad;
	struct ibv_wc wcs[BATCH];
	int n;

	if (lane->pending && ibv_post_send(lane->id->qp, lane->pending, &bad))
		return party_fail("cannot post: %s", strerror(errno));
	lane->pending = NULL;
	lane->end = &lane->pending;
	while (!(n = ibv_poll_cq(lane->id->send_cq, BATCH, wcs)))
		;
	for (int i = 0; i < n; i++) {
		if (wcs[i].status != IBV_WC_SUCCESS)
			return party_fail(
				"an operation failed: %s", ibv_wc_status_str(wcs[i].status));
		lane->done = (unsigned)wcs[i].wr_id;
	}
	return n < 0 ? party_fail("cannot poll") : (int)(lane->done - before);
}

static int nothing_to_open(void)
{
	return 0;
}

static void nothing_to_close(void)
{
}

const struct party party = { .name = "raw",
	.serve = raw_serve,
	.open = nothing_to_open,
	.close = nothing_to_close,
	.attach = attach,
	.detach = detach,
	.call = call,
	.start = start,
	.reap = reap };
