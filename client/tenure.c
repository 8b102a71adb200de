/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/tenure.h"

#include <errno.h>
#include <utlist.h>

#include "client/request.h"
#include "client/session.h"

void tenure_begin(struct session *s, uint64_t fencing_token)
{
	struct tenure *t = &s->tenure;
	struct holding *h;

	if (t->fencing_token == fencing_token && t->serial == s->serial)
		return;
	t->fencing_token = fencing_token;
	t->serial = s->serial;
	t->number++;
	t->lost = 0;
	DL_FOREACH (t->held, h)
		t->lost++;
	if (t->lost)
		atomic_fetch_add(&t->fences, 1);
}

int tenure_check(const struct session *s, struct why *why)
{
	if (!s->tenure.lost)
		return 0;
	return why_set(why, -EOWNERDEAD,
		"the lease had ended, and with it %u locks that were held: until each has been "
		"released (which says -ESTALE) nothing is read or written",
		s->tenure.lost);
}

struct tenure_now tenure_now(struct session *s)
{
	struct tenure_now now;

	pthread_mutex_lock(&s->table);
	now = (struct tenure_now){ s->tenure.fencing_token, s->tenure.number, s->generation };
	pthread_mutex_unlock(&s->table);
	return now;
}

int tenure_hold(struct session *s, struct holding *h, uint64_t number)
{
	int rc = -ESTALE;

	pthread_mutex_lock(&s->table);
	if (s->tenure.number == number) {
		h->tenure = number;
		DL_APPEND(s->tenure.held, h);
		rc = 0;
	}
	pthread_mutex_unlock(&s->table);
	return rc;
}

bool tenure_release(struct session *s, struct holding *h)
{
	bool lost;

	pthread_mutex_lock(&s->table);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): it is in the list */
	DL_DELETE(s->tenure.held, h);
	lost = h->tenure != s->tenure.number;
	s->tenure.lost -= lost;
	pthread_mutex_unlock(&s->table);
	return lost;
}

bool tenure_is_over(struct session *s, uint64_t number)
{
	return tenure_now(s).number != number;
}

int tenure_ask(
	struct session *s, uint64_t fencing_token, uint64_t deadline_ns, bool *out, struct why *why)
{
	const struct fence_request request = { .fencing_token = fencing_token };
	struct fence_reply reply;
	struct wire in;
	int rc = session_lock(s, deadline_ns, why);

	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, why);
	if (rc == 0) {
		fence_request_put(request_begin(s), &request);
		rc = request_call(s, MESSAGE_FENCE, deadline_ns, &in, why);
	}
	if (rc == 0) {
		fence_reply_get(&in, &reply);
		if (wire_finish(&in))
			rc = why_set(why, -EPROTO,
				"rmemd sent a malformed answer about a fencing token");
		else
			*out = reply.out;
	}
	session_unlock(s);
	return rc;
}

int tenure_settle(struct session *s, uint64_t generation, uint64_t deadline_ns, struct why *why)
{
	int rc = session_lock(s, deadline_ns, why);

	if (rc)
		return rc;
	if (s->generation == generation && s->endpoint)
		endpoint_break(s->endpoint);
	rc = request_ready(s, deadline_ns, why);
	session_unlock(s);
	return rc;
}
