/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/client.h"

#include <string.h>

#include "common/clock.h"
#include "tests/sim/chance.h"
#include "tests/sim/link.h"
#include "tests/sim/model.h"
#include "tests/sim/moment.h"
#include "tests/sim/process.h"
#include "tests/sim/rooms.h"
#include "tests/sim/trace.h"
#include "tests/sim/window.h"
#include "tests/sim/wish.h"

unsigned client_calm = 1;

/* ---- life and death ---- */

static void start(struct client *c)
{
	const unsigned number = c->number;

	*c = (struct client){ .number = number, .alive = true };
	c->process = process_start(!chance_in(3));
	trace("client %u: process %u starts", number, c->process);
}

void client_begin(struct client *c, unsigned number)
{
	c->number = number;
	start(c);
}

static void let_go(struct link **link)
{
	if (*link)
		link_let_go(*link);
	*link = NULL;
}

void client_die(struct client *c, bool exec)
{
	trace("client %u: process %u %s", c->number, c->process,
		exec ? "executes another program" : "is killed");
	process_set(c->process, exec ? PROCESS_LET_GO : PROCESS_GONE);
	let_go(&c->control);
	for (unsigned i = 0; i < CHANNELS_MAX_SIM; i++)
		let_go(&c->channels[i]);
	c->alive = false;
}

/* ---- connections ---- */

static void hang_up(struct client *c)
{
	let_go(&c->control);
	c->repeat |= c->waiting && c->greeted;
	c->greeted = c->waiting = false;
}

static void send_control(struct client *c, const struct request *q)
{
	c->last = *q;
	c->waiting = true;
	link_send(c->control, q);
}

static void begin_session(struct client *c)
{
	struct request q = { .type = MESSAGE_HELLO };
	const bool resume = c->owner && !chance_in(12);

	if (!resume) {
		const bool same = c->owner && chance_in(3); /* an id that is taken, mostly */

		for (unsigned i = 0; i < ID_SIZE; i++)
			q.hello.session_id[i] = (uint8_t)chance_u64();
		if (same)
			memcpy(q.hello.session_id, c->owner->id, ID_SIZE);
		c->owner = NULL;
		c->repeat = false;
	} else {
		memcpy(q.hello.session_id, c->owner->id, ID_SIZE);
		memcpy(q.hello.secret, c->owner->secret, ID_SIZE);
		q.hello.secret[0] ^= chance_in(20);
	}
	q.hello.resume = resume;
	process_identity(c->process, &q.hello.identity);
	c->control = link_connect(c, PURPOSE_SESSION);
	if (!c->control)
		return;
	trace("client %u: link %u, %s", c->number, c->control->number, resume ? "resume" : "hello");
	c->greeted = c->waiting = false;
	link_send(c->control, &q);
}

static void open_channel(struct client *c, unsigned i)
{
	struct request q = { .type = MESSAGE_JOIN };

	memcpy(q.join.session_id, c->owner->id, ID_SIZE);
	memcpy(q.join.secret, c->owner->secret, ID_SIZE);
	q.join.secret[3] ^= chance_in(30);
	q.join.channel = chance_in(6) ? 0 : i + 1;
	let_go(&c->channels[i]);
	c->channels[i] = link_connect(c, PURPOSE_CHANNEL);
	if (!c->channels[i])
		return;
	trace("client %u: link %u, join as channel %u", c->number, c->channels[i]->number,
		q.join.channel);
	link_send(c->channels[i], &q);
}

void client_notice(struct client *c, struct link *link)
{
	trace("client %u: learns that link %u is cut", c->number, link->number);
	if (link == c->control)
		hang_up(c);
	for (unsigned i = 0; i < CHANNELS_MAX_SIM; i++) {
		if (c->channels[i] == link)
			let_go(&c->channels[i]);
	}
}

static void greeted(struct client *c, const struct answer *a, const struct header *h)
{
	if (h->status) {
		c->owner = NULL; /* refused: a session of its own, next time */
		c->repeat = false;
		let_go(&c->control);
		return;
	}
	c->owner = model_owner(a->to.hello.session_id);
	c->greeted = true;
	c->beat_ns = 0;
	if (c->repeat && !chance_in(10)) /* else it gives that request up, which it should not */
		send_control(c, &c->last);
	c->repeat = false;
}

void client_hear(struct client *c, struct link *link)
{
	const struct answer a = link->back[0];
	struct wire in = wire_over((uint8_t *)(uintptr_t)a.data, a.bytes);
	struct header h;

	memmove(link->back, link->back + 1, --link->nback * sizeof(link->back[0]));
	header_get(&in, &h);
	if (link != c->control) {
		for (unsigned i = 0; i < CHANNELS_MAX_SIM && h.status && h.type == MESSAGE_JOIN;
			i++) {
			if (c->channels[i] == link)
				let_go(&c->channels[i]);
		}
		return;
	}
	if (h.type == MESSAGE_HELLO) {
		greeted(c, &a, &h);
		return;
	}
	c->waiting = false;
	if (h.type == MESSAGE_BYE) {
		c->owner = NULL;
		if (!chance_in(4))
			hang_up(c); /* else it stays, and is thrown out */
		c->greeted = false;
	}
}

/* ---- what it does ---- */

static void ask(struct client *c)
{
	struct request q = { .type = 0 };

	wish_any(c->owner, &q);
	if (!q.forged)
		q.seq = c->owner->next_seq++;
	q.malformed = chance_in(300);
	send_control(c, &q);
}

static void ask_on_channel(struct client *c, unsigned i)
{
	struct request q = { .type = 0 };
	struct link *link = c->channels[i];

	if (!link->owner || link->asked || link->nsent || link->nback)
		return;
	wish_attach(c->owner, &q);
	q.seq = (uint32_t)chance_below(100);
	link_send(link, &q);
}

static void use_channels(struct client *c)
{
	const unsigned i = (unsigned)chance_below(CHANNELS_MAX_SIM);

	if (!c->channels[i] || chance_in(10 * client_calm))
		open_channel(c, i);
	else if (chance_in(10 * client_calm))
		let_go(&c->channels[i]);
	else
		ask_on_channel(c, i);
}

static void act_connected(struct client *c)
{
	if (chance_in(40 * client_calm)) {
		trace("client %u: hangs up", c->number);
		hang_up(c);
	} else if (!c->greeted || !c->owner) {
		return;
	} else if (chance_in(4)) {
		use_channels(c);
	} else if (!c->waiting) {
		ask(c);
	} else if (chance_in(200)) {
		c->last.seq = c->owner->next_seq++; /* before the answer: it is cut off for that */
		link_send(c->control, &c->last);
	}
}

void client_act(struct client *c)
{
	if (!c->alive) {
		if (chance_in(3))
			start(c);
	} else if (chance_in(c->silent ? 6 : 40 * client_calm)) {
		c->silent = !c->silent;
		trace("client %u: %s", c->number, c->silent ? "falls silent" : "is back");
	} else if (chance_in(80 * client_calm)) {
		client_die(c, chance_in(3));
	} else if (c->silent) {
		return;
	} else if (!c->control) {
		begin_session(c);
	} else {
		act_connected(c);
	}
}

/* The heartbeat page is written through the window that came with HELLO. */
void client_beat(struct client *c)
{
	if (!c->alive || c->silent || !c->owner || !c->control || !c->greeted ||
		!link_is_up(c->control) || moment_ns() < c->beat_ns)
		return;
	c->beat_ns = moment_ns() + rooms.options.ttl_ms * NSEC_PER_MSEC / 3;
	c->beats++;
	for (struct window *w = NULL; (w = window_next(w)) != NULL;) {
		if (w->bound && !w->serial && w->link == c->control) {
			memcpy(w->memory, &c->beats, sizeof(c->beats));
			model_late_sign(c->owner);
		}
	}
}
