/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/rpc/dispatch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "server/rpc/handlers.h"

/* ---- shared by handlers ---- */

int handler_refuse(struct connection *c, const struct header *h, int status, const char *fmt, ...)
{
	char errinfo[WHY_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(errinfo, sizeof(errinfo), fmt, ap);
	va_end(ap);
	rpc_of(c)->refused_requests++;
	log_debug("%s from %s refused: %s", message_name(h->type), c->peer, errinfo);
	return connection_reply_status(c, h->type, h->seq, status, errinfo);
}

int handler_refuse_grant(struct connection *c, const struct header *h, int err)
{
	return handler_refuse(c, h, err == -ENOMEM ? -EDQUOT : err,
		"%s gives no more windows or regions (%s): it allows %d windows and %d regions",
		device_name(c->device), strerror(-err), c->device->attr.max_mw,
		c->device->attr.max_mr);
}

const struct session_record *handler_record(const struct connection *c)
{
	return session_record(session_of(c));
}

void handler_note_seq(const struct connection *c, const struct header *h)
{
	sessions_set_last_seq(rpc_of(c)->leases->records, c->grantee->slot, h->seq);
}

void handler_forget_seq(const struct connection *c, const struct header *h)
{
	sessions_set_last_seq(rpc_of(c)->leases->records, c->grantee->slot, h->seq - 1);
}

/* ---- dispatch ---- */

#define ON(purpose) (1U << (purpose))

/* purposes: connections that allow the message. opens: gives the connection its session; other messages need one. */
static const struct {
	handler_fn *handle;
	unsigned purposes;
	bool opens;
} handlers[] = {
	[MESSAGE_HELLO] = { handle_hello, ON(PURPOSE_SESSION), true },
	[MESSAGE_BYE] = { handle_bye, ON(PURPOSE_SESSION), false },
	[MESSAGE_ALLOC] = { handle_alloc, ON(PURPOSE_SESSION), false },
	[MESSAGE_FREE] = { handle_free, ON(PURPOSE_SESSION), false },
	[MESSAGE_ATTACH] = { handle_attach, ON(PURPOSE_SESSION) | ON(PURPOSE_CHANNEL), false },
	[MESSAGE_RENEW] = { handle_renew, ON(PURPOSE_SESSION), false },
	[MESSAGE_SITE] = { handle_site, ON(PURPOSE_SESSION), false },
	[MESSAGE_SITE_NAMES] = { handle_site_names, ON(PURPOSE_SESSION), false },
	[MESSAGE_REPORT] = { handle_report, ON(PURPOSE_OBSERVER), false },
	[MESSAGE_REPORT_READ] = { handle_report_read, ON(PURPOSE_OBSERVER), false },
	[MESSAGE_JOIN] = { handle_join, ON(PURPOSE_CHANNEL), true },
	[MESSAGE_SHARE] = { handle_share, ON(PURPOSE_SESSION), false },
	[MESSAGE_LOOKUP] = { handle_lookup, ON(PURPOSE_SESSION), false },
	[MESSAGE_DETACH] = { handle_detach, ON(PURPOSE_SESSION), false },
	[MESSAGE_UNSHARE] = { handle_unshare, ON(PURPOSE_SESSION), false },
	[MESSAGE_COPY] = { handle_copy, ON(PURPOSE_SESSION), false },
	[MESSAGE_FILL] = { handle_fill, ON(PURPOSE_SESSION), false },
	[MESSAGE_OFFER] = { handle_offer, ON(PURPOSE_SESSION), false },
	[MESSAGE_ACCEPT] = { handle_accept, ON(PURPOSE_SESSION), false },
	[MESSAGE_RELEASE] = { handle_release, ON(PURPOSE_SESSION), false },
	[MESSAGE_REVISE] = { handle_revise, ON(PURPOSE_SESSION), false },
	[MESSAGE_TELL] = { handle_tell, ON(PURPOSE_SESSION), false },
	[MESSAGE_FENCE] = { handle_fence, ON(PURPOSE_SESSION), false },
};

/* May the peer send this message now? */
static bool acceptable(const struct connection *c, const struct header *h)
{
	if (h->type >= sizeof(handlers) / sizeof(handlers[0]) || !handlers[h->type].handle)
		return false;
	if (h->status != 0 || c->pending.active)
		return false;
	if (!(handlers[h->type].purposes & ON(c->purpose)))
		return false;
	if (c->purpose == PURPOSE_OBSERVER)
		return true;
	if (handlers[h->type].opens != !c->grantee)
		return false;
	/* After BYE no request is allowed. */
	return !c->grantee || (handler_record(c) && handler_record(c)->state == SESSION_CONNECTED);
}

void rpc_dispatch(struct connection *c, uint8_t *message, size_t bytes)
{
	struct wire in = wire_over(message, bytes);
	struct header h;
	int err;

	header_get(&in, &h);
	if (in.failed || !acceptable(c, &h)) {
		rpc_of(c)->refused_requests++;
		connection_abort(c, "a message of %zu bytes (%s) that is not allowed here", bytes,
			message_name(h.type));
		return;
	}
	if (c->grantee && !lease_renew(&session_of(c)->lease, clock_boot_ns())) {
		connection_abort(c, "its lease expired");
		return;
	}
	err = handlers[h.type].handle(c, &h, &in);
	if (err) {
		rpc_of(c)->refused_requests += err == -EBADMSG;
		connection_abort(c, "%s request: %s", message_name(h.type), strerror(-err));
	}
}
