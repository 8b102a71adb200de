/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/cq.h"

#include <errno.h>

#include "common/clock.h"
#include "common/handshake.h"
#include "common/verbs.h"

#define SPIN_POLLS 64 /* between looks at the clock */

int cq_create(struct cq *q, struct ibv_context *device, int depth)
{
	int rc;

	q->channel = ibv_create_comp_channel(device);
	if (!q->channel)
		return verbs_errno();
	rc = verbs_set_nonblocking(q->channel->fd);
	if (rc)
		return rc;
	poll_budget_init(&q->budget, clock_boot_ns());
	q->ibv = ibv_create_cq(device, depth, NULL, q->channel, 0);
	return q->ibv ? 0 : verbs_errno();
}

/* Each try is a system call. */
static bool take_event(struct cq *q)
{
	struct ibv_cq *cq;
	void *ctx;

	if (ibv_get_cq_event(q->channel, &cq, &ctx))
		return false;
	ibv_ack_cq_events(q->ibv, 1);
	return true;
}

void cq_drain(struct cq *q)
{
	while (take_event(q))
		;
}

void cq_destroy(struct cq *q)
{
	/* Without a queue nothing was notified, and reading its channel may wait for ever. */
	if (q->ibv) {
		cq_drain(q);
		ibv_destroy_cq(q->ibv);
	}
	if (q->channel)
		ibv_destroy_comp_channel(q->channel);
}

/*
 * It has come. What is known of how long it took is the last look: another one, after it has come, would make who
 * waits for it wait longer.
 */
static int spun(struct cq *q, int n, uint64_t looked_ns)
{
	if (looked_ns)
		poll_budget_end(&q->budget, looked_ns, n > 0);
	return n < 0 ? -EIO : n;
}

int cq_spin(struct cq *q, struct ibv_wc *wc, int max, uint64_t deadline_ns)
{
	uint64_t until = UINT64_MAX, now = 0;

	/* Polls after each look at the clock: a thread that did not run meanwhile has not looked. */
	for (;;) {
		for (unsigned i = 0; i < SPIN_POLLS; i++) {
			int n = ibv_poll_cq(q->ibv, max, wc);

			if (n)
				return spun(q, n, now);
		}
		if (now >= until)
			return 0;
		if (now) {
			now = clock_boot_ns();
		} else {
			now = clock_boot_ns();
			until = now + poll_budget_begin(&q->budget, now, max == 1);
			if (until > deadline_ns)
				until = deadline_ns;
		}
	}
}

void cq_slept(struct cq *q, bool came)
{
	poll_budget_end(&q->budget, clock_boot_ns(), came);
}

int cq_sleep(struct cq *q, struct ibv_wc *wc, int max, const struct cq_sleep *how)
{
	int n, rc;

	if (ibv_req_notify_cq(q->ibv, 0))
		return -EIO;
	/* What came before the request is not notified. */
	n = ibv_poll_cq(q->ibv, max, wc);
	if (n)
		return n < 0 ? -EIO : n;
	rc = handshake_wait_or_signal(
		q->channel->fd, how->other_fd, how->cancel_fd, how->deadline_ns);
	if (rc == -EINTR && !how->interruptible)
		return 0;
	if (rc)
		return rc;
	(void)take_event(q);
	n = ibv_poll_cq(q->ibv, max, wc);
	/* What was announced may have been taken before: then more may have been announced like that. */
	if (n == 0)
		cq_drain(q);
	return n < 0 ? -EIO : n;
}
