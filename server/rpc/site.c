/* SPDX-License-Identifier: BSD-3-Clause */
/* SITE, SITE_NAMES: the call stacks that allocate, and their names. */
#include <errno.h>
#include <string.h>

#include "server/ledger/sites.h"
#include "server/rpc/handlers.h"

/* Intern a call site; if the table is short of room, sessions that are gone give up theirs first. */
static int number(struct connection *c, const struct site_request *q, uint32_t *out)
{
	struct site_holder *holder = &session_of(c)->sites;
	int err = sites_intern(rpc_of(c)->sites, holder, q, out);

	if (err == -ENOSPC && sessions_give_up_sites(rpc_of(c)->leases))
		err = sites_intern(rpc_of(c)->sites, holder, q, out);
	return err;
}

static const char *reason(int err)
{
	switch (err) {
	case -ENOSPC:
		return "its table has too little room for one more of this session";
	case -EDQUOT:
		return "this session has as many as one may have";
	case -EPERM:
		return "while this session was taken for dead, its call sites made room for others";
	default:
		return strerror(-err);
	}
}

int handle_site(struct connection *c, const struct header *h, struct wire *in)
{
	struct site_reply body = { 0 };
	struct site_request q;
	struct reply r;
	int err;

	site_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	err = number(c, &q, &body.site);
	if (err)
		return handler_refuse(
			c, h, err, "the server cannot number this call site: %s", reason(err));
	body.named = sites_named(rpc_of(c)->sites, body.site);
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	site_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}

int handle_site_names(struct connection *c, const struct header *h, struct wire *in)
{
	struct site_names_request q;
	int err;

	site_names_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	err = sites_set_names(rpc_of(c)->sites, &session_of(c)->sites, &q);
	if (err == -ENOENT)
		return handler_refuse(c, h, err,
			"site %u is none of this session: who sends its frames may name it",
			q.site);
	if (err)
		return handler_refuse(
			c, h, err, "these names fit no call site: %s", strerror(-err));
	return connection_reply_status(c, h->type, h->seq, 0, "");
}
