/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/endpoint_impl.h"
#include "common/verbs.h"

/* A posted SEND is acknowledged by the peer's NIC, or fails by itself, before this. Else the connection is over. */
#define SEND_LIMIT_NS (10 * NSEC_PER_SEC)

int endpoint_create_buffers(struct endpoint *ep, struct errinfo *errinfo)
{
	ep->held = -1;
	ep->buffers = heap_alloc(ep->heap, ENDPOINT_BUFFER_BYTES);
	if (!ep->buffers)
		return endpoint_explain(-ENOMEM, "message buffers", errinfo);
	ep->mr = ibv_reg_mr(
		domain_pd(ep->domain), ep->buffers, ENDPOINT_BUFFER_BYTES, IBV_ACCESS_LOCAL_WRITE);
	return ep->mr ? 0 : endpoint_explain(verbs_errno(), "registering message buffers", errinfo);
}

static int post_receive(struct endpoint *ep, int slot)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)ep->buffers + (size_t)slot * MESSAGE_MAX,
		.length = MESSAGE_MAX,
		.lkey = ep->mr->lkey,
	};
	struct ibv_recv_wr wr = { .wr_id = (uint64_t)slot, .sg_list = &sge, .num_sge = 1 };
	struct ibv_recv_wr *bad;

	return verbs_err(ibv_post_recv(ep->shake.id->qp, &wr, &bad));
}

int endpoint_post_receives(struct endpoint *ep)
{
	int rc = 0;

	for (int i = 0; rc == 0 && i < (int)RECEIVE_BUFFERS; i++)
		rc = post_receive(ep, i);
	return rc;
}

/*
 * Wait for what was posted last. -ETIMEDOUT, -ECANCELED: it is left on its way, and the next message waits for it
 * first. -ECONNRESET, -EACCES: it failed.
 */
static int await_sent(struct endpoint *ep, uint64_t deadline_ns, struct errinfo *errinfo)
{
	const uint64_t give_up_ns = ep->sent_ns + SEND_LIMIT_NS;
	struct ibv_wc wc;
	int n, rc;

	n = endpoint_completions(ep, &ep->send, &wc, 1,
		deadline_ns < give_up_ns ? deadline_ns : give_up_ns, ep->shake.cancel_fd);
	if (n == -ECANCELED)
		return errinfo_set(errinfo, n, "cancelled");
	if (n == -ETIMEDOUT && deadline_ns < give_up_ns)
		return errinfo_set(errinfo, n,
			"what was sent to rmemd at %s has not arrived yet: is it gone, or the "
			"network to it?",
			ep->shake.peer);
	ep->sending = false;
	if (n > 0 && wc.status == IBV_WC_SUCCESS)
		return 0;
	endpoint_break(ep);
	if (n < 0)
		return endpoint_reset(ep, errinfo);
	rc = verbs_wc_errno(wc.status);
	return errinfo_set(errinfo, rc == -EACCES ? rc : -ECONNRESET,
		"the connection to rmemd at %s broke: %s", ep->shake.peer,
		ibv_wc_status_str(wc.status));
}

/* -EBUSY: the message before is still on its way, and this one was not sent. */
static int post_and_wait(
	struct endpoint *ep, struct ibv_send_wr *wr, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct ibv_send_wr *bad;
	int rc = endpoint_post(ep, wr, &bad, errinfo);

	if (rc)
		return rc;
	ep->sending = true;
	ep->sent_ns = clock_boot_ns();
	return await_sent(ep, deadline_ns, errinfo);
}

/* The buffer is free, and the send queue empty. -EBUSY: they are not, so nothing can be sent. */
static int finish_earlier(struct endpoint *ep, uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc = ep->sending ? await_sent(ep, deadline_ns, errinfo) : 0;

	if (rc == -ETIMEDOUT || rc == -ECANCELED)
		return -EBUSY;
	return rc == -EACCES ? -ECONNRESET : rc;
}

int endpoint_put_word(struct endpoint *ep, uint64_t addr, uint32_t rkey, uint64_t value,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	uint8_t *buffer = ep->buffers + RECEIVE_BUFFERS * MESSAGE_MAX;
	struct ibv_sge sge = {
		.addr = (uintptr_t)buffer,
		.length = sizeof(value),
		.lkey = ep->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = addr, .rkey = rkey },
	};
	int rc = finish_earlier(ep, deadline_ns, errinfo);

	if (rc)
		return rc;
	memcpy(buffer, &value, sizeof(value));
	if (ep->port.inline_bytes >= sizeof(value))
		wr.send_flags |= IBV_SEND_INLINE;
	return post_and_wait(ep, &wr, deadline_ns, errinfo);
}

int endpoint_send(struct endpoint *ep, enum message_type type, uint32_t seq,
	const struct wire *body, uint64_t deadline_ns, struct errinfo *errinfo)
{
	uint8_t *buffer = ep->buffers + RECEIVE_BUFFERS * MESSAGE_MAX;
	struct header header = { .type = (uint8_t)type, .seq = seq };
	struct wire w = wire_over(buffer, MESSAGE_MAX);
	struct ibv_sge sge = { .addr = (uintptr_t)buffer, .lkey = ep->mr->lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED,
	};
	int rc = finish_earlier(ep, deadline_ns, errinfo);

	if (rc)
		return rc;
	header_put(&w, &header);
	if (body)
		wire_put_bytes(&w, body->data, body->pos);
	if (w.failed || (body && body->failed))
		return errinfo_set(errinfo, -EMSGSIZE, "a %s request does not fit into a message",
			message_name((uint8_t)type));
	if (ep->held >= 0) {
		if (post_receive(ep, ep->held))
			endpoint_break(ep);
		ep->held = -1;
	}
	sge.length = (uint32_t)w.pos;
	if (w.pos <= ep->port.inline_bytes)
		wr.send_flags |= IBV_SEND_INLINE;
	rc = post_and_wait(ep, &wr, deadline_ns, errinfo);
	return rc == -EACCES ? -ECONNRESET : rc;
}

/* Look at a reply's header; 0, the server's refusal, or -EPROTO. */
static int judge_reply(struct endpoint *ep, enum message_type type, uint32_t seq, struct wire *w,
	bool *refused, struct errinfo *errinfo)
{
	struct header header;
	struct refusal refusal;

	header_get(w, &header);
	if (w->failed || header.type != type || header.seq != seq || header.status > 0 ||
		header.status < -4095)
		goto bad;
	if (header.status == 0)
		return 0;
	refusal_get(w, &refusal);
	if (wire_finish(w))
		goto bad;
	*refused = true;
	return errinfo_set(errinfo, header.status, "%s",
		refusal.errinfo[0] ? refusal.errinfo : errinfo_errno(-header.status));
bad:
	endpoint_break(ep);
	return errinfo_set(errinfo, -EPROTO, "rmemd at %s sent a malformed reply to a %s request",
		ep->shake.peer, message_name((uint8_t)type));
}

int endpoint_receive(struct endpoint *ep, enum message_type type, uint32_t seq,
	uint64_t deadline_ns, struct wire *out, bool *refused, struct errinfo *errinfo)
{
	struct ibv_wc wc;
	struct wire w;
	int rc;

	*refused = false;
	rc = endpoint_completions(ep, &ep->receive, &wc, 1, deadline_ns, ep->shake.cancel_fd);
	if (rc == -ETIMEDOUT)
		return errinfo_set(errinfo, rc,
			"rmemd at %s does not answer (it was asked for: %s): is it stopped, or "
			"overloaded?",
			ep->shake.peer, message_name((uint8_t)type));
	if (rc == -ECANCELED)
		return errinfo_set(errinfo, rc, "cancelled");
	if (rc < 0 || wc.status != IBV_WC_SUCCESS) {
		endpoint_break(ep);
		return endpoint_reset(ep, errinfo);
	}
	ep->held = (int)wc.wr_id;
	w = wire_over(ep->buffers + wc.wr_id * MESSAGE_MAX, wc.byte_len);
	rc = judge_reply(ep, type, seq, &w, refused, errinfo);
	if (rc == 0)
		*out = w;
	return rc;
}

int endpoint_call(struct endpoint *ep, enum message_type type, uint32_t seq,
	const struct wire *body, uint64_t deadline_ns, struct wire *out, struct errinfo *errinfo)
{
	bool refused;
	int rc;

	rc = endpoint_send(ep, type, seq, body, deadline_ns, errinfo);
	if (rc)
		return rc == -EBUSY ? -ETIMEDOUT : rc;
	return endpoint_receive(ep, type, seq, deadline_ns, out, &refused, errinfo);
}
