/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One handler per message type, called by server/rpc/dispatch.c when the message is in order where it came.
 * Each answers, or hangs a wait on what it has to wait for (connection_wait()). A negative errno ends the
 * connection: -EBADMSG for a malformed message, else what failed here.
 *
 *	session.c	HELLO JOIN BYE RENEW FENCE
 *	memory.c	ALLOC FREE ATTACH
 *	share.c		SHARE LOOKUP DETACH
 *	site.c		SITE SITE_NAMES
 *	report.c	REPORT REPORT_READ
 *
 * The event loop only.
 */
#ifndef RMEM_SERVER_RPC_HANDLERS_H
#define RMEM_SERVER_RPC_HANDLERS_H

#include "common/message.h"
#include "server/base/question.h"
#include "server/lease/session.h"
#include "server/net/connection.h"

struct access;
struct reclaim;
struct sites;
struct work;

/* What handlers work on: the context of the connections' net. */
struct rpc {
	const struct options *options;
	struct pool *pool;
	struct access *access;
	struct leases *leases;
	struct reclaim *reclaim;
	struct sites *sites;
	const struct work *work;
	/* How REPORT gets its answer: answer() is called once, from the loop or before this returns. */
	void (*ask)(void *asked, const char *request, struct question *q,
		void (*answer)(struct question *q, char *text));
	void *asked;
	uint64_t allocs, frees, refused_requests;
	uint64_t attaches;   /* sessions admitted to a shared allocation: LOOKUP */
	uint64_t keys_given; /* keys of the NIC, one per allocation and connection: ATTACH */
};

static inline struct rpc *rpc_of(const struct connection *c)
{
	return c->net->context;
}

typedef int handler_fn(struct connection *c, const struct header *h, struct wire *in);

handler_fn handle_hello, handle_join, handle_bye, handle_renew, handle_fence;
handler_fn handle_alloc, handle_free, handle_attach;
handler_fn handle_share, handle_lookup, handle_detach;
handler_fn handle_site, handle_site_names;
handler_fn handle_report, handle_report_read;

/* Answer with a status and its reason. */
int handler_refuse(struct connection *c, const struct header *h, int status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The device has run out of windows or regions. */
int handler_refuse_grant(struct connection *c, const struct header *h, int err);

/* The caller's own allocation that starts at addr and has that serial, LIVE; NULL if there is none. */
const struct allocation *handler_own(const struct connection *c, uint64_t addr, uint64_t serial);

/* The LIVE allocation that starts at addr, if key is what its owner has given out; NULL if not. */
const struct allocation *handler_shared(
	struct connection *c, uint64_t addr, const uint8_t key[SHARE_KEY_SIZE]);

/* Does a DETACH of the connection's session wait for its grants on this one to end? */
bool handler_is_detaching(const struct connection *c, const struct allocation *a);

/* The record of the connection's session. */
const struct session_record *handler_record(const struct connection *c);

/* This request of it is being carried out: repeated, it gets the same answer. */
void handler_note_seq(const struct connection *c, const struct header *h);

#endif
