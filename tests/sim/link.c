/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/link.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "server/base/work.h"
#include "server/grant/grant.h"
#include "tests/sim/chance.h"
#include "tests/sim/host.h"
#include "tests/sim/moment.h"
#include "tests/sim/rooms.h"
#include "tests/sim/trace.h"
#include "tests/sim/verdict.h"
#include "tests/sim/window.h"

struct link links[LINKS_MAX];

static unsigned fail_send, fail_post;
static uint64_t order;

/* The id of a connection is its link. */
static struct link *of(const struct connection *c)
{
	return (struct link *)c->id;
}

/* ---- links ---- */

void links_begin(unsigned sends, unsigned posts)
{
	memset(links, 0, sizeof(links));
	for (unsigned i = 0; i < LINKS_MAX; i++)
		links[i].number = i;
	fail_send = sends;
	fail_post = posts;
	order = 0;
}

static void forget_server(struct link *link)
{
	link->c = NULL;
	link->nsent = link->nends = 0;
	link->asked = false;
	link->cut = true;
}

void links_server_died(void)
{
	windows_server_died();
	for (unsigned i = 0; i < LINKS_MAX; i++)
		forget_server(&links[i]);
}

void links_close_zombies(void)
{
	struct connection *c;

	while ((c = rooms.net.zombies) != NULL) {
		struct grant *g;

		DL_DELETE(rooms.net.zombies, c);
		while ((g = c->grants) != NULL) {
			DL_DELETE(c->grants, g);
			grant_free(g);
		}
		free(c);
	}
}

static void accept_peer(void *arg)
{
	struct link *link = arg;
	struct net *net = &rooms.net;
	struct connection *c = calloc(1, sizeof(*c));

	c->net = net;
	c->device = &net->devices[0];
	c->id = (struct rdma_cm_id *)link;
	c->purpose = link->purpose;
	c->state = CONNECTION_OPEN;
	c->opened_ns = c->active_ns = clock_boot_ns();
	snprintf(c->peer, sizeof(c->peer), "link %u", link->number);
	connection_move(c, &net->connections);
	net->nchannels += c->purpose == PURPOSE_CHANNEL;
	net->nconnections += c->purpose != PURPOSE_CHANNEL;
	link->c = c;
}

struct link *link_connect(struct client *client, enum purpose purpose)
{
	struct link *link = links;

	while (link < links + LINKS_MAX && (link->client || link->c))
		link++;
	if (link == links + LINKS_MAX || !rooms.open)
		return NULL;
	*link = (struct link){
		.number = link->number, .client = client, .purpose = purpose, .honest = true
	};
	return rooms_do(accept_peer, link) ? link : NULL;
}

void link_send(struct link *link, const struct request *q)
{
	if (!link->cut && link->nsent < SENT_MAX)
		link->sent[link->nsent++] = *q;
}

void link_let_go(struct link *link)
{
	link->client = NULL;
	link->cut = true;
	link->nsent = link->nback = 0;
}

bool link_is_up(const struct link *link)
{
	return link->client && !link->cut && link->c && link->c->state == CONNECTION_OPEN;
}

/* ---- what happens to them ---- */

static void deliver(void *arg)
{
	struct link *link = arg;
	uint8_t bytes[MESSAGE_MAX];
	size_t n = request_put(&link->question, bytes);

	link->c->active_ns = clock_boot_ns();
	link->c->net->events->message(link->c, bytes, n);
}

static unsigned count_ends(void)
{
	unsigned n = 0;

	for (const struct link *l = links; l < links + LINKS_MAX; l++)
		n += l->nends;
	return n;
}

void link_deliver(struct link *link)
{
	struct request q = link->sent[0];
	unsigned ends;

	memmove(link->sent, link->sent + 1, --link->nsent * sizeof(link->sent[0]));
	if (!link->c || link->c->state != CONNECTION_OPEN)
		return;
	if (link->asked)
		link->honest = false; /* the server may cut it off for that */
	else
		link->question = q;
	link->honest &= !q.malformed && !q.forged;
	link->asked = true;
	link->asked_ran_ns = moment_ran_ns();
	link->asked_order = ++order;
	verdict_asked(link, &q);
	ends = count_ends();
	if (!rooms_do(deliver, link))
		return;
	trace_require(!q.forged || count_ends() <= ends,
		"link %u: a key that nobody was told ends access of others", link->number);
	verdict_heard(link, &q);
}

static void complete(void *arg)
{
	struct link *link = arg;
	struct grant *g = link->ends[0].grant;

	memmove(link->ends, link->ends + 1, --link->nends * sizeof(link->ends[0]));
	window_invalidated(g);
	link->c->net->events->invalidated(g);
}

void link_complete(struct link *link)
{
	rooms_do(complete, link);
}

static void tell(void *arg)
{
	connection_abort(arg, "disconnected");
}

void link_tell_server(struct link *link)
{
	rooms_do(tell, link->c);
}

/* ---- server/net/connection.h ---- */

void connection_close(struct connection *c)
{
	struct link *link = of(c);

	c->state = CONNECTION_CLOSING;
	for (unsigned i = 0; i < c->nspares; i++)
		window_destroy_spare(c->spares[i]);
	for (struct window *w = NULL; (w = window_next(w)) != NULL;)
		trace_require(!w->bound || w->link != link,
			"link %u: its queue pair goes under a window that is bound", link->number);
	free(c->report);
	forget_server(link);
}

void connection_free(struct connection *c)
{
	free(c);
}

void connection_established(struct connection *c)
{
	(void)c;
}

/* What is on its way back is lost, but for what had been sent long enough before. */
void connection_abort(struct connection *c, const char *fmt, ...)
{
	struct link *link = of(c);
	struct net *net = c->net;
	char reason[128];
	va_list ap;

	if (c->state == CONNECTION_CLOSING)
		return;
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	trace("link %u: the server ends it: %s", link->number, reason);
	verdict_ended(link, reason);
	c->state = CONNECTION_CLOSING;
	wait_cancel(&c->pending.wait);
	c->pending.active = false;
	link->asked = false;
	link->nsent = link->nends = 0;
	link->nback = (unsigned)chance_below(link->nback + 1);
	link->cut = true;
	link->closing_ran_ns = moment_ran_ns();
	net->nconnections -= c->purpose != PURPOSE_CHANNEL;
	connection_move(c, &net->dying);
	wait_finish(&c->closing, 0);
	work_wake(net->work);
}

void connection_reply_begin(
	struct connection *c, uint8_t type, uint32_t seq, int32_t status, struct reply *r)
{
	const struct header header = { .type = type, .seq = seq, .status = status };

	r->body = wire_over(of(c)->buffer, MESSAGE_MAX);
	header_put(&r->body, &header);
}

static void put_back(struct link *link, const struct reply *r)
{
	struct answer *a = &link->back[link->nback];

	if (!link->client || link->cut)
		return;
	trace_require(link->nback < BACK_MAX && r->body.pos <= sizeof(a->data),
		"link %u: too many answers, or too long a one", link->number);
	a->to = link->question;
	a->bytes = r->body.pos;
	memcpy(a->data, r->body.data, a->bytes);
	link->nback++;
}

int connection_reply_send(struct connection *c, struct reply *r, struct ibv_send_wr *bind)
{
	struct link *link = of(c);

	host_place();
	trace_require(!r->body.failed, "link %u: a reply that is too long", link->number);
	if (c->state == CONNECTION_CLOSING)
		return 0; /* its queue pair is in error, and flushes */
	trace_require(link->asked, "link %u: an answer to nothing, or a second one", link->number);
	verdict_answered(link, r->body.data, r->body.pos);
	if (chance_in(fail_send))
		return -ENOMEM;
	if (bind)
		window_bound(bind, link);
	link->asked = false;
	put_back(link, r);
	return 0;
}

int connection_reply_status(
	struct connection *c, uint8_t type, uint32_t seq, int32_t status, const char *reason)
{
	struct refusal refusal = { "" };
	struct reply r;

	connection_reply_begin(c, type, seq, status, &r);
	if (status < 0) {
		snprintf(refusal.errinfo, sizeof(refusal.errinfo), "%s", reason);
		refusal_put(&r.body, &refusal);
	}
	return connection_reply_send(c, &r, NULL);
}

int connection_post_invalidate(struct connection *c, struct grant *g, struct ibv_send_wr *wr)
{
	struct link *link = of(c);

	(void)wr;
	host_place();
	if (chance_in(fail_post))
		return -ENOMEM;
	trace_require(link->nends < ENDS_MAX, "link %u: too many invalidations", link->number);
	link->ends[link->nends].grant = g;
	link->ends[link->nends++].ran_ns = moment_ran_ns();
	return 0;
}
