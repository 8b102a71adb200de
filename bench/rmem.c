/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmem-bench: librmem as its users are told to use it: local memory from rmem_buf_alloc(), calls that wait
 * one after the other, a queue for many at once, one queue per thread.
 */
#include <rmem/rmem.h>
#include <stdlib.h>
#include <string.h>

#include "bench/party.h"

#define BATCH 32

static struct rmem *session;

struct lane {
	struct job job;
	struct rmem_queue *queue; /* of MODE_FLOW */
	void *local;
	rmem_addr_t remote;
	struct iovec here[PIECES_MAX];
	struct rmem_iovec there[PIECES_MAX];
};

static int fail(void)
{
	return party_fail("%s", rmem_errmsg());
}

static int open_party(void)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;

	attr.timeout_ms = 60000; /* under valgrind everything takes its time */
	return rmem_open(NULL, &attr, &session) ? fail() : 0;
}

static void close_party(void)
{
	rmem_close(session);
}

static void detach(void *arg)
{
	struct lane *lane = arg;

	rmem_queue_destroy(lane->queue);
	if (lane->local)
		rmem_buf_release(session, lane->local);
	rmem_free(session, lane->remote);
	free(lane);
}

static int attach(const struct job *job, void **out)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	struct lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return party_fail("out of memory");
	lane->job = *job;
	attr.depth = job->depth;
	if (rmem_buf_alloc(session, REGION_BYTES, &lane->local) ||
		rmem_alloc(session, REGION_BYTES, NULL, &lane->remote) ||
		(job->mode == MODE_FLOW && rmem_queue_create(session, &attr, &lane->queue))) {
		fail();
		detach(lane);
		return -1;
	}
	memset(lane->local, 1, REGION_BYTES);
	for (unsigned i = 0; i < job->pieces; i++) {
		lane->here[i].iov_base = (char *)lane->local + piece_offset(job, i);
		lane->here[i].iov_len = job->bytes;
		lane->there[i].base = lane->remote + piece_offset(job, i);
		lane->there[i].len = job->bytes;
	}
	*out = lane;
	return 0;
}

static int alloc_and_free(const struct job *job)
{
	rmem_addr_t addr;

	return rmem_alloc(session, job->bytes, NULL, &addr) || rmem_free(session, addr) ? fail()
											: 0;
}

static int call(void *arg)
{
	struct lane *lane = arg;
	const struct job *job = &lane->job;
	int n = (int)job->pieces;
	int err;

	if (job->mode == MODE_ALLOC)
		return alloc_and_free(job);
	if (n > 1)
		err = job->write ? rmem_writev(session, lane->here, n, lane->there, n)
				 : rmem_readv(session, lane->here, n, lane->there, n);
	else
		err = job->write ? rmem_write(session, lane->remote, lane->local, job->bytes)
				 : rmem_read(session, lane->local, lane->remote, job->bytes);
	return err ? fail() : 0;
}

static int start(void *arg, bool last)
{
	struct lane *lane = arg;
	const struct job *job = &lane->job;
	int err = job->write
			  ? rmem_start_write(lane->queue, lane->remote, lane->local, job->bytes, 0)
			  : rmem_start_read(lane->queue, lane->local, lane->remote, job->bytes, 0);

	(void)last; /* the library knows where it needs completions */
	return err ? fail() : 0;
}

static int reap(void *arg)
{
	struct lane *lane = arg;
	struct rmem_completion done[BATCH];
	int n = rmem_reap(lane->queue, done, BATCH, -1);

	for (int i = 0; i < n; i++)
		if (done[i].status)
			return fail();
	return n < 0 ? fail() : n;
}

const struct party party = { .name = "rmem",
	.open = open_party,
	.close = close_party,
	.attach = attach,
	.detach = detach,
	.call = call,
	.start = start,
	.reap = reap };
