/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/units.h"
#include "common/verbs.h"

#define WINDOW ENDPOINT_WINDOW
#define SLOT_BYTES (64 * KIB)
#define REGISTER_MIN (SLOT_BYTES + 1) /* up to here, copying is cheaper than pinning */
#define REGISTER_MAX (16 * MIB)       /* pinned in one go */
#define PROGRESS_LIMIT_NS (10 * NSEC_PER_SEC)

/* A local range pinned for this call. There is one more than can be in use. */
struct registration {
	struct ibv_mr *mr;
	uintptr_t start, end;
	uint64_t used; /* number of the last work request that uses it */
};
#define REGISTRATIONS (WINDOW + 1)

struct work {
	struct plan
		at; /* where its bytes begin: a read's bytes are handed out by walking it again */
	size_t bytes;
	bool in_slot;
};

struct transfer {
	struct endpoint *ep;
	uint8_t *slots;
	struct ibv_mr *mr; /* over slots */
	struct registration registrations[REGISTRATIONS];
	bool pinned; /* one of them is in use */
	struct work works[WINDOW];
	uint64_t posted, done; /* work requests of this call */
};

/* What one call of transfer_run() is about. */
struct job {
	struct transfer *t;
	enum transfer_direction direction;
	struct plan next; /* what has not been posted */
	transfer_key_fn *key;
	void *ctx;
};

int transfer_create(struct transfer **out, struct why *why)
{
	struct transfer *t = calloc(1, sizeof(*t));

	if (t)
		t->slots = aligned_alloc(4096, WINDOW * SLOT_BYTES);
	if (!t || !t->slots) {
		transfer_destroy(t);
		return why_set(why, -ENOMEM, "out of memory");
	}
	memset(t->slots, 0, WINDOW * SLOT_BYTES);
	*out = t;
	return 0;
}

void transfer_destroy(struct transfer *t)
{
	if (!t)
		return;
	free(t->slots);
	free(t);
}

int transfer_attach(struct transfer *t, struct endpoint *ep, struct why *why)
{
	int rc;

	t->mr = ibv_reg_mr(endpoint_pd(ep), t->slots, WINDOW * SLOT_BYTES, IBV_ACCESS_LOCAL_WRITE);
	if (!t->mr) {
		rc = verbs_errno();
		return why_set(why, rc,
			"cannot lock %llu KiB of memory for the RDMA device: %s (see 'ulimit -l')",
			WINDOW * SLOT_BYTES / KIB, strerror(-rc));
	}
	t->ep = ep;
	return 0;
}

void transfer_detach(struct transfer *t)
{
	if (t->mr)
		ibv_dereg_mr(t->mr);
	t->mr = NULL;
	t->ep = NULL;
}

static uint8_t *slot_of(struct transfer *t, uint64_t number)
{
	return t->slots + (number % WINDOW) * SLOT_BYTES;
}

static void release(struct registration *r)
{
	if (r->mr)
		ibv_dereg_mr(r->mr);
	*r = (struct registration){ 0 };
}

static void unpin(struct transfer *t)
{
	for (unsigned i = 0; i < REGISTRATIONS; i++)
		release(&t->registrations[i]);
	t->pinned = false;
}

/* The oldest one that no outstanding work request uses: there always is one. */
static struct registration *reusable(struct transfer *t)
{
	struct registration *best = NULL;

	for (unsigned i = 0; i < REGISTRATIONS; i++) {
		struct registration *r = &t->registrations[i];

		if (!r->mr)
			return r;
		if (!best || r->used < best->used)
			best = r;
	}
	return best;
}

/* A registration that covers the segment, or NULL: then the slots will do. */
static struct ibv_mr *pin(struct job *job, const struct plan_segment *seg)
{
	struct transfer *t = job->t;
	const struct iovec *piece = &job->next.local[seg->local_piece];
	uintptr_t start = (uintptr_t)seg->local;
	uintptr_t end = (uintptr_t)piece->iov_base + piece->iov_len;
	struct registration *r;

	for (unsigned i = 0; i < REGISTRATIONS; i++) {
		r = &t->registrations[i];
		if (r->mr && r->start <= start && start + seg->len <= r->end) {
			r->used = t->posted;
			return r->mr;
		}
	}
	if (end - start > REGISTER_MAX)
		end = start + REGISTER_MAX;
	r = reusable(t);
	release(r);
	/* Without LOCAL_WRITE the source of a write may be read-only memory. */
	t->pinned = true;
	r->mr = ibv_reg_mr(endpoint_pd(t->ep), seg->local, end - start,
		job->direction == TRANSFER_READ ? IBV_ACCESS_LOCAL_WRITE : 0);
	if (!r->mr)
		return NULL;
	r->start = start;
	r->end = end;
	r->used = t->posted;
	return r->mr;
}

/* Gather remote neighbours into the slot of the next work request, as many as fit. */
static int fill_slot(struct job *job, struct work *work, uint64_t *out_remote, uint32_t *out_rkey,
	struct why *why)
{
	uint8_t *slot = slot_of(job->t, job->t->posted);
	struct plan_segment seg;
	uint64_t start = 0;
	size_t n = 0;

	while (n < SLOT_BYTES && plan_peek(&job->next, &seg)) {
		size_t take = seg.len < SLOT_BYTES - n ? seg.len : SLOT_BYTES - n;
		uint32_t rkey;
		int rc;

		if (n == 0)
			start = seg.remote;
		else if (seg.remote != start + n || seg.len >= REGISTER_MIN)
			break;
		rc = job->key(job->ctx, start, n + take, &rkey, why);
		if (rc && n == 0)
			return rc;
		if (rc) /* the neighbour is another allocation: it gets its own request */
			break;
		*out_rkey = rkey;
		if (job->direction == TRANSFER_WRITE)
			memcpy(slot + n, seg.local, take);
		plan_advance(&job->next, take);
		n += take;
	}
	*out_remote = start;
	work->bytes = n;
	work->in_slot = true;
	return 0;
}

/* Post a work request for what comes next in the plan. */
static int post_next(struct job *job, struct why *why)
{
	struct transfer *t = job->t;
	struct work *work = &t->works[t->posted % WINDOW];
	struct ibv_sge sge = { 0 };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = job->direction == TRANSFER_WRITE ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ,
	};
	struct plan_segment seg;
	struct ibv_mr *mr = NULL;
	uint32_t rkey = 0;
	int rc;

	work->at = job->next;
	if (!plan_peek(&job->next, &seg))
		return 0;
	if (seg.len >= REGISTER_MIN) {
		rc = job->key(job->ctx, seg.remote, seg.len, &rkey, why);
		if (rc)
			return rc;
		mr = pin(job, &seg);
	}
	if (mr) {
		sge = (struct ibv_sge){ (uintptr_t)seg.local, (uint32_t)seg.len, mr->lkey };
		wr.wr.rdma.remote_addr = seg.remote;
		work->bytes = seg.len;
		work->in_slot = false;
		plan_advance(&job->next, seg.len);
	} else {
		rc = fill_slot(job, work, &wr.wr.rdma.remote_addr, &rkey, why);
		if (rc)
			return rc;
		sge = (struct ibv_sge){ (uintptr_t)slot_of(t, t->posted), (uint32_t)work->bytes,
			t->mr->lkey };
		if (job->direction == TRANSFER_WRITE && work->bytes <= endpoint_inline_bytes(t->ep))
			wr.send_flags = IBV_SEND_INLINE;
	}
	wr.wr.rdma.rkey = rkey;
	rc = endpoint_post(t->ep, &wr, why);
	if (rc == 0)
		t->posted++;
	return rc;
}

/* A read that went through a slot: hand its bytes out. */
static void empty_slot(struct transfer *t, const struct work *work)
{
	const uint8_t *slot = slot_of(t, t->done);
	struct plan at = work->at;
	struct plan_segment seg;
	size_t n = 0;

	while (n < work->bytes && plan_peek(&at, &seg)) {
		size_t take = seg.len < work->bytes - n ? seg.len : work->bytes - n;

		memcpy(seg.local, slot + n, take);
		plan_advance(&at, take);
		n += take;
	}
}

static int judge(const struct endpoint *ep, enum ibv_wc_status status, struct why *why)
{
	int rc = verbs_wc_errno(status);

	if (rc == -EACCES)
		return why_set(why, rc, "the server's RDMA device refused the access");
	return why_set(why, -ECONNRESET, "the connection to rmemd at %s broke: %s",
		endpoint_peer(ep), ibv_wc_status_str(status));
}

/* Take in at least one completion; *rc keeps the first failure. False: none will come any more. */
static bool reap(struct job *job, struct plan *plan, int *rc, struct why *why)
{
	struct transfer *t = job->t;
	struct ibv_wc wc[WINDOW];
	int n;

	n = endpoint_reap(t->ep, wc, WINDOW, clock_boot_ns() + PROGRESS_LIMIT_NS);
	if (n < 0) {
		*rc = why_set(why, -ECONNRESET, "the connection to rmemd at %s broke",
			endpoint_peer(t->ep));
		return false;
	}
	for (int i = 0; i < n; i++, t->done++) {
		const struct work *work = &t->works[t->done % WINDOW];

		if (wc[i].status != IBV_WC_SUCCESS && *rc == 0)
			*rc = judge(t->ep, wc[i].status, why);
		if (wc[i].status != IBV_WC_SUCCESS)
			continue;
		if (work->in_slot && job->direction == TRANSFER_READ)
			empty_slot(t, work);
		plan_advance(plan, work->bytes);
	}
	return true;
}

int transfer_run(struct transfer *t, enum transfer_direction direction, struct plan *plan,
	size_t budget, transfer_key_fn *key, void *ctx, struct why *why)
{
	struct job job = { .t = t, .direction = direction, .next = *plan, .key = key, .ctx = ctx };
	size_t left_before = plan->left;
	bool full, alive = true;
	int stop = 0, rc = 0;

	t->posted = t->done = 0;
	while (alive) {
		full = left_before - job.next.left >= budget;
		while (!stop && !rc && !full && job.next.left && t->posted - t->done < WINDOW) {
			stop = post_next(&job, why);
			full = left_before - job.next.left >= budget;
		}
		if (t->posted == t->done)
			break;
		alive = reap(&job, plan, &rc, why);
	}
	if (t->pinned)
		unpin(t);
	return rc ? rc : stop;
}

int transfer_put_word(
	struct transfer *t, uint64_t addr, uint32_t rkey, uint64_t value, struct why *why)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)t->slots,
		.length = sizeof(value),
		.lkey = t->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = endpoint_inline_bytes(t->ep) >= sizeof(value) ? IBV_SEND_INLINE : 0,
		.wr.rdma = { .remote_addr = addr, .rkey = rkey },
	};
	struct ibv_wc wc;
	int rc;

	memcpy(t->slots, &value, sizeof(value));
	rc = endpoint_post(t->ep, &wr, why);
	if (rc)
		return rc;
	rc = endpoint_reap(t->ep, &wc, 1, clock_boot_ns() + PROGRESS_LIMIT_NS);
	if (rc < 0)
		return why_set(why, -ECONNRESET, "the connection to rmemd at %s broke",
			endpoint_peer(t->ep));
	return wc.status == IBV_WC_SUCCESS ? 0 : judge(t->ep, wc.status, why);
}
