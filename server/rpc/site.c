/* SPDX-License-Identifier: BSD-3-Clause */
/* SITE, SITE_NAMES: the call stacks that allocate, and their names. */
#include <errno.h>
#include <string.h>

#include "server/ledger/sites.h"
#include "server/rpc/handlers.h"

#define SESSION_SITES_MAX 2048 /* new ones: no client can use up the table of all */

/* One that nobody knew: a session can bring only so many. */
static int add_site(struct connection *c, const struct site_request *q, uint32_t *out)
{
	int err;

	if (session_of(c)->new_sites >= SESSION_SITES_MAX)
		return -EDQUOT;
	err = sites_intern(rpc_of(c)->sites, q, out);
	session_of(c)->new_sites += !err;
	return err;
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
	err = sites_lookup(rpc_of(c)->sites, &q, &body.site);
	if (err == -ENOENT)
		err = add_site(c, &q, &body.site);
	if (err)
		return handler_refuse(c, h, err, "the server cannot keep this call site: %s",
			err == -ENOSPC   ? "its table is full"
			: err == -EDQUOT ? "this session has brought too many"
					 : strerror(-err));
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
	err = sites_set_names(rpc_of(c)->sites, &q);
	if (err)
		return handler_refuse(
			c, h, err, "these names fit no call site: %s", strerror(-err));
	return connection_reply_status(c, h->type, h->seq, 0, "");
}
