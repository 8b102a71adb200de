/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/verdict.h"

#include <string.h>

#include "tests/sim/verdict_impl.h"

/* ---- what is asked ---- */

void verdict_asked(struct link *link, const struct request *q)
{
	struct owner *o;
	struct block *b;

	trace("link %u: the server gets %s, seq %u", link->number, message_name(q->type), q->seq);
	link->waited = false;
	if (link->owner)
		model_late_sign(link->owner);
	if (q->type == MESSAGE_HELLO && q->hello.resume && (o = model_owner(q->hello.session_id))) {
		/* The lease of one that was called dead does not run on in the next server. */
		link->over = owner_lease_is_over(o) && !o->called_dead;
		model_late_sign(o);
		link->unsure = o->unsure;
		o->unsure = true;
	}
	if (q->type == MESSAGE_FENCE && (o = model_owner_of_token(q->fence.fencing_token)) != NULL)
		o->unsure = true;
	if (q->type == MESSAGE_BYE && link->owner)
		link->owner->leaving = true;
	link->frees = false;
	if (q->type == MESSAGE_FREE &&
		(b = verdict_own(link, q->free.addr, q->free.serial)) != NULL) {
		b->free_asked = true;
		link->frees = !model_is_ending(b);
	}
	if (q->type == MESSAGE_UNSHARE &&
		(b = verdict_own(link, q->unshare.addr, q->unshare.serial)) != NULL) {
		b->unshare_asked = true;
		if (b->size_class && b->state == BLOCK_LENT)
			model_write_record(b); /* its client did, before it asked */
	}
	if (q->type == MESSAGE_OFFER &&
		(b = verdict_own(link, q->offer.addr, q->offer.serial)) != NULL)
		b->detach_asked = b->unshare_asked = true; /* it ends all access, as both do */
	if (q->type == MESSAGE_COPY || q->type == MESSAGE_FILL) {
		verdict_moves(link, q);
		verdict_forget_keys(
			q->type == MESSAGE_COPY ? q->copy.dst.serial : q->fill.dst.serial);
	}
	if (q->type == MESSAGE_RELEASE || q->type == MESSAGE_REVISE)
		verdict_releases(link, q);
	if (q->type == MESSAGE_DETACH && (b = model_block(q->detach.serial)) != NULL)
		b->detach_asked = true;
}

void verdict_heard(struct link *link, const struct request *q)
{
	const struct block *b;

	if (link->frees && link->honest &&
		(b = verdict_own(link, q->free.addr, q->free.serial)) != NULL && b->free_asked &&
		model_is_ending(b))
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
	trace_require(!link->honest || !strstr(reason, "not allowed here") || !link->owner ||
			      link->owner->leaving,
		"link %u: cut off, and it has asked for nothing wrong", link->number);
}

/* ---- what is answered ---- */

static void judge(struct link *link, int status, struct wire *in)
{
	switch (link->question.type) {
	case MESSAGE_HELLO:
		verdict_hello(link, status, in);
		break;
	case MESSAGE_JOIN:
		verdict_join(link, status);
		break;
	case MESSAGE_BYE:
		link->owner->closed = true;
		break;
	case MESSAGE_ALLOC:
		verdict_alloc(link, status, in);
		break;
	case MESSAGE_FREE:
		verdict_free(link, status);
		break;
	case MESSAGE_ATTACH:
		verdict_attach(link, status, in);
		break;
	case MESSAGE_SHARE:
		verdict_share(link, status, in);
		break;
	case MESSAGE_LOOKUP:
		verdict_lookup(link, status, in);
		break;
	case MESSAGE_DETACH:
		verdict_detach(link, status);
		break;
	case MESSAGE_UNSHARE:
		verdict_unshare(link, status);
		break;
	case MESSAGE_OFFER:
		verdict_offer(link, status, in);
		break;
	case MESSAGE_ACCEPT:
		verdict_accept(link, status, in);
		break;
	case MESSAGE_RELEASE:
		verdict_release(link, status);
		break;
	case MESSAGE_REVISE:
		verdict_revise(link, status, in);
		break;
	case MESSAGE_COPY:
	case MESSAGE_FILL:
		verdict_moved(link, status);
		break;
	case MESSAGE_FENCE:
		verdict_fence(link, status, in);
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
