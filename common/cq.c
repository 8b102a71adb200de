/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/cq.h"

#include <errno.h>

#include "common/clock.h"
#include "common/handshake.h"
#include "common/verbs.h"

/*
 * How long to poll before sleeping. If waits are mostly shorter than half of it, a sleeper would be awake too
 * late, and polling through the rare long ones costs little; if they are mostly longer, polling only burns
 * the CPU.
 */
#define SPIN_NS NSEC_PER_MSEC
#define SPIN_IDLE_NS (2 * NSEC_PER_USEC)
#define SPIN_POLLS 64                         /* between looks at the clock */
#define TYPICAL_GUESS_NS (50 * NSEC_PER_USEC) /* until it is known */
#define TYPICAL_MAX_NS NSEC_PER_SEC
#define TYPICAL_STEP 16 /* it moves by this part of itself, whatever a single wait takes */

int cq_create(struct cq *q, struct ibv_context *device, int depth)
{
	int rc;

	q->channel = ibv_create_comp_channel(device);
	if (!q->channel)
		return verbs_errno();
	rc = verbs_set_nonblocking(q->channel->fd);
	if (rc)
		return rc;
	q->typical_ns = TYPICAL_GUESS_NS;
	q->ibv = ibv_create_cq(device, depth, NULL, q->channel, 0);
	return q->ibv ? 0 : verbs_errno();
}

void cq_drain(struct cq *q)
{
	struct ibv_cq *cq;
	unsigned n = 0;
	void *ctx;

	while (ibv_get_cq_event(q->channel, &cq, &ctx) == 0)
		n++;
	if (n)
		ibv_ack_cq_events(q->ibv, n);
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

/* A running median: half of the waits are longer. One that takes a thousand times as long is one wait. */
static void learn(struct cq *q, uint64_t took_ns)
{
	uint64_t step = q->typical_ns / TYPICAL_STEP;

	if (took_ns < q->typical_ns)
		q->typical_ns -= step;
	else if (q->typical_ns < TYPICAL_MAX_NS)
		q->typical_ns += step + 1;
}

/* Not before it has come: who waits for it pays for every look at the clock. */
static int spun(struct cq *q, int n, uint64_t took_ns)
{
	if (took_ns)
		learn(q, took_ns);
	return n < 0 ? -EIO : n;
}

int cq_spin(struct cq *q, struct ibv_wc *wc, int max, uint64_t *began_ns)
{
	uint64_t limit = UINT64_MAX, took = 0;

	/* Polls after each look at the clock: whoever did not run meanwhile has not looked. */
	for (;;) {
		for (unsigned i = 0; i < SPIN_POLLS; i++) {
			int n = ibv_poll_cq(q->ibv, max, wc);

			if (n)
				return spun(q, n, took);
		}
		if (took >= limit)
			return 0;
		if (*began_ns) {
			took = clock_boot_ns() - *began_ns;
		} else {
			*began_ns = clock_boot_ns();
			limit = q->typical_ns < SPIN_NS / 2 ? SPIN_NS : SPIN_IDLE_NS;
		}
	}
}

void cq_slept(struct cq *q, uint64_t began_ns)
{
	learn(q, clock_boot_ns() - began_ns);
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
	rc = handshake_wait(q->channel->fd, how->other_fd, how->cancel_fd, how->deadline_ns);
	if (rc)
		return rc;
	cq_drain(q);
	n = ibv_poll_cq(q->ibv, max, wc);
	return n < 0 ? -EIO : n;
}
