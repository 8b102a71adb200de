/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/join.h"

#include <errno.h>
#include <string.h>

#include "client/lookup.h"
#include "client/request.h"
#include "common/clock.h"
#include "common/handshake.h"
#include "common/log.h"

#define BACKOFF_MIN_NS (20 * NSEC_PER_MSEC)

/* What joining needs to know, as of a moment when the session was connected. */
struct invitation {
	struct join_request request;
	struct domain *domain;
	struct target_path path; /* the session's, to the same server */
	uint64_t generation, tenure;
};

/* With control: may this channel join? Not for what was begun before something that is held was lost. */
static int check_tenure(struct channel *ch, struct why *why)
{
	struct session *s = ch->session;
	int rc;

	pthread_mutex_lock(&s->table);
	rc = tenure_check(s, why);
	pthread_mutex_unlock(&s->table);
	if (rc == 0 && ch->fences != atomic_load(&s->tenure.fences))
		rc = why_set(why, -EOWNERDEAD,
			"a lock was lost while this was on its way: it is not repeated");
	return rc;
}

static int get_invitation(
	struct channel *ch, uint64_t deadline_ns, struct invitation *out, struct why *why)
{
	struct session *s = ch->session;
	int rc = session_lock(s, deadline_ns, why);

	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, why);
	if (rc == 0)
		rc = check_tenure(ch, why);
	if (rc == 0) {
		memcpy(out->request.session_id, s->id, sizeof(s->id));
		memcpy(out->request.secret, s->secret, sizeof(s->secret));
		out->request.channel = ch->number;
		out->domain = domain_hold(s->domain);
		out->path = s->paths[0];
		out->generation = s->generation;
		out->tenure = s->tenure.number; /* which control keeps as it is, too */
	}
	session_unlock(s);
	return rc;
}

static int say_join(struct channel *ch, struct endpoint *ep, const struct join_request *request,
	uint64_t deadline_ns, struct why *why)
{
	uint8_t buf[sizeof(*request)];
	struct wire body = wire_over(buf, sizeof(buf)), reply;
	int rc;

	join_request_put(&body, request);
	rc = endpoint_call(ep, MESSAGE_JOIN, ++ch->seq, &body, deadline_ns, &reply, why);
	explicit_bzero(buf, sizeof(buf));
	return rc;
}

/* One attempt. */
static int connect_once(struct channel *ch, uint64_t deadline_ns, struct why *why)
{
	struct session *s = ch->session;
	struct invitation invitation;
	struct endpoint_attr attr = {
		.paths = &invitation.path,
		.npaths = 1,
		.purpose = PURPOSE_CHANNEL,
		.deadline_ns = deadline_ns,
		.cancel_fd = s->cancel_fd,
		.send_depth = PIPELINE_DEPTH,
	};
	struct endpoint *ep = NULL;
	int rc;

	rc = get_invitation(ch, deadline_ns, &invitation, why);
	if (rc)
		return rc;
	attr.domain = invitation.domain;
	attr.device = ibv_get_device_name(domain_pd(invitation.domain)->context->device);
	rc = endpoint_connect(&attr, &ep, why);
	if (rc == 0)
		rc = say_join(ch, ep, &invitation.request, deadline_ns, why);
	if (rc == 0 && endpoint_domain(ep) != invitation.domain)
		rc = why_set(why, -ECONNRESET, "the RDMA device is not the session's any more");
	if (rc == 0)
		rc = pipeline_attach(&ch->pipeline, ep, why);
	explicit_bzero(&invitation.request, sizeof(invitation.request));
	domain_release(invitation.domain);
	if (rc) {
		endpoint_destroy(ep);
		return rc;
	}
	ch->generation = invitation.generation;
	ch->tenure = invitation.tenure;
	ch->connects++;
	keys_clear(&ch->keys);
	ch->epoch = UINT64_MAX;
	lookup_refresh(ch);
	log_debug("channel connected to %s", endpoint_peer(ep));
	return 0;
}

/* What a failed attempt means to an open session: -ECONNRESET, and the next may succeed; or an error that stays. */
static int join_error(int rc)
{
	return rc == -EUSERS || rc == -EOWNERDEAD ? rc : session_connect_error(rc);
}

/* Connect, trying until the deadline. */
int join_session(struct channel *ch, uint64_t deadline_ns, struct why *why)
{
	uint64_t backoff = BACKOFF_MIN_NS;

	for (;;) {
		int rc = connect_once(ch, deadline_ns, why);

		if (rc == 0)
			return 0;
		log_debug("channel: %s", why->text);
		rc = join_error(rc);
		if (rc != -ECONNRESET || clock_boot_ns() + backoff >= deadline_ns)
			return rc;
		if (handshake_wait(-1, -1, ch->session->cancel_fd, clock_boot_ns() + backoff) ==
			-ECANCELED)
			return why_set(why, -ECANCELED, "closing");
		backoff *= 2;
	}
}
