/* SPDX-License-Identifier: BSD-3-Clause */
/* REPORT, REPORT_READ: what operators ask over RDMA. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin.h"
#include "server/handlers.h"

static void report_ready(void *arg, char *text)
{
	struct connection *c = arg;
	const uint32_t seq = c->pending.seq;
	struct report_reply body;
	struct reply r;

	free(c->report);
	c->report = text;
	c->report_bytes = text ? strlen(text) : 0;
	c->pending.active = false;
	body.total_bytes = c->report_bytes;
	if (!text) {
		connection_abort(c, "no report can be made");
		return;
	}
	connection_reply_begin(c, MESSAGE_REPORT, seq, 0, &r);
	report_reply_put(&r.body, &body);
	if (connection_reply_send(c, &r, NULL))
		connection_abort(c, "cannot answer");
}

int handle_report(struct connection *c, const struct header *h, struct wire *in)
{
	struct report_request q;

	report_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	c->pending = (struct pending){ .active = true, .type = h->type, .seq = h->seq };
	return admin_ask(c->server->admin, q.request, report_ready, c);
}

int handle_report_read(struct connection *c, const struct header *h, struct wire *in)
{
	static struct report_read_reply body; /* 4 KB, and one loop */
	struct report_read_request q;
	struct reply r;
	uint64_t left;

	report_read_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	if (!c->report || q.offset > c->report_bytes)
		return handler_refuse(
			c, h, -EINVAL, "there is no report, or none so long: ask for one first");
	left = c->report_bytes - q.offset;
	body.chunk_bytes = left < REPORT_CHUNK_MAX ? (uint16_t)left : REPORT_CHUNK_MAX;
	memcpy(body.chunk, c->report + q.offset, body.chunk_bytes);
	connection_reply_begin(c, h->type, h->seq, 0, &r);
	report_read_reply_put(&r.body, &body);
	return connection_reply_send(c, &r, NULL);
}
