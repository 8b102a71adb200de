/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rpma-bench: the same operations with librpma 1.2, Intel's library for remote persistent memory. It
 * posts each operation by itself, knows no lists of pieces, and waits for nothing by itself: like raw.c, this
 * polls. A call of several pieces posts them one after the other, each with a doorbell, and asks for a
 * completion of the last. A write is done when its completion is there; nothing is flushed.
 */
#include <librpma.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bench/party.h"

#define RPMA_PORT "7542"
#define BATCH 32

static struct rpma_peer *peer;

/* One connection, of either side. */
struct lane {
	struct rpma_conn *conn;
	struct rpma_cq *cq;
	struct rpma_mr_local *local;
	struct rpma_mr_remote *remote;
	void *memory;
	struct job job;
	unsigned moderation;
	uintptr_t started, done; /* operations */
};

static int make_peer(enum rpma_util_ibv_context_type type)
{
	const char *host = party_host();
	struct ibv_context *context;
	int rc;

	if (!host)
		return -1;
	rc = rpma_utils_get_ibv_context(host, type, &context);
	if (!rc)
		rc = rpma_peer_new(context, &peer);
	return rc ? party_fail("no device for %s: %s", host, rpma_err_2str(rc)) : 0;
}

static int open_party(void)
{
	return make_peer(RPMA_UTIL_IBV_CONTEXT_REMOTE);
}

static void close_party(void)
{
	rpma_peer_delete(&peer);
}

/* Only what was established (it has a cq) can be disconnected, and says when it is. */
static void detach(void *arg)
{
	struct lane *lane = arg;
	enum rpma_conn_event event;

	if (lane->conn) {
		if (lane->cq && !rpma_conn_disconnect(lane->conn))
			rpma_conn_next_event(lane->conn, &event);
		rpma_conn_delete(&lane->conn);
	}
	if (lane->remote)
		rpma_mr_remote_delete(&lane->remote);
	if (lane->local)
		rpma_mr_dereg(&lane->local);
	free(lane->memory);
	free(lane);
}

static int make_memory(struct lane *lane, int usage)
{
	lane->memory = aligned_alloc(4096, REGION_BYTES);
	if (!lane->memory)
		return RPMA_E_NOMEM;
	memset(lane->memory, 1, REGION_BYTES);
	return rpma_mr_reg(peer, lane->memory, REGION_BYTES, usage, &lane->local);
}

/* Finish making a connection. */
static int establish(
	struct lane *lane, struct rpma_conn_req *req, const struct rpma_conn_private_data *data)
{
	enum rpma_conn_event event;
	int rc = rpma_conn_req_connect(&req, data, &lane->conn);

	if (!rc)
		rc = rpma_conn_next_event(lane->conn, &event);
	if (!rc && event != RPMA_CONN_ESTABLISHED)
		rc = RPMA_E_PROVIDER;
	return rc ? rc : rpma_conn_get_cq(lane->conn, &lane->cq);
}

static int request(const struct job *job, struct rpma_conn_req **out)
{
	unsigned queue = job->mode == MODE_CALL ? job->pieces : job->depth;
	struct rpma_conn_cfg *cfg = NULL;
	int rc = rpma_conn_cfg_new(&cfg);

	if (!rc)
		rc = rpma_conn_cfg_set_sq_size(cfg, queue + 1);
	if (!rc)
		rc = rpma_conn_cfg_set_cq_size(cfg, queue + 1);
	if (!rc)
		rc = rpma_conn_req_new(peer, party_host(), RPMA_PORT, cfg, out);
	if (cfg)
		rpma_conn_cfg_delete(&cfg);
	return rc;
}

static int attach(const struct job *job, void **out)
{
	struct lane *lane = calloc(1, sizeof(*lane));
	struct rpma_conn_private_data data;
	struct rpma_conn_req *req;
	int rc = RPMA_E_NOMEM;

	if (job->mode == MODE_ALLOC)
		rc = RPMA_E_NOSUPP;
	else if (lane)
		rc = make_memory(lane, RPMA_MR_USAGE_READ_DST | RPMA_MR_USAGE_WRITE_SRC);
	if (!rc)
		rc = request(job, &req);
	if (!rc)
		rc = establish(lane, req, NULL);
	if (!rc)
		rc = rpma_conn_get_private_data(lane->conn, &data);
	/* Padded by the CM to whatever it carries; a descriptor's length is the same on both sides. */
	if (!rc) {
		size_t size;

		rc = rpma_mr_get_descriptor_size(lane->local, &size);
		if (!rc)
			rc = size > data.len ? RPMA_E_INVAL
					     : rpma_mr_remote_from_descriptor(
						       data.ptr, size, &lane->remote);
	}
	if (rc) {
		party_fail("cannot begin: %s", rpma_err_2str(rc));
		if (lane)
			detach(lane);
		return -1;
	}
	lane->job = *job;
	lane->moderation = moderation(job);
	*out = lane;
	return 0;
}

/* One request of the operation that was started last. */
static int post(struct lane *lane, size_t offset, bool completion)
{
	int flags = completion ? RPMA_F_COMPLETION_ALWAYS : RPMA_F_COMPLETION_ON_ERROR;
	const void *number = (const void *)lane->started;
	size_t bytes = lane->job.bytes;
	int rc = lane->job.write ? rpma_write(lane->conn, lane->remote, offset, lane->local, offset,
					   bytes, flags, number)
				 : rpma_read(lane->conn, lane->local, offset, lane->remote, offset,
					   bytes, flags, number);

	return rc ? party_fail("cannot post: %s", rpma_err_2str(rc)) : 0;
}

static int start(void *arg, bool last)
{
	struct lane *lane = arg;

	lane->started++;
	return post(lane, 0, last || lane->started % lane->moderation == 0);
}

static int reap(void *arg)
{
	struct lane *lane = arg;
	uintptr_t before = lane->done;
	struct ibv_wc wcs[BATCH];
	int rc, n = 0;

	do
		rc = rpma_cq_get_wc(lane->cq, BATCH, wcs, &n);
	while (rc == RPMA_E_NO_COMPLETION);
	if (rc)
		return party_fail("cannot poll: %s", rpma_err_2str(rc));
	for (int i = 0; i < n; i++) {
		if (wcs[i].status != IBV_WC_SUCCESS)
			return party_fail(
				"an operation failed: %s", ibv_wc_status_str(wcs[i].status));
		lane->done = wcs[i].wr_id;
	}
	return (int)(lane->done - before);
}

static int call(void *arg)
{
	struct lane *lane = arg;
	const struct job *job = &lane->job;

	lane->started++;
	for (unsigned i = 0; i < job->pieces; i++)
		if (post(lane, piece_offset(job, i), i + 1 == job->pieces))
			return -1;
	return reap(lane) < 0 ? -1 : 0;
}

/* The other side: wait until a connection has ended. */
static void *outlive(void *arg)
{
	struct lane *lane = arg;
	enum rpma_conn_event event;

	while (!rpma_conn_next_event(lane->conn, &event) && event != RPMA_CONN_CLOSED &&
		event != RPMA_CONN_LOST)
		;
	rpma_conn_disconnect(lane->conn);
	rpma_conn_delete(&lane->conn);
	detach(lane);
	return NULL;
}

static int accept_one(struct rpma_conn_req *req)
{
	struct lane *lane = calloc(1, sizeof(*lane));
	struct rpma_conn_private_data data = { 0 };
	unsigned char descriptor[64];
	pthread_t thread;
	size_t size = 0;
	int rc = RPMA_E_NOMEM;

	if (lane)
		rc = make_memory(lane, RPMA_MR_USAGE_READ_SRC | RPMA_MR_USAGE_WRITE_DST);
	if (!rc)
		rc = rpma_mr_get_descriptor_size(lane->local, &size);
	if (!rc)
		rc = size > sizeof(descriptor) ? RPMA_E_INVAL
					       : rpma_mr_get_descriptor(lane->local, descriptor);
	data.ptr = descriptor;
	data.len = (uint8_t)size;
	if (rc)
		rpma_conn_req_delete(&req);
	else
		rc = establish(lane, req, &data);
	if (!rc && pthread_create(&thread, NULL, outlive, lane))
		rc = RPMA_E_NOMEM;
	if (!rc) {
		pthread_detach(thread);
		return 0;
	}
	party_fail("cannot accept a connection: %s", rpma_err_2str(rc));
	if (lane)
		detach(lane);
	return -1;
}

static int serve(void)
{
	struct rpma_conn_req *req;
	struct rpma_ep *ep;
	int rc = make_peer(RPMA_UTIL_IBV_CONTEXT_LOCAL);

	if (rc)
		return rc;
	rc = rpma_ep_listen(peer, party_host(), RPMA_PORT, &ep);
	if (!rc)
		party_ready();
	while (!rc) {
		rc = rpma_ep_next_conn_req(ep, NULL, &req);
		if (!rc)
			accept_one(req);
	}
	return party_fail("no more connections: %s", rpma_err_2str(rc));
}

const struct party party = { .name = "rpma",
	.serve = serve,
	.open = open_party,
	.close = close_party,
	.attach = attach,
	.detach = detach,
	.call = call,
	.start = start,
	.reap = reap };
