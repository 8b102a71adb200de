/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/support/cable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/endpoint_impl.h"
#include "tests/support/lender.h"

#define COMPLETIONS 1024

struct cable cable;

/* A connection: the endpoint, what verbs know of it, and what has completed. */
struct line {
	struct endpoint ep; /* first */
	struct ibv_context context;
	struct ibv_qp qp;
	struct ibv_cq cq;
	struct ibv_comp_channel completions;
	struct rdma_event_channel events;
	struct rdma_cm_id id;
	unsigned number;
	bool broken, silent;
	struct ibv_wc done[COMPLETIONS];
	_Atomic unsigned ndone;
	unsigned ntaken;
	struct ibv_send_wr
		waiting[COMPLETIONS]; /* of a line that is silent; the pieces are the poster's */
	_Atomic unsigned nwaiting;
	uint8_t answer[MESSAGE_MAX];
};

static struct line *_Atomic silent_line; /* the last; NULL: none is, any more */
static struct ibv_context device_context;
static struct ibv_pd pd = { .context = &device_context };

static struct line *line_of_qp(const struct ibv_qp *qp)
{
	return qp->qp_context;
}

static void complete(struct line *l, uint64_t wr_id, enum ibv_wc_status status)
{
	if (l->ndone - l->ntaken == COMPLETIONS)
		abort();
	l->done[l->ndone % COMPLETIONS] = (struct ibv_wc){ .wr_id = wr_id, .status = status };
	l->ndone++;
}

/* Bytes between local pieces and the lender's memory. false: nothing is lent there. */
static bool move(const struct ibv_send_wr *wr, uint64_t remote, bool out)
{
	for (int i = 0; i < wr->num_sge; i++) {
		const struct ibv_sge *sge = &wr->sg_list[i];
		const struct loan *loan = lender_find(remote);
		uint8_t *there;

		if (!loan || sge->length > loan->bytes - (remote - loan->addr))
			return false;
		there = loan->memory + (remote - loan->addr);
		if (out)
			memcpy(there, (const void *)(uintptr_t)sge->addr, sge->length);
		else
			memcpy((void *)(uintptr_t)sge->addr, there, sge->length);
		remote += sge->length;
	}
	return true;
}

static bool carry_out_atomic(const struct ibv_send_wr *wr)
{
	const uint64_t addr = wr->wr.atomic.remote_addr;
	const struct loan *loan = lender_find(addr);
	uint64_t word;

	if (!loan)
		return false;
	memcpy(&word, loan->memory + (addr - loan->addr), sizeof(word));
	memcpy((void *)(uintptr_t)wr->sg_list[0].addr, &word, sizeof(word));
	if (wr->opcode == IBV_WR_ATOMIC_FETCH_AND_ADD)
		word += wr->wr.atomic.compare_add;
	else if (word == wr->wr.atomic.compare_add)
		word = wr->wr.atomic.swap;
	memcpy(loan->memory + (addr - loan->addr), &word, sizeof(word));
	return true;
}

static bool carry_out(const struct ibv_send_wr *wr)
{
	switch (wr->opcode) {
	case IBV_WR_RDMA_WRITE:
		lender_see_write(wr->wr.rdma.remote_addr);
		return move(wr, wr->wr.rdma.remote_addr, true);
	case IBV_WR_RDMA_READ:
		return move(wr, wr->wr.rdma.remote_addr, false);
	default:
		lender_see_write(wr->wr.atomic.remote_addr);
		return carry_out_atomic(wr);
	}
}

static void post_one(struct line *l, const struct ibv_send_wr *wr)
{
	const enum cable_fate fate = l->broken    ? CABLE_DONE
				     : l->silent  ? CABLE_SILENT
				     : cable.fate ? cable.fate(wr, l->number)
						  : CABLE_DONE;
	bool ok;

	if (l->broken) {
		complete(l, wr->wr_id, IBV_WC_WR_FLUSH_ERR);
	} else if (fate == CABLE_SILENT) {
		l->silent = true;
		l->waiting[l->nwaiting++] = *wr;
		silent_line = l;
	} else {
		ok = fate == CABLE_LOST || carry_out(wr);
		l->broken = fate != CABLE_DONE || !ok;
		if (l->broken)
			complete(l, wr->wr_id, ok ? IBV_WC_RETRY_EXC_ERR : IBV_WC_REM_ACCESS_ERR);
		else if (wr->send_flags & IBV_SEND_SIGNALED)
			complete(l, wr->wr_id, IBV_WC_SUCCESS);
	}
}

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	(void)bad;
	for (; wr; wr = wr->next)
		post_one(line_of_qp(qp), wr);
	return 0;
}

static int poll_cq(struct ibv_cq *cq, int max, struct ibv_wc *wc)
{
	struct line *l = cq->cq_context;
	int n = 0;

	while (n < max && l->ntaken != l->ndone)
		wc[n++] = l->done[l->ntaken++ % COMPLETIONS];
	return n;
}

static int req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	(void)cq;
	(void)solicited_only;
	return 0;
}

void cable_arrive(void)
{
	struct line *l = silent_line;

	for (unsigned i = 0; l && i < l->nwaiting; i++) {
		const bool ok = carry_out(&l->waiting[i]);

		complete(l, l->waiting[i].wr_id, ok ? IBV_WC_SUCCESS : IBV_WC_REM_ACCESS_ERR);
	}
	if (l) {
		l->nwaiting = 0;
		l->silent = false;
		(void)eventfd_write(l->completions.fd, 1);
	}
	silent_line = NULL;
}

bool cable_is_silent(void)
{
	return silent_line && silent_line->nwaiting;
}

void cable_break(void)
{
	struct line *l = silent_line;

	for (unsigned i = 0; l && i < l->nwaiting; i++)
		complete(l, l->waiting[i].wr_id, i ? IBV_WC_WR_FLUSH_ERR : IBV_WC_RETRY_EXC_ERR);
	if (l) {
		l->nwaiting = 0;
		l->broken = true;
	}
	silent_line = NULL;
}

/* ---- instead of verbs and the connection manager ---- */

int __wrap_ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask);
struct ibv_mr *__wrap_ibv_reg_mr(struct ibv_pd *in, void *addr, size_t bytes, int access);
int __wrap_ibv_dereg_mr(struct ibv_mr *mr);
int __wrap_ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **context);
const char *__wrap_ibv_get_device_name(struct ibv_device *device);
struct domain *__wrap_domain_hold(struct domain *d);
void __wrap_domain_release(struct domain *d);
struct ibv_pd *__wrap_domain_pd(const struct domain *d);
int __wrap_endpoint_connect(
	const struct endpoint_attr *attr, struct endpoint **out, struct errinfo *errinfo);
void __wrap_endpoint_destroy(struct endpoint *ep);
int __wrap_endpoint_call(struct endpoint *ep, enum message_type type, uint32_t seq,
	const struct wire *body, uint64_t deadline_ns, struct wire *out, struct errinfo *errinfo);

static struct {
	uint64_t remote, word;
	uint32_t bytes;
} late[16];
static unsigned nlate;

static void keep_for_later(const struct ibv_send_wr *wr)
{
	if (wr->opcode != IBV_WR_RDMA_WRITE || wr->num_sge != 1 || wr->sg_list[0].length > 8 ||
		nlate == 16)
		return;
	late[nlate].remote = wr->wr.rdma.remote_addr;
	late[nlate].bytes = wr->sg_list[0].length;
	memcpy(&late[nlate++].word, (const void *)(uintptr_t)wr->sg_list[0].addr,
		wr->sg_list[0].length);
}

void cable_arrive_late(void)
{
	for (unsigned i = 0; i < nlate; i++) {
		struct ibv_sge sge = { (uintptr_t)&late[i].word, late[i].bytes, 0 };
		const struct ibv_send_wr wr = { .sg_list = &sge, .num_sge = 1 };

		(void)move(&wr, late[i].remote, true);
	}
	nlate = 0;
}

/* Into error: what waits is flushed. */
int __wrap_ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	struct line *l = line_of_qp(qp);

	(void)attr;
	(void)mask;
	l->broken = true;
	for (unsigned i = 0; i < l->nwaiting; i++) {
		keep_for_later(&l->waiting[i]);
		complete(l, l->waiting[i].wr_id, IBV_WC_WR_FLUSH_ERR);
	}
	l->nwaiting = 0;
	return 0;
}

struct ibv_mr *__wrap_ibv_reg_mr(struct ibv_pd *in, void *addr, size_t bytes, int access)
{
	struct ibv_mr *mr = calloc(1, sizeof(*mr));

	(void)access;
	if (mr)
		*mr = (struct ibv_mr){ .pd = in, .addr = addr, .length = bytes };
	return mr;
}

int __wrap_ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **context)
{
	eventfd_t count;

	(void)cq;
	(void)context;
	(void)eventfd_read(channel->fd, &count);
	return -1; /* none is to be acknowledged */
}

int __wrap_ibv_dereg_mr(struct ibv_mr *mr)
{
	free(mr);
	return 0;
}

const char *__wrap_ibv_get_device_name(struct ibv_device *device)
{
	(void)device;
	return "cable";
}

struct domain *__wrap_domain_hold(struct domain *d)
{
	return d;
}

void __wrap_domain_release(struct domain *d)
{
	(void)d;
}

struct ibv_pd *__wrap_domain_pd(const struct domain *d)
{
	(void)d;
	return &pd;
}

int __wrap_endpoint_connect(
	const struct endpoint_attr *attr, struct endpoint **out, struct errinfo *errinfo)
{
	struct line *l;

	if (cable.unplugged)
		return errinfo_set(errinfo, -ECONNREFUSED, "the cable is not plugged in");
	l = calloc(1, sizeof(*l));
	if (!l)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	l->number = ++cable.connections;
	l->context.ops.post_send = post_send;
	l->context.ops.poll_cq = poll_cq;
	l->context.ops.req_notify_cq = req_notify_cq;
	l->qp = (struct ibv_qp){ .context = &l->context, .qp_context = l };
	l->cq = (struct ibv_cq){ .context = &l->context, .cq_context = l };
	l->events.fd = -1;
	l->completions.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->id.qp = &l->qp;
	l->ep = (struct endpoint){
		.port = { .qp = &l->qp, .cq = &l->cq, .inline_bytes = 64 },
		.shake = { .id = &l->id, .channel = &l->events },
		.domain = attr->domain,
		.send_depth = attr->send_depth,
		.send = { .channel = &l->completions, .ibv = &l->cq },
		.write_pieces = ENDPOINT_SGE_MAX,
		.read_pieces = ENDPOINT_SGE_MAX,
		.has_atomics = true,
	};
	*out = &l->ep;
	return 0;
}

void __wrap_endpoint_destroy(struct endpoint *ep)
{
	if (silent_line == (struct line *)ep)
		silent_line = NULL;
	if (ep)
		close(((struct line *)ep)->completions.fd);
	free(ep);
}

/* JOIN, and ATTACH of what is lent. */
int __wrap_endpoint_call(struct endpoint *ep, enum message_type type, uint32_t seq,
	const struct wire *body, uint64_t deadline_ns, struct wire *out, struct errinfo *errinfo)
{
	struct line *l = (struct line *)ep;
	struct wire request = wire_over(body->data, body->pos);
	struct wire reply = wire_over(l->answer, sizeof(l->answer));
	struct attach_request attach;
	const struct loan *loan;

	(void)seq;
	(void)deadline_ns;
	if (type == MESSAGE_ATTACH) {
		attach_request_get(&request, &attach);
		loan = lender_find(attach.addr);
		if (!loan || loan->serial != attach.serial)
			return errinfo_set(
				errinfo, -ESTALE, "nothing of that serial is lent there");
		grant_reply_put(&reply, &(struct grant_reply){ .addr = loan->addr,
						.bytes = loan->bytes,
						.serial = loan->serial,
						.rkey = 1 });
	}
	*out = wire_over(l->answer, reply.pos);
	return 0;
}
