/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One handler per message type, called by server/rpc/dispatch.c if the message is allowed on its connection.
 * A handler answers, or makes the request wait (server/base/wait.h). A negative errno aborts the connection:
 * -EBADMSG for a malformed message, else an error of rmemd.
 *
 *	session.c	HELLO JOIN BYE RENEW FENCE
 *	memory.c	ALLOC FREE ATTACH
 *	share.c		SHARE LOOKUP DETACH UNSHARE
 *	copy.c		COPY FILL
 *	handover.c	OFFER ACCEPT
 *	release.c	RELEASE REVISE
 *	tell.c		TELL
 *	site.c		SITE SITE_NAMES
 *	report.c	REPORT REPORT_READ
 *
 * The event loop only.
 */
#ifndef RMEM_SERVER_RPC_HANDLERS_H
#define RMEM_SERVER_RPC_HANDLERS_H

#include "common/message.h"
#include "server/base/question.h"
#include "server/grant/attachment.h"
#include "server/ledger/frees.h"
#include "server/lease/session.h"
#include "server/net/connection.h"

struct access;
struct frees;
struct reclaim;
struct sites;
struct work;

/* The handlers' context: net.context. */
struct rpc {
	const struct options *options;
	struct pool *pool;
	struct access *access;
	struct leases *leases;
	struct reclaim *reclaim;
	struct sites *sites;
	struct frees *freed;
	struct work *work;
	/* Answers a REPORT: calls answer() once, from the loop or before this returns. */
	void (*ask)(void *asked, const char *request, struct question *q,
		void (*answer)(struct question *q, char *text));
	void *asked;
	uint64_t allocs, frees, refused_requests;
	uint64_t attaches;   /* LOOKUPs that admitted a session, without repeated ones */
	uint64_t keys_given; /* ATTACHes answered with a key of the NIC */
};

static inline struct rpc *rpc_of(const struct connection *c)
{
	return c->net->context;
}

typedef int handler_fn(struct connection *c, const struct header *h, struct wire *in);

handler_fn handle_hello, handle_join, handle_bye, handle_renew, handle_fence;
handler_fn handle_alloc, handle_free, handle_attach;
handler_fn handle_share, handle_lookup, handle_detach, handle_unshare;
handler_fn handle_copy, handle_fill, handle_offer, handle_accept;
handler_fn handle_release, handle_revise, handle_tell;
handler_fn handle_site, handle_site_names;
handler_fn handle_report, handle_report_read;

/* Answer with a status and its reason. */
int handler_refuse(struct connection *c, const struct header *h, int status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The device has run out of windows or regions. */
int handler_refuse_grant(struct connection *c, const struct header *h, int err);

/* The session's own LIVE allocation that starts at addr and has that serial, or NULL. */
const struct allocation *handler_own(const struct connection *c, uint64_t addr, uint64_t serial);

/*
 * What starts at addr, in the LIVE allocation with that serial, if the session may reach it: all of its own, or what the
 * key admits to, which may be an object of a slab. *out_read_only: it may only read. False: nothing.
 */
bool handler_reachable(struct connection *c, uint64_t addr, uint64_t serial,
	const uint8_t key[SHARE_KEY_SIZE], struct reached *out, bool *out_read_only);

/* What can be shared: an allocation, or an object of a slab, as its record has it. */
struct offer {
	struct reached what;
	uint64_t record; /* of an object */
};

/* The record of the object that begins there in a slab; NULL: none can. */
uint64_t *handler_record_of(
	const struct connection *c, const struct allocation *slab, uint64_t offset);
/* ... which is there, if the record is this one. */
bool handler_offer_object(
	const struct allocation *slab, uint64_t offset, uint64_t record, struct offer *out);

/* What starts at addr, if the key admits to it, and to what. */
bool handler_find_shared(struct connection *c, uint64_t addr, const uint8_t key[SHARE_KEY_SIZE],
	struct offer *out, enum share_rights *out_rights);
bool handler_admits(const struct connection *c, const struct offer *o,
	const uint8_t key[SHARE_KEY_SIZE], enum share_rights *out);
int handler_make_key(const struct session_record *owner, const struct offer *o,
	enum share_rights rights, uint8_t out[SHARE_KEY_SIZE]);

bool handler_is_own(const struct connection *c, const struct allocation *a, uint64_t serial);
/* The session that an allocation is counted for, or NULL. */
const struct session_record *handler_owner(const struct connection *c, const struct allocation *a);

/* One more in the list of frees; and where it was allocated, and freed, in one sentence. */
void handler_note_freed(struct connection *c, const struct offer *o, uint32_t site);
void handler_tell_freed(struct connection *c, const struct freed *freed, char out[WHY_SIZE]);
/* ... one that is there. */
void handler_tell_offer(struct connection *c, const struct offer *o, char out[WHY_SIZE]);

/* FREE of an allocation of the session, if there is one; else as if it were repeated. */
int handler_free(struct connection *c, const struct header *h, const struct free_request *q);
/* Answer when the allocation, which is REVOKING, is out of reach. */
void handler_await_revoking(
	struct connection *c, const struct header *h, const struct allocation *a);

/* Does a DETACH or OFFER of the connection's session wait for the session's grants on it to end? */
bool handler_is_detaching(const struct connection *c, const struct reached *what);

/* The record of the connection's session. */
const struct session_record *handler_record(const struct connection *c);

/* Record that the request is being carried out: a repeated one gets the same answer. */
void handler_note_seq(const struct connection *c, const struct header *h);
/* ... it was not. */
void handler_forget_seq(const struct connection *c, const struct header *h);

#endif
