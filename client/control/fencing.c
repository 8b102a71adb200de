/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/fencing.h"

#include "client/control/request.h"

struct fencing_now fencing_now(struct session *s)
{
	struct fencing_now now;

	pthread_mutex_lock(&s->table);
	now = (struct fencing_now){ s->lease_epoch.fencing_token, s->lease_epoch.number,
		s->generation };
	pthread_mutex_unlock(&s->table);
	return now;
}

int fencing_hold(struct session *s, struct holding *h, uint64_t number)
{
	int rc;

	pthread_mutex_lock(&s->table);
	rc = lease_epoch_hold(&s->lease_epoch, h, number);
	pthread_mutex_unlock(&s->table);
	return rc;
}

bool fencing_release(struct session *s, struct holding *h)
{
	bool lost;

	pthread_mutex_lock(&s->table);
	lost = lease_epoch_release(&s->lease_epoch, h);
	pthread_mutex_unlock(&s->table);
	return lost;
}

bool fencing_is_over(struct session *s, uint64_t number)
{
	return fencing_now(s).number != number;
}

int fencing_ask(struct session *s, uint64_t fencing_token, uint64_t deadline_ns, bool *out,
	struct errinfo *errinfo)
{
	const struct fence_request request = { .fencing_token = fencing_token };
	struct fence_reply reply;
	int rc = control_call(s,
		&(struct control_call){ .type = MESSAGE_FENCE,
			.deadline_ns = deadline_ns,
			.encode = fence_request_encode,
			.request = &request,
			.decode = fence_reply_decode,
			.reply = &reply },
		errinfo);

	if (rc == 0)
		*out = reply.out;
	return rc;
}

int fencing_settle(
	struct session *s, uint64_t generation, uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc = session_lock(s, deadline_ns, errinfo);

	if (rc)
		return rc;
	if (s->generation == generation && s->endpoint)
		endpoint_break(s->endpoint);
	rc = request_ready(s, deadline_ns, errinfo);
	session_unlock(s);
	return rc;
}
