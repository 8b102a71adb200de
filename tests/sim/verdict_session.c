/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/verdict_impl.h"

#include <errno.h>
#include <string.h>

#include "tests/sim/window.h"

static void judge_resume(struct link *link, int status, const struct hello_reply *r)
{
	const struct hello_request *q = &link->question.hello;
	struct owner *o = model_owner(q->session_id);
	const bool right = o && memcmp(o->secret, q->secret, ID_SIZE) == 0;

	if (status == -EDQUOT && right)
		link->owner =
			o; /* it is its session's, and has no heartbeat: its client will hang up */
	if (status) {
		require(link,
			status == -EDQUOT || !right || o->leaving || o->called_dead || o->gone ||
				!owner_lease_lasts(o) || !owner_is_alive(o),
			"refused, and its lease lasts");
		return;
	}
	require(link, right && !o->closed && !o->gone,
		"granted to somebody else, or after goodbye");
	require(link, !owner_has_connection(o), "granted while an earlier connection is left");
	/* It may have got that one earlier, and not heard of it. */
	if (r->fencing_token > model_last_token() ||
		(r->fencing_token != o->fencing_token &&
			(!link->unsure || r->fencing_token < o->fencing_token ||
				model_owner_of_token(r->fencing_token))))
		model_new_token(r->fencing_token);
	require(link, !model_is_fenced(r->fencing_token),
		"a fencing token that was said to be out");
	require(link, r->fencing_token != o->fencing_token || !link->over,
		"its lease was over, and its fencing token is the old one");
	require(link, r->fencing_token == o->fencing_token || !owner_lease_lasts(o) || link->unsure,
		"its lease lasts, and it gets another fencing token");
	o->fencing_token = r->fencing_token;
	o->unsure = o->called_dead = false;
	link->owner = o;
}

void verdict_hello(struct link *link, int status, struct wire *in)
{
	const struct request *q = &link->question;
	struct hello_reply r;
	struct owner *o;

	hello_reply_get(in, &r);
	if (q->hello.resume) {
		judge_resume(link, status, &r);
	} else if (!status) {
		o = model_owner(q->hello.session_id);
		require(link,
			!o || o->gone || o->leaving || !owner_lease_lasts(o) || !owner_is_alive(o),
			"an id that is taken");
		if (o)
			o->gone = true;
		link->owner = model_add_owner(q->hello.identity.pid - 1, q);
		link->owner->fencing_token = r.fencing_token;
		memcpy(link->owner->secret, r.secret, ID_SIZE);
		model_new_token(r.fencing_token);
	}
	if (status)
		return;
	link->fencing_token = r.fencing_token;
	model_sign(link->owner);
}

void verdict_join(struct link *link, int status)
{
	const struct join_request *q = &link->question.join;
	struct owner *o = model_owner(q->session_id);
	bool connected = false;

	if (status)
		return;
	require(link, o && memcmp(o->secret, q->secret, ID_SIZE) == 0, "with a wrong secret");
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		const struct link *other = &links[i];

		if (!other->c || other->owner != o)
			continue;
		connected |=
			other->purpose == PURPOSE_SESSION && other->c->state == CONNECTION_OPEN;
		require(link,
			!q->channel || other->purpose != PURPOSE_CHANNEL ||
				other->c->number != q->channel,
			"what it replaces is still there");
	}
	require(link, connected && !o->closed, "of a session that is not connected");
	link->owner = o;
	link->fencing_token = o->fencing_token;
}

void verdict_fence(struct link *link, int status, struct wire *in)
{
	const uint64_t fencing_token = link->question.fence.fencing_token;
	struct fence_reply r;

	fence_reply_get(in, &r);
	require(link, !status == model_knows_token(fencing_token),
		"a fencing token that was given, or was not");
	if (status || !r.out)
		return;
	for (unsigned i = 0; i < LINKS_MAX; i++)
		require(link,
			!links[i].c || !links[i].owner || links[i].fencing_token != fencing_token,
			"out, and a connection of that fencing token is left");
	for (struct window *w = NULL; (w = window_next(w)) != NULL;)
		require(link,
			!w->bound || w->link->fencing_token != fencing_token || !w->link->owner,
			"out, and a key of that fencing token is left");
	model_fence(fencing_token);
}
