/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TELL: where something that is or was shared was allocated, and where freed; and the same for the errors of other requests. A
 * session is told what its key admits to, or admitted to when it was freed, and of its own.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/object_record.h"
#include "common/plain_text.h"
#include "server/ledger/sites.h"
#include "server/rpc/handlers.h"

#define SITE_TEXT_SIZE 1200
#define SHORT_TEXT_SIZE 130 /* of two, in a sentence of WHY_SIZE */

/* ---- call sites ---- */

static int name_text(const struct site_name *n, char *out, size_t size)
{
	if (!n->function[0])
		return snprintf(out, size, "(%s)", n->file);
	if (!n->line)
		return snprintf(out, size, "%s", n->function);
	return snprintf(out, size, "%s (%s:%" PRIu32 ")", n->function, n->file, n->line);
}

static int frame_text(const struct site_request *frames, unsigned i, char *out, size_t size)
{
	const struct site_frame *f = &frames->frames[i];
	const char *path = frames->modules[f->module].path;
	const char *slash = strrchr(path, '/');

	return snprintf(out, size, "%s+0x%" PRIx64, slash ? slash + 1 : path, f->offset);
}

/* The frame's text is behind those before; false: there is no room for it, and it is left out. */
static bool add_frame(char *out, size_t size, size_t *at, const char *text, int length)
{
	if (length < 0 || *at + (size_t)length + 4 > size)
		return false;
	*at += (size_t)snprintf(out + *at, size - *at, "%s%s", *at ? " < " : "", text);
	return true;
}

static void site_frames(const struct site_record *r, const struct sites *sites, uint32_t number,
	char *out, size_t size)
{
	char text[SITE_TEXT_SIZE];
	struct site_name name;
	unsigned cursor = 0;
	size_t at = 0;

	if (sites_named(sites, number)) {
		while (sites_next_name(r, &cursor, &name) &&
			add_frame(out, size, &at, text, name_text(&name, text, sizeof(text))))
			;
		return;
	}
	for (unsigned i = 0; i < r->frames.nframes; i++)
		if (!add_frame(out, size, &at, text, frame_text(&r->frames, i, text, sizeof(text))))
			return;
}

static void site_text(
	const struct sites *sites, const struct freed_site *site, char *out, size_t size)
{
	const struct site_record *r = sites_get(sites, site->number);
	size_t at;

	if (!r || r->hash != site->hash) {
		snprintf(out, size, "an unknown call site");
		return;
	}
	at = (size_t)snprintf(out, size, "site %" PRIu32 ": ", site->number);
	site_frames(r, sites, site->number, out + at, size - at);
}

static struct freed_site site_now(const struct sites *sites, uint32_t number)
{
	const struct site_record *r = sites_get(sites, number);

	return r ? (struct freed_site){ number, r->hash } : (struct freed_site){ 0 };
}

/* ---- sessions ---- */

static void session_text(const struct session_record *r, char out[FREES_NAME_SIZE])
{
	const struct identity *id = &r->identity;
	const char *slash = strrchr(id->exe, '/');

	snprintf(out, FREES_NAME_SIZE,
		"session %02x%02x%02x%02x (%.32s, process %" PRIu32 " on %.24s)", r->id[0],
		r->id[1], r->id[2], r->id[3], slash ? slash + 1 : id->exe, id->pid, id->host);
}

/* ---- allocations ---- */

/* What is known of one that is there. */
static bool describe(struct connection *c, const struct offer *o, struct freed *out)
{
	const struct allocation *a = o->what.allocation;
	const struct session_record *owner = handler_owner(c, a);
	const struct sites *sites = rpc_of(c)->sites;

	*out = (struct freed){ .serial = a->serial, .addr = a->addr + o->what.offset };
	if (!owner)
		return false;
	out->owner = owner->serial;
	session_text(owner, out->owner_name);
	out->allocated =
		site_now(sites, a->size_class ? object_record_unpack(o->record).site : a->site);
	return true;
}

void handler_note_freed(struct connection *c, const struct offer *o, uint32_t site)
{
	const struct session_record *owner = handler_owner(c, o->what.allocation);
	struct rpc *rpc = rpc_of(c);
	struct freed freed;

	if (!describe(c, o, &freed))
		return;
	for (unsigned i = 0; i < SHARE_RIGHTS; i++)
		(void)handler_make_key(owner, o, i, freed.keys[i]);
	freed.by = handler_record(c)->serial;
	session_text(handler_record(c), freed.by_name);
	if (sites_knows(rpc->sites, &session_of(c)->sites, site))
		freed.freed = site_now(rpc->sites, site);
	frees_add(rpc->freed, &freed);
}

/* What was done, by which session and where: at most so many bytes of the call site. */
static void deed_text(struct connection *c, const char *deed, const char *name,
	const struct freed_site *where, size_t most, char *out, size_t size)
{
	const size_t at = (size_t)snprintf(out, size, "%s by %s at ", deed, name);

	site_text(rpc_of(c)->sites, where, out + at, size - at < most ? size - at : most);
	/* Sessions have named all of that, and another one shows it. */
	plain_text(out);
}

static void allocated_text(
	struct connection *c, const struct freed *freed, size_t most, char *out, size_t size)
{
	deed_text(c, "allocated", freed->owner_name, &freed->allocated, most, out, size);
}

static void freed_text(
	struct connection *c, const struct freed *freed, size_t most, char *out, size_t size)
{
	deed_text(c, "freed", freed->by_name, &freed->freed, most, out, size);
}

void handler_tell_freed(struct connection *c, const struct freed *freed, char out[WHY_SIZE])
{
	char allocated[WHY_SIZE / 2 - 8], by[WHY_SIZE / 2 - 8];

	allocated_text(c, freed, SHORT_TEXT_SIZE, allocated, sizeof(allocated));
	freed_text(c, freed, SHORT_TEXT_SIZE, by, sizeof(by));
	snprintf(out, WHY_SIZE, "%s; %s", by, allocated);
}

void handler_tell_offer(struct connection *c, const struct offer *o, char out[WHY_SIZE])
{
	struct freed freed;

	if (describe(c, o, &freed))
		allocated_text(c, &freed, SHORT_TEXT_SIZE, out, WHY_SIZE);
	else
		snprintf(out, WHY_SIZE, "allocated by a session that is over");
}

/* ---- TELL ---- */

/* The session's own, or what the key admits to. */
static bool find_present(struct connection *c, const struct tell_request *q, struct offer *out)
{
	const struct allocation *a = ledger_find_containing(rpc_of(c)->pool->ledger, q->addr);
	enum share_rights rights;
	uint64_t *record;

	if (!a || a->serial != q->serial || a->state != ALLOCATION_LIVE)
		return false;
	if (!handler_is_own(c, a, q->serial))
		return handler_find_shared(c, q->addr, q->key, out, &rights);
	if (!a->size_class) {
		*out = (struct offer){ { a, 0, a->bytes }, 0 };
		return a->addr == q->addr;
	}
	record = handler_record_of(c, a, q->addr - a->addr);
	return record && handler_offer_object(a, q->addr - a->addr,
				 __atomic_load_n(record, __ATOMIC_RELAXED), out);
}

static const struct freed *find_past(struct connection *c, const struct tell_request *q)
{
	const bool own = sodium_is_zero(q->key, sizeof(q->key));
	const struct freed *freed =
		frees_find(rpc_of(c)->freed, q->serial, q->addr, own ? NULL : q->key);

	return freed && own && freed->owner != handler_record(c)->serial ? NULL : freed;
}

int handle_tell(struct connection *c, const struct header *h, struct wire *in)
{
	struct tell_reply body = { .freed = "" };
	const struct freed *past;
	struct freed present;
	struct offer offer;
	struct tell_request q;
	struct reply r;

	tell_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	past = find_present(c, &q, &offer) && describe(c, &offer, &present) ? &present
									    : find_past(c, &q);
	if (!past)
		return handler_refuse(c, h, -ENOENT,
			"nothing is known of 0x%" PRIx64 " that this session may be told", q.addr);
	allocated_text(c, past, SITE_TEXT_SIZE, body.allocated, sizeof(body.allocated));
	if (past != &present)
		freed_text(c, past, SITE_TEXT_SIZE, body.freed, sizeof(body.freed));
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	tell_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}
