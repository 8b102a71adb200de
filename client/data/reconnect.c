/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/reconnect.h"

#include <errno.h>
#include <string.h>

#include "client/control/connection.h"
#include "client/control/request.h"
#include "client/data/keys.h"
#include "common/clock.h"
#include "common/handshake.h"
#include "common/log.h"

/* Coming back gets at least this long, however much of the time-out a dead connection has eaten. */
#define RECOVER_MIN_NS NSEC_PER_SEC
#define BACKOFF_MIN_NS (20 * NSEC_PER_MSEC)

/* ---- joining: one connection ---- */

/* What joining needs to know, as of a moment when the session was connected. */
struct invitation {
	struct join_request request;
	struct domain *domain;
	struct target_path path; /* the session's, to the same server */
	uint64_t generation, lease_epoch, part_bytes;
};

/* With control: may this channel join? Not for what was begun before something that is held was lost. */
static int check_lease_epoch(struct channel *ch, struct errinfo *errinfo)
{
	struct session *s = ch->session;
	int rc;

	pthread_mutex_lock(&s->table);
	rc = lease_epoch_check(&s->lease_epoch, errinfo);
	pthread_mutex_unlock(&s->table);
	if (rc == 0 && ch->fences != atomic_load(&s->lease_epoch.fences))
		rc = errinfo_set(errinfo, -EOWNERDEAD,
			"a lock was lost while this was on its way: it is not repeated");
	return rc;
}

static int get_invitation(
	struct channel *ch, uint64_t deadline_ns, struct invitation *out, struct errinfo *errinfo)
{
	struct session *s = ch->session;
	int rc = session_lock(s, deadline_ns, errinfo);

	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, errinfo);
	if (rc == 0)
		rc = check_lease_epoch(ch, errinfo);
	if (rc == 0) {
		memcpy(out->request.session_id, s->id, sizeof(s->id));
		memcpy(out->request.secret, s->secret, sizeof(s->secret));
		out->request.channel = ch->number;
		out->domain = domain_hold(s->domain);
		out->path = s->paths[0];
		out->generation = s->generation;
		out->part_bytes = atomic_load(&s->part_bytes);
		out->lease_epoch = s->lease_epoch.number; /* which control keeps as it is, too */
	}
	session_unlock(s);
	return rc;
}

static int say_join(struct channel *ch, struct endpoint *ep, const struct join_request *request,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	uint8_t buf[sizeof(*request)];
	struct wire body = wire_over(buf, sizeof(buf)), reply;
	int rc;

	join_request_put(&body, request);
	rc = endpoint_call(ep, MESSAGE_JOIN, ++ch->seq, &body, deadline_ns, &reply, errinfo);
	explicit_bzero(buf, sizeof(buf));
	return rc;
}

/* One attempt. */
static int connect_once(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct session *s = ch->session;
	struct invitation invitation;
	struct endpoint_attr attr = {
		.paths = &invitation.path,
		.npaths = 1,
		.purpose = PURPOSE_CHANNEL,
		.deadline_ns = deadline_ns,
		.cancel_fd = s->cancel_fd,
		.heap = s->heap,
		.send_depth = PIPELINE_DEPTH,
	};
	struct endpoint *ep = NULL;
	int rc;

	rc = get_invitation(ch, deadline_ns, &invitation, errinfo);
	if (rc)
		return rc;
	attr.domain = invitation.domain;
	attr.device = ibv_get_device_name(domain_pd(invitation.domain)->context->device);
	rc = endpoint_connect(&attr, &ep, errinfo);
	if (rc == 0)
		rc = say_join(ch, ep, &invitation.request, deadline_ns, errinfo);
	if (rc == 0 && endpoint_domain(ep) != invitation.domain)
		rc = errinfo_set(
			errinfo, -ECONNRESET, "the RDMA device is not the session's any more");
	if (rc == 0)
		rc = pipeline_attach(&ch->pipeline, ep, errinfo);
	explicit_bzero(&invitation.request, sizeof(invitation.request));
	domain_release(invitation.domain);
	if (rc) {
		endpoint_destroy(ep);
		return rc;
	}
	ch->generation = invitation.generation;
	ch->lease_epoch = invitation.lease_epoch;
	ch->part_bytes = invitation.part_bytes;
	ch->connects++;
	key_cache_clear(&ch->keys);
	ch->epoch = UINT64_MAX;
	keys_refresh(ch);
	log_debug("channel connected to %s", endpoint_peer(ep));
	return 0;
}

/*
 * What a failed attempt means to an open session: -ECONNRESET, and the next may succeed; or an error that stays. Who
 * wants a connection more is told at once that there is no descriptor for it; one that breaks leaves its own.
 */
static int join_error(const struct channel *ch, int rc)
{
	if (rc == -EMFILE && !ch->connects)
		return rc;
	return rc == -EUSERS || rc == -EOWNERDEAD ? rc : connection_error(rc);
}

/* Connect, trying until the deadline. */
static int join(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo)
{
	uint64_t backoff = BACKOFF_MIN_NS;

	for (;;) {
		int rc = connect_once(ch, deadline_ns, errinfo);

		if (rc == 0)
			return 0;
		log_debug("channel: %s", errinfo->text);
		rc = join_error(ch, rc);
		if (rc != -ECONNRESET || clock_boot_ns() + backoff >= deadline_ns)
			return rc;
		if (handshake_wait(-1, -1, ch->session->cancel_fd, clock_boot_ns() + backoff) ==
			-ECANCELED)
			return errinfo_set(errinfo, -ECANCELED, "closing");
		backoff *= 2;
	}
}

/* ---- coming back: until the deadline ---- */

/* Ask whether the lease is good, or get a new one. */
static int prove_lease(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc = session_lock(s, deadline_ns, errinfo);

	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, errinfo);
	session_unlock(s);
	return rc;
}

/*
 * On the new connection every operation that is left needs its keys again. If it is still the old one, what
 * is built goes on with those it has, and may complete here: it must not be judged any more.
 */
static int reattach(struct channel *ch, struct errinfo *errinfo)
{
	for (struct operation *op = ch->pipeline.first; op; op = op->following) {
		int rc = op->status || operation_is_built(op) ? 0 : keys_fetch(ch, op, errinfo);

		/* That there was no time for the key may be for the time of another operation. */
		if (rc == -ECONNRESET || rc == -ETIMEDOUT)
			return rc;
		if (rc)
			operation_fail(op, rc, reasons_add(ch->pipeline.reasons, errinfo));
	}
	return 0;
}

/* Is there anything left that another connection could do? */
static bool is_worth_it(const struct channel *ch)
{
	const struct operation *op = ch->pipeline.first;

	while (op && op->status)
		op = op->following;
	return op;
}

/* Has any of them come to its end on the way? */
static bool has_failed(const struct channel *ch)
{
	const struct operation *op = ch->pipeline.first;

	while (op && !op->status)
		op = op->following;
	return op != NULL;
}

/* Connected, lease good, and a key for every piece; trying until the deadline. */
static int come_back(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc;

	do {
		if (channel_is_connected(ch)) {
			rc = prove_lease(ch->session, deadline_ns, errinfo);
		} else {
			pipeline_detach(&ch->pipeline);
			session_wake_lease_thread(ch->session);
			rc = join(ch, deadline_ns, errinfo);
		}
		if (rc)
			break;
		keys_refresh(ch);
		rc = channel_is_connected(ch) ? reattach(ch, errinfo) : -ECONNRESET;
	} while (rc == -ECONNRESET && clock_boot_ns() < deadline_ns);
	return rc;
}

/* ... or until the time of all that wait for it is over. */
static int come_back_in_time(
	struct channel *ch, uint64_t wanted_ns, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;
	int rc;

	for (;;) {
		const uint64_t time_ns = p->first ? p->deadline_ns : wanted_ns;
		const uint64_t end = time_ns < deadline_ns ? time_ns : deadline_ns;

		ch->until_ns = end;
		rc = come_back(ch, end, errinfo);
		ch->until_ns = UINT64_MAX;
		if (end == deadline_ns || (rc != -ECONNRESET && rc != -ETIMEDOUT))
			return rc;
		/* The last attempt may have ended earlier, as there was no time for one more. */
		if (handshake_wait(-1, -1, ch->session->cancel_fd, end) == -ECANCELED)
			return errinfo_set(errinfo, -ECANCELED, "closing");
		if (!p->first)
			return -ETIMEDOUT;
		/* The others go on; also if the time was that of one which has completed meanwhile. */
		(void)pipeline_expire(p, end, errinfo);
		if (!wanted_ns && !is_worth_it(ch))
			return rc;
	}
}

/* It was broken from elsewhere, while operations were on their way: the first of them tells what. */
static void flush(struct channel *ch, struct errinfo *errinfo)
{
	struct pipeline *p = &ch->pipeline;

	if (!p->ep || (pipeline_is_idle(p) && (p->failure.op || !p->first)))
		return; /* said already, or nothing to say */
	pipeline_flush(p);
	channel_explain_break(ch, errinfo);
}

/* After what broke the connection, if that is known: why there is no other. */
static void add_trouble(struct errinfo *errinfo, const struct errinfo *trouble)
{
	const struct errinfo failure = *errinfo;

	if (failure.text[0])
		errinfo_fill(errinfo, "%.350s; then: %s", failure.text, trouble->text);
	else
		*errinfo = *trouble;
}

int reconnect_run(
	struct channel *ch, uint64_t wanted_ns, uint64_t began_ns, struct errinfo *errinfo)
{
	/* A little earlier than the caller's limit: within that he is to know. */
	uint64_t deadline = began_ns + ch->session->timeout_ns / 8 * 7;
	uint64_t least = clock_boot_ns() + RECOVER_MIN_NS;
	uint64_t closing = atomic_load(&ch->session->closing_ns);
	struct errinfo trouble = { "" };
	int rc = -ECONNRESET;

	if (deadline < least)
		deadline = least;
	if (deadline > closing)
		deadline = closing;
	if (!channel_is_connected(ch)) {
		flush(ch, errinfo);
		pipeline_detach(&ch->pipeline);
	}
	if ((wanted_ns || is_worth_it(ch)) && clock_boot_ns() < deadline) {
		rc = come_back_in_time(ch, wanted_ns, deadline, &trouble);
		/* What went wrong on the way does not matter to those who got there. */
		if ((rc || has_failed(ch)) && trouble.text[0])
			add_trouble(errinfo, &trouble);
		if (rc == 0)
			return 0;
	}
	pipeline_detach(&ch->pipeline);
	pipeline_fail(&ch->pipeline, rc, errinfo);
	return rc;
}

int reconnect_channel(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo)
{
	ch->fences = atomic_load(&ch->session->lease_epoch.fences);
	keys_refresh(ch);
	return channel_is_usable(ch) ? 0 : reconnect_run(ch, deadline_ns, clock_boot_ns(), errinfo);
}
