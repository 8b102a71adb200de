/* SPDX-License-Identifier: BSD-3-Clause */
/* REPORT, REPORT_READ: reports over RDMA. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "server/rpc/handlers.h"

/* A REPORT that waits for its answer, or for the end of its connection. */
struct report {
	struct question question; /* first */
	struct wait closing;
	struct connection *connection;
};

static void report_ready(struct question *q, char *text)
{
	struct report *report = (struct report *)q;
	struct connection *c = report->connection;
	const struct header h = connection_take_pending(c);
	struct report_reply body;
	struct reply r;

	wait_cancel(&report->closing);
	free(report);
	free(c->report);
	c->report = text;
	c->report_bytes = text ? strlen(text) : 0;
	body.total_bytes = c->report_bytes;
	if (!text) {
		connection_abort(c, "no report can be made");
		return;
	}
	connection_reply_begin(c, h.type, h.seq, 0, &r);
	report_reply_put(&r.body, &body);
	if (connection_reply_send(c, &r, NULL))
		connection_abort(c, "cannot answer");
}

static void connection_closing(struct wait *w, int result)
{
	struct report *report = (struct report *)((char *)w - offsetof(struct report, closing));

	(void)result;
	wait_cancel(&report->question.wait);
	free(report);
}

int handle_report(struct connection *c, const struct header *h, struct wire *in)
{
	struct report *report = calloc(1, sizeof(*report));
	struct report_request q;

	if (!report)
		return -ENOMEM;
	report_request_get(in, &q);
	if (wire_finish(in)) {
		free(report);
		return -EBADMSG;
	}
	report->connection = c;
	c->pending = (struct pending){ .active = true, .type = h->type, .seq = h->seq };
	wait_on(&c->closing, &report->closing, connection_closing);
	rpc_of(c)->ask(rpc_of(c)->asked, q.request, &report->question, report_ready);
	return 0;
}

int handle_report_read(struct connection *c, const struct header *h, struct wire *in)
{
	static struct report_read_reply body; /* 4 KB; safe, as only the event loop uses it */
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
