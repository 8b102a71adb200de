/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/verdict.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "rmem/rmem.h"
#include "tests/sim/client.h"
#include "tests/sim/link.h"
#include "tests/sim/model.h"
#include "tests/sim/process.h"
#include "tests/sim/rooms.h"
#include "tests/sim/room.h"
#include "tests/sim/trace.h"
#include "tests/sim/window.h"

#define require(link, condition, what) \
	trace_require(condition, "link %u: %s: " what, (link)->number, \
		message_name((link)->question.type))

/* ---- what is asked ---- */

static struct block *own(const struct link *link, uint64_t addr, uint64_t serial)
{
	struct block *b = model_block(serial);

	return b && b->owner == link->owner && b->addr == addr ? b : NULL;
}

void verdict_asked(struct link *link, const struct request *q)
{
	struct owner *o;
	struct block *b;

	trace("link %u: the server gets %s, seq %u", link->number, message_name(q->type), q->seq);
	link->waited = false;
	if (link->owner)
		model_late_sign(link->owner);
	if (q->type == MESSAGE_HELLO && q->hello.resume && (o = model_owner(q->hello.session_id))) {
		model_late_sign(o);
		link->unsure = o->unsure;
		o->unsure = true;
	}
	if (q->type == MESSAGE_FENCE && (o = model_owner_of_ticket(q->fence.ticket)) != NULL)
		o->unsure = true;
	if (q->type == MESSAGE_BYE && link->owner)
		link->owner->leaving = true;
	if (q->type == MESSAGE_FREE && (b = own(link, q->free.addr, q->free.serial)) != NULL)
		b->free_asked = true;
	if (q->type == MESSAGE_DETACH && (b = model_block(q->detach.serial)) != NULL)
		b->detach_asked = true;
}

void verdict_heard(struct link *link, const struct request *q)
{
	const struct block *b;

	if (q->type == MESSAGE_FREE && link->honest &&
		(b = own(link, q->free.addr, q->free.serial)) != NULL &&
		b->free_asked && model_is_ending(b))
		link->owner->free_seq = q->seq;
	link->waited = link->asked;
	/* A JOIN proves nothing about the control connection. */
	if (q->type != MESSAGE_JOIN && link->c && link->c->state == CONNECTION_OPEN && link->owner)
		model_sign(link->owner);
}

void verdict_ended(const struct link *link, const char *reason)
{
	trace_require(strcmp(reason, "its lease expired") != 0 || !link->owner ||
			      !owner_lease_lasts(link->owner),
		"link %u: cut off, and its lease lasts", link->number);
	trace_require(!link->honest || !strstr(reason, "not allowed here") || link->owner->leaving,
		"link %u: cut off, and it has asked for nothing wrong", link->number);
}

/* ---- what is answered ---- */

static void judge_resume(struct link *link, int status, const struct hello_reply *r)
{
	const struct hello_request *q = &link->question.hello;
	struct owner *o = model_owner(q->session_id);
	const bool right = o && memcmp(o->secret, q->secret, ID_SIZE) == 0;

	if (status == -EDQUOT && right)
		link->owner = o; /* it is its session's, and has no heartbeat: its client will hang up */
	if (status) {
		require(link, status == -EDQUOT || !right || o->leaving || o->called_dead || o->gone || !owner_lease_lasts(o) ||
				!owner_is_alive(o),
			"refused, and its lease lasts");
		return;
	}
	require(link, right && !o->closed && !o->gone,
		"granted to somebody else, or after goodbye");
	require(link, !owner_has_connection(o), "granted while an earlier connection is left");
	/* It may have got that one earlier, and not heard of it. */
	if (r->ticket > model_last_ticket() ||
		(r->ticket != o->ticket &&
			(!link->unsure || r->ticket < o->ticket || model_owner_of_ticket(r->ticket))))
		model_new_ticket(r->ticket);
	require(link, !model_is_fenced(r->ticket), "a ticket that was said to be out");
	require(link, r->ticket != o->ticket || !owner_lease_is_over(o),
		"its lease was over, and its ticket is the old one");
	require(link, r->ticket == o->ticket || !owner_lease_lasts(o) || link->unsure,
		"its lease lasts, and it gets another ticket");
	o->ticket = r->ticket;
	o->unsure = o->called_dead = false;
	link->owner = o;
}

static void judge_hello(struct link *link, int status, struct wire *in)
{
	const struct request *q = &link->question;
	struct hello_reply r;
	struct owner *o;

	hello_reply_get(in, &r);
	if (q->hello.resume) {
		judge_resume(link, status, &r);
	} else if (!status) {
		o = model_owner(q->hello.session_id);
		require(link, !o || o->gone || o->leaving || !owner_lease_lasts(o) ||
				!owner_is_alive(o),
			"an id that is taken");
		if (o)
			o->gone = true;
		link->owner = model_add_owner(q->hello.identity.pid - 1, q);
		link->owner->ticket = r.ticket;
		memcpy(link->owner->secret, r.secret, ID_SIZE);
		model_new_ticket(r.ticket);
	}
	if (status)
		return;
	link->ticket = r.ticket;
	model_sign(link->owner);
}

static void judge_join(struct link *link, int status)
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
		connected |= other->purpose == PURPOSE_SESSION &&
			     other->c->state == CONNECTION_OPEN;
		require(link, !q->channel || other->purpose != PURPOSE_CHANNEL ||
				other->c->number != q->channel,
			"what it replaces is still there");
	}
	require(link, connected && !o->closed, "of a session that is not connected");
	link->owner = o;
	link->ticket = o->ticket;
}

/* Among those that wait, who came first gets what both could have. */
static void require_order(const struct link *link, const struct alloc_reply *r)
{
	for (unsigned i = 0; i < LINKS_MAX && link->waited; i++) {
		const struct link *first = &links[i];
		const struct alloc_request *q = &first->question.alloc;

		if (first == link || !first->asked || first->question.type != MESSAGE_ALLOC ||
			first->asked_order > link->asked_order || q->navoid)
			continue;
		require(link, buddy_block_bytes(q->bytes) > buddy_block_bytes(r->bytes) ||
				(q->node != RMEM_NODE_ANY && q->node != (int)addr_node(r->addr)),
			"served before one that has waited longer");
	}
}

static void require_wished(const struct link *link, const struct alloc_reply *r)
{
	const struct alloc_request *q = &link->question.alloc;
	const uint64_t end = r->addr + buddy_block_bytes(r->bytes);

	require(link, r->bytes == q->bytes, "another size");
	require(link, q->node == RMEM_NODE_ANY || q->node == (int)addr_node(r->addr), "another node");
	for (unsigned i = 0; i < q->navoid; i++)
		require(link, q->avoid[i].start >= end || q->avoid[i].end <= r->addr ||
				q->avoid[i].start >= q->avoid[i].end,
			"where nothing was to be lent");
}

static void judge_alloc(struct link *link, int status, struct wire *in)
{
	const struct alloc_request *q = &link->question.alloc;
	struct alloc_reply r;
	struct block *b;

	alloc_reply_get(in, &r);
	model_sync();
	for (unsigned i = 0; !status && (b = model_block_at(i)) != NULL; i++) {
		if (b->owner != link->owner || b->seq != link->question.seq || b->state != BLOCK_LENT)
			continue;
		require(link, b->serial == r.serial && b->addr == r.addr && b->bytes == r.bytes,
			"repeated, and made twice");
		return;
	}
	if (status) {
		require(link, status != -EDQUOT, "the ledger is full, and the pool is not");
		require(link, status != -ENOSPC || !room_is_there(q), "refused, and there is room");
		require(link, status != -ENOSPC || !room_is_owed(q),
			"refused, and what the dead have left would make room");
		return;
	}
	require_wished(link, &r);
	require_order(link, &r);
	model_add_block(link->owner, &r, link->question.seq);
}

/* Does anybody reach it, or anybody of that session? */
static bool reaches(const struct block *b, const struct owner *only)
{
	for (struct window *w = NULL; (w = window_next(w)) != NULL;) {
		if (w->bound && w->serial == b->serial && (!only || w->link->owner == only))
			return true;
	}
	return false;
}

static void judge_free(struct link *link, int status)
{
	const struct free_request *q = &link->question.free;
	struct block *b;

	model_sync();
	b = own(link, q->addr, q->serial);
	if (!status && b) {
		require(link, b->state != BLOCK_LENT, "answered, and it is still lent");
		require(link, !reaches(b, NULL), "answered while a key reaches it");
	}
	if (!status && (b = model_block(q->serial)) != NULL)
		require(link, b->owner == link->owner, "answered, and it is another's");
	require(link, status != -EINVAL || link->owner->free_seq != link->question.seq,
		"repeated, and refused");
	require(link, status != -EINVAL || !b || b->state != BLOCK_LENT || b->owner != link->owner ||
			b->addr != q->addr,
		"refused, and it is its own");
}

static bool may_attach(const struct link *link, const struct block *b, const uint8_t *key)
{
	return b->state == BLOCK_LENT &&
	       (b->owner == link->owner ||
		       (b->shared && memcmp(b->key, key, SHARE_KEY_SIZE) == 0));
}

static void judge_attach(struct link *link, int status, struct wire *in)
{
	const struct attach_request *q = &link->question.attach;
	struct grant_reply r;
	struct block *b;

	grant_reply_get(in, &r);
	model_sync();
	b = model_block(q->serial);
	if (status) {
		require(link, status != -ESTALE || !b || b->addr != q->addr || b->detach_asked ||
				!may_attach(link, b, q->key),
			"refused, and it may reach it");
		return;
	}
	require(link, b && r.serial == q->serial && r.addr == q->addr && b->addr == q->addr &&
			may_attach(link, b, q->key),
		"granted, and it may not reach it");
	require(link, r.bytes == b->bytes, "another size");
}

static void judge_share(struct link *link, int status, struct wire *in)
{
	const struct share_request *q = &link->question.share;
	struct share_reply r;
	struct block *b;

	share_reply_get(in, &r);
	model_sync();
	b = own(link, q->addr, q->serial);
	if (status) {
		require(link, !b || b->state != BLOCK_LENT, "refused, and it is its own");
		return;
	}
	require(link, b && b->state == BLOCK_LENT, "a key to what is not its own");
	require(link, !b->shared || memcmp(b->key, r.key, SHARE_KEY_SIZE) == 0, "another key");
	b->shared = true;
	memcpy(b->key, r.key, SHARE_KEY_SIZE);
}

static void judge_lookup(struct link *link, int status, struct wire *in)
{
	const struct lookup_request *q = &link->question.lookup;
	struct lookup_reply r;
	struct block *b, *shared = NULL;

	lookup_reply_get(in, &r);
	model_sync();
	for (unsigned i = 0; (b = model_block_at(i)) != NULL; i++) {
		if (b->addr == q->addr && b->state == BLOCK_LENT && b->shared &&
			memcmp(b->key, q->key, SHARE_KEY_SIZE) == 0)
			shared = b;
	}
	require(link, !status == !!shared, "the key fits, and is refused, or the reverse");
	require(link, status || (r.bytes == shared->bytes && r.serial == shared->serial),
		"another allocation");
}

static void judge_detach(struct link *link, int status)
{
	const struct detach_request *q = &link->question.detach;
	const struct block *b = model_block(q->serial);

	if (!status && b && b->addr == q->addr)
		require(link, !reaches(b, link->owner), "answered while a key of it reaches it");
}

static void judge_fence(struct link *link, int status, struct wire *in)
{
	const uint64_t ticket = link->question.fence.ticket;
	struct fence_reply r;

	fence_reply_get(in, &r);
	require(link, !status == model_knows_ticket(ticket), "a ticket that was given, or was not");
	if (status || !r.out)
		return;
	for (unsigned i = 0; i < LINKS_MAX; i++)
		require(link, !links[i].c || !links[i].owner || links[i].ticket != ticket,
			"out, and a connection of that ticket is left");
	for (struct window *w = NULL; (w = window_next(w)) != NULL;)
		require(link, !w->bound || w->link->ticket != ticket || !w->link->owner,
			"out, and a key of that ticket is left");
	model_fence(ticket);
}

static void judge(struct link *link, int status, struct wire *in)
{
	switch (link->question.type) {
	case MESSAGE_HELLO:
		judge_hello(link, status, in);
		break;
	case MESSAGE_JOIN:
		judge_join(link, status);
		break;
	case MESSAGE_BYE:
		link->owner->closed = true;
		break;
	case MESSAGE_ALLOC:
		judge_alloc(link, status, in);
		break;
	case MESSAGE_FREE:
		judge_free(link, status);
		break;
	case MESSAGE_ATTACH:
		judge_attach(link, status, in);
		break;
	case MESSAGE_SHARE:
		judge_share(link, status, in);
		break;
	case MESSAGE_LOOKUP:
		judge_lookup(link, status, in);
		break;
	case MESSAGE_DETACH:
		judge_detach(link, status);
		break;
	case MESSAGE_FENCE:
		judge_fence(link, status, in);
		break;
	default:
		break;
	}
}

void verdict_answered(struct link *link, const uint8_t *bytes, size_t n)
{
	struct wire in = wire_over((uint8_t *)(uintptr_t)bytes, n);
	struct header h;

	header_get(&in, &h);
	require(link, h.type == link->question.type && h.seq == link->question.seq,
		"the answer is to another request");
	trace("link %u: %s, seq %u, is answered: %d", link->number, message_name(h.type), h.seq,
		h.status);
	judge(link, h.status, &in);
}
