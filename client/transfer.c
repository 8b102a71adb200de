/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/transfer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/pins.h"
#include "common/clock.h"
#include "common/units.h"
#include "common/verbs.h"

#define WINDOW ENDPOINT_WINDOW
#define SIGNAL_EVERY (WINDOW / 2) /* so that the next half is posted while this one is on its way */
#define SLOT_BYTES (64 * KIB)
#define PIN_MIN (SLOT_BYTES + 1) /* up to here, copying is cheaper than registering */
#define PROGRESS_LIMIT_NS (10 * NSEC_PER_SEC)

/* How local bytes travel: see transfer.h. */
enum way { WAY_INLINE, WAY_IN_PLACE, WAY_PINNED, WAY_SLOT };

struct work {
	struct plan at; /* where its bytes begin: a read's slot is handed out by walking it again */
	size_t bytes;
	enum way way;
	struct ibv_send_wr wr;
	struct ibv_sge sges[ENDPOINT_SGE_MAX];
};

struct transfer {
	const struct buffers *buffers;
	struct endpoint *ep;
	uint8_t *slots;
	struct ibv_mr *mr; /* over slots */
	struct pins pins;
	struct work works[WINDOW];
	uint64_t built, posted, done; /* work requests of this call: done <= posted <= built */
	struct rmem_stats stats;
};

/* What one call of transfer_run() is about. */
struct job {
	struct transfer *t;
	enum transfer_direction direction;
	struct plan next; /* what is not in a work request yet */
	transfer_key_fn *key;
	void *ctx;
};

int transfer_create(const struct buffers *buffers, struct transfer **out, struct why *why)
{
	struct transfer *t = calloc(1, sizeof(*t));

	if (t)
		t->slots = aligned_alloc(4096, WINDOW * SLOT_BYTES);
	if (!t || !t->slots) {
		transfer_destroy(t);
		return why_set(why, -ENOMEM, "out of memory");
	}
	memset(t->slots, 0, WINDOW * SLOT_BYTES);
	t->buffers = buffers;
	*out = t;
	return 0;
}

void transfer_destroy(struct transfer *t)
{
	if (!t)
		return;
	transfer_leave_domain(t);
	free(t->slots);
	free(t);
}

int transfer_attach(struct transfer *t, struct endpoint *ep, struct why *why)
{
	int rc;

	if (!t->mr)
		t->mr = ibv_reg_mr(
			endpoint_pd(ep), t->slots, WINDOW * SLOT_BYTES, IBV_ACCESS_LOCAL_WRITE);
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
	t->ep = NULL;
}

void transfer_leave_domain(struct transfer *t)
{
	if (t->mr)
		ibv_dereg_mr(t->mr);
	t->mr = NULL;
}

void transfer_stats(const struct transfer *t, struct rmem_stats *out)
{
	*out = t->stats;
	out->size = sizeof(*out);
	out->registrations = t->pins.made;
}

static uint8_t *slot_of(struct transfer *t, uint64_t number)
{
	return t->slots + (number % WINDOW) * SLOT_BYTES;
}

/* Add the local side of a segment to a work request that goes on where the segment begins. */
static void add_piece(
	struct job *job, struct work *work, const struct plan_segment *seg, uint32_t lkey)
{
	work->sges[work->wr.num_sge++] =
		(struct ibv_sge){ (uintptr_t)seg->local, (uint32_t)seg->len, lkey };
	work->bytes += seg->len;
	plan_advance(&job->next, seg->len);
}

/* A write that is short enough, to the end of its remote neighbours. False: it must travel else. */
static bool build_inline(struct job *job, struct work *work)
{
	const uint32_t limit = endpoint_inline_bytes(job->t->ep);
	const int pieces = (int)endpoint_write_pieces(job->t->ep);
	struct plan_segment seg;
	bool fits = true;

	if (job->direction != TRANSFER_WRITE)
		return false;
	while (fits && plan_peek(&job->next, &seg)) {
		if (work->bytes && seg.remote != work->wr.wr.rdma.remote_addr + work->bytes)
			break;
		if (!work->bytes)
			work->wr.wr.rdma.remote_addr = seg.remote;
		fits = work->bytes + seg.len <= limit && work->wr.num_sge < pieces;
		if (fits)
			add_piece(job, work, &seg, 0);
	}
	/* Without a key now, or across two allocations: the other ways find out. */
	if (!fits || job->key(job->ctx, work->wr.wr.rdma.remote_addr, work->bytes,
			     &work->wr.wr.rdma.rkey, NULL)) {
		job->next = work->at;
		work->bytes = 0;
		work->wr.num_sge = 0;
		return false;
	}
	work->wr.send_flags = IBV_SEND_INLINE;
	work->way = WAY_INLINE;
	return true;
}

/* Is the segment in a buffer that is registered? */
static const struct buffer *registered(const struct job *job, const struct plan_segment *seg)
{
	const struct buffer *b =
		buffers_find_range(job->t->buffers, (uintptr_t)seg->local, seg->len);

	return b && b->mr ? b : NULL;
}

/* Gather remote neighbours that are all in registered buffers; there is at least one. */
static int build_in_place(struct job *job, struct work *work, struct why *why)
{
	const struct endpoint *ep = job->t->ep;
	const int pieces = (int)(job->direction == TRANSFER_READ ? endpoint_read_pieces(ep)
								 : endpoint_write_pieces(ep));
	struct plan_segment seg;

	work->way = WAY_IN_PLACE;
	while (work->wr.num_sge < pieces && plan_peek(&job->next, &seg)) {
		const struct buffer *b = registered(job, &seg);
		uint32_t rkey;
		int rc;

		if (!work->bytes)
			work->wr.wr.rdma.remote_addr = seg.remote;
		if (!b || seg.remote != work->wr.wr.rdma.remote_addr + work->bytes ||
			work->bytes + seg.len > PLAN_SEGMENT_MAX)
			break;
		rc = job->key(
			job->ctx, work->wr.wr.rdma.remote_addr, work->bytes + seg.len, &rkey, why);
		if (rc && !work->bytes)
			return rc;
		if (rc) /* the neighbour is another allocation: it gets its own request */
			break;
		work->wr.wr.rdma.rkey = rkey;
		add_piece(job, work, &seg, b->mr->lkey);
	}
	return 0;
}

/* One long piece, registered for this call. 1: that cannot be done. */
static int build_pinned(
	struct job *job, struct work *work, const struct plan_segment *seg, struct why *why)
{
	const struct iovec *piece = &job->next.local[seg->local_piece];
	struct transfer *t = job->t;
	struct ibv_mr *mr;
	int rc;

	work->wr.wr.rdma.remote_addr = seg->remote;
	rc = job->key(job->ctx, seg->remote, seg->len, &work->wr.wr.rdma.rkey, why);
	if (rc)
		return rc;
	mr = pins_get(&t->pins, endpoint_pd(t->ep), (uintptr_t)seg->local, seg->len,
		(uintptr_t)piece->iov_base + piece->iov_len, job->direction == TRANSFER_READ,
		t->built);
	if (!mr)
		return 1;
	work->way = WAY_PINNED;
	add_piece(job, work, seg, mr->lkey);
	return 0;
}

/* Gather remote neighbours into a slot, as many as fit and would not travel better by themselves. */
static int build_slot(struct job *job, struct work *work, struct why *why)
{
	uint8_t *slot = slot_of(job->t, job->t->built);
	struct plan_segment seg;
	uint64_t start = 0;
	size_t n = 0;

	while (n < SLOT_BYTES && plan_peek(&job->next, &seg)) {
		size_t take = seg.len < SLOT_BYTES - n ? seg.len : SLOT_BYTES - n;
		uint32_t rkey;
		int rc;

		if (n == 0)
			start = seg.remote;
		else if (seg.remote != start + n || seg.len >= PIN_MIN || registered(job, &seg))
			break;
		rc = job->key(job->ctx, start, n + take, &rkey, why);
		if (rc && n == 0)
			return rc;
		if (rc)
			break;
		work->wr.wr.rdma.rkey = rkey;
		if (job->direction == TRANSFER_WRITE)
			memcpy(slot + n, seg.local, take);
		plan_advance(&job->next, take);
		n += take;
	}
	work->wr.wr.rdma.remote_addr = start;
	work->bytes = n;
	work->way = WAY_SLOT;
	work->sges[0] = (struct ibv_sge){ (uintptr_t)slot, (uint32_t)n, job->t->mr->lkey };
	work->wr.num_sge = 1;
	return 0;
}

/* Make a work request for what comes next in the plan; there is something. */
static int build_next(struct job *job, struct why *why)
{
	struct transfer *t = job->t;
	struct work *work = &t->works[t->built % WINDOW];
	struct plan_segment seg;
	int rc = 1;

	if (!plan_peek(&job->next, &seg))
		return 0;
	work->at = job->next;
	work->bytes = 0;
	work->wr = (struct ibv_send_wr){
		.wr_id = t->built,
		.sg_list = work->sges,
		.opcode = job->direction == TRANSFER_WRITE ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ,
	};
	if (build_inline(job, work))
		rc = 0;
	else if (registered(job, &seg))
		rc = build_in_place(job, work, why);
	else if (seg.len >= PIN_MIN)
		rc = build_pinned(job, work, &seg, why);
	if (rc == 1)
		rc = build_slot(job, work, why);
	if (rc == 0)
		t->built++;
	return rc;
}

static void count(struct rmem_stats *s, const struct work *work)
{
	switch (work->way) {
	case WAY_INLINE:
		s->inline_requests++;
		s->inline_bytes += work->bytes;
		break;
	case WAY_IN_PLACE:
		s->in_place_requests++;
		s->in_place_bytes += work->bytes;
		break;
	case WAY_PINNED:
		s->registered_requests++;
		s->registered_bytes += work->bytes;
		break;
	case WAY_SLOT:
		s->slot_requests++;
		s->slot_bytes += work->bytes;
		break;
	}
}

/* Post what has been built, all at once. */
static int post_built(struct transfer *t, struct why *why)
{
	struct ibv_send_wr *first = &t->works[t->posted % WINDOW].wr, *bad = NULL;
	int rc;

	if (t->posted == t->built)
		return 0;
	for (uint64_t i = t->posted; i < t->built; i++) {
		struct ibv_send_wr *wr = &t->works[i % WINDOW].wr;
		bool last = i + 1 == t->built;

		wr->next = last ? NULL : &t->works[(i + 1) % WINDOW].wr;
		if (last || (i + 1) % SIGNAL_EVERY == 0)
			wr->send_flags |= IBV_SEND_SIGNALED;
	}
	rc = endpoint_post(t->ep, first, &bad, why);
	t->stats.doorbells++;
	if (rc) /* what was not posted does not exist */
		t->built = bad->wr_id;
	for (; t->posted < t->built; t->posted++)
		count(&t->stats, &t->works[t->posted % WINDOW]);
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

/* All up to a number have succeeded, in order. */
static void finish(struct job *job, struct plan *plan, uint64_t end)
{
	struct transfer *t = job->t;

	for (; t->done < end; t->done++) {
		const struct work *work = &t->works[t->done % WINDOW];

		if (work->way == WAY_SLOT && job->direction == TRANSFER_READ)
			empty_slot(t, work);
		plan_advance(plan, work->bytes);
	}
}

/* Take in at least one completion; *rc keeps the first failure. False: none will come any more. */
static bool reap(struct job *job, struct plan *plan, int *rc, struct why *why)
{
	struct transfer *t = job->t;
	struct ibv_wc wc[WINDOW];
	bool failed = *rc != 0;
	int n;

	n = endpoint_reap(t->ep, wc, WINDOW, clock_boot_ns() + PROGRESS_LIMIT_NS);
	if (n < 0) {
		*rc = why_set(why, -ECONNRESET, "the connection to rmemd at %s broke",
			endpoint_peer(t->ep));
		return false;
	}
	for (int i = 0; i < n; i++) {
		if (wc[i].status == IBV_WC_SUCCESS) {
			finish(job, plan, wc[i].wr_id + 1);
			continue;
		}
		/* Those before it did not fail; those behind it all will. */
		if (!failed) {
			finish(job, plan, wc[i].wr_id);
			*rc = judge(t->ep, wc[i].status, why);
		}
		failed = true;
		t->done = wc[i].wr_id + 1;
	}
	return true;
}

int transfer_run(struct transfer *t, enum transfer_direction direction, struct plan *plan,
	size_t budget, transfer_key_fn *key, void *ctx, struct why *why)
{
	struct job job = { .t = t, .direction = direction, .next = *plan, .key = key, .ctx = ctx };
	size_t left_before = plan->left;
	bool alive = true;
	int stop = 0, rc = 0;

	t->built = t->posted = t->done = 0;
	while (alive) {
		while (!stop && !rc && job.next.left && left_before - job.next.left < budget &&
			t->built - t->done < WINDOW)
			stop = build_next(&job, why);
		if (!rc)
			rc = post_built(t, why);
		if (t->posted == t->done)
			break;
		alive = reap(&job, plan, &rc, why);
	}
	pins_clear(&t->pins);
	return rc ? rc : stop;
}

/* Post one request and wait for it: 0 and its completion; -ECONNRESET, and whether it was posted. */
static int carry_out(struct transfer *t, struct ibv_send_wr *wr, struct ibv_wc *wc, bool *posted,
	struct why *why)
{
	struct ibv_send_wr *bad;
	int rc;

	wr->send_flags |= IBV_SEND_SIGNALED;
	rc = endpoint_post(t->ep, wr, &bad, why);
	*posted = rc == 0;
	if (rc)
		return rc;
	rc = endpoint_reap(t->ep, wc, 1, clock_boot_ns() + PROGRESS_LIMIT_NS);
	if (rc < 0)
		return why_set(why, -ECONNRESET, "the connection to rmemd at %s broke",
			endpoint_peer(t->ep));
	return 0;
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
	bool posted;
	int rc;

	memcpy(t->slots, &value, sizeof(value));
	rc = carry_out(t, &wr, &wc, &posted, why);
	if (rc)
		return rc;
	return wc.status == IBV_WC_SUCCESS ? 0 : judge(t->ep, wc.status, why);
}

/* What a failed atomic operation means: only a refusal says that it was not carried out. */
static int judge_atomic(
	const struct endpoint *ep, uint64_t addr, enum ibv_wc_status status, struct why *why)
{
	if (status == IBV_WC_REM_ACCESS_ERR)
		return judge(ep, status, why);
	if (status == IBV_WC_REM_INV_REQ_ERR)
		return why_set(why, -EOPNOTSUPP,
			"the RDMA device of rmemd at %s does not carry out atomic operations",
			endpoint_peer(ep));
	return why_set(why, -EREMOTEIO,
		"the connection to rmemd at %s broke (%s) during an atomic operation on 0x%" PRIx64
		": it may or may not have been carried out; read the word to find out",
		endpoint_peer(ep), ibv_wc_status_str(status), addr);
}

int transfer_atomic(struct transfer *t, const struct transfer_atomic *a, uint64_t addr,
	uint32_t rkey, uint64_t *out_old, struct why *why)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)t->slots,
		.length = sizeof(*out_old),
		.lkey = t->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = a->opcode,
		.wr.atomic = { .remote_addr = addr,
			.compare_add = a->add_or_expected,
			.swap = a->desired,
			.rkey = rkey },
	};
	struct ibv_wc wc = { .status = IBV_WC_GENERAL_ERR };
	bool posted;
	int rc;

	if (!endpoint_has_atomics(t->ep))
		return why_set(why, -EOPNOTSUPP,
			"the RDMA device of this machine has no atomic operations");
	rc = carry_out(t, &wr, &wc, &posted, why);
	if (rc && !posted)
		return rc;
	t->stats.atomics++;
	t->stats.doorbells++;
	if (rc || wc.status != IBV_WC_SUCCESS)
		return judge_atomic(t->ep, addr, wc.status, why);
	memcpy(out_old, t->slots, sizeof(*out_old));
	return 0;
}
