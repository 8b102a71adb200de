/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "tests/sim/beat.h"
#include "tests/sim/chance.h"
#include "tests/sim/check.h"
#include "tests/sim/client.h"
#include "tests/sim/host.h"
#include "tests/sim/fairness.h"
#include "tests/sim/link.h"
#include "tests/sim/model.h"
#include "tests/sim/moment.h"
#include "tests/sim/process.h"
#include "tests/sim/rooms.h"
#include "tests/sim/timer.h"
#include "tests/sim/trace.h"
#include "tests/sim/verdict.h"
#include "tests/sim/window.h"
#include "tests/sim/wipers.h"

#define CLIENTS_MAX 6
#define BYTES_EVERY 8 /* steps: contents of memory are looked at */
#define END_WITHIN_NS (300 * NSEC_PER_SEC)
#define COMPLETE_WITHIN_NS NSEC_PER_SEC

static struct client clients[CLIENTS_MAX];
static unsigned nclients;

/* ---- the server's life ---- */

/* Now and then it does not get to the end of what it is about to do. */
static void arm_sometimes(unsigned places)
{
	host_arm(chance_in(4) ? 1 + (unsigned)chance_below(places) : 0);
}

static void start_server(void)
{
	rooms.part_bytes = PAGE_BYTES
			   << chance_below(5); /* perhaps with another device than before */
	arm_sometimes(400);
	while (!rooms_start())
		;
	host_arm(0);
	trace("the server starts");
	model_restarted();
}

static void stop_server(void)
{
	bool forgot_all;

	trace("the server stops");
	arm_sometimes(100);
	if (rooms_stop(&forgot_all) && forgot_all) {
		model_forget_all();
		verdict_begin(); /* serial numbers begin anew */
	}
}

static void restart_server(void)
{
	if (chance_in(3))
		stop_server();
	else
		rooms_kill();
	start_server();
}

/* ---- time ---- */

static void tick(void *arg)
{
	(void)arg;
	rooms_tick();
}

static void slice(void *arg)
{
	(void)arg;
	timer_run();
}

static void run_slice(void)
{
	if (rooms.open)
		rooms_do(slice, NULL);
}

static void wake(void *arg)
{
	work_wake(arg);
}

/* As server/server.c does when the wipers' descriptor is readable. */
static void wipe(uint64_t pieces)
{
	if (rooms.open && wipers_run(pieces))
		rooms_do(wake, &rooms.work);
}

/* No invalidation takes for ever, and no wiping. */
static void complete_late(void)
{
	wipe(UINT64_MAX);
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		while (rooms.open && links[i].nends &&
			moment_ran_ns() - links[i].ends[0].ran_ns > COMPLETE_WITHIN_NS)
			link_complete(&links[i]);
	}
}

static void beat_all(void)
{
	for (unsigned i = 0; i < nclients; i++)
		client_beat(&clients[i]);
}

/* Clients whose heartbeat the server has seen, now that it has looked. */
static void note_beats(void)
{
	for (unsigned i = 0; i < nclients; i++) {
		const struct client *c = &clients[i];

		if (c->control && c->owner && link_is_up(c->control) && c->greeted &&
			moment_ns() + rooms.options.ttl_ms * NSEC_PER_MSEC / 3 == c->beat_ns) {
			model_sign(c->owner);
			check_beat(c->owner, c->beats);
		}
	}
}

/* Time passes, and the server does what is due; it may be killed in that. */
static void pass(uint64_t ns)
{
	const uint64_t end_ns = moment_ns() + ns;

	while (rooms.open && moment_ns() < end_ns) {
		uint64_t next_ns = rooms.next_tick_ns < end_ns ? rooms.next_tick_ns : end_ns;

		if (timer_is_set() && timer_due_ns() < next_ns)
			next_ns = timer_due_ns();
		if (next_ns > moment_ns())
			moment_pass(next_ns - moment_ns());
		beat();
		if (timer_is_set() && moment_ns() >= timer_due_ns())
			run_slice();
		if (!rooms.open || moment_ns() < rooms.next_tick_ns)
			continue;
		beat_all();
		check_before_beats();
		if (rooms_do(tick, NULL)) {
			note_beats();
			complete_late();
		}
	}
}

/* Time passes, and the loop does nothing: the process stands still, or is busy. */
static void lose(uint64_t ns, bool busy)
{
	const uint64_t end_ns = moment_ns() + ns;

	trace("the server %s for %u ms", busy ? "is busy" : "stands still",
		(unsigned)(ns / NSEC_PER_MSEC));
	while (moment_ns() < end_ns) {
		const uint64_t left_ns = end_ns - moment_ns();

		moment_lose(left_ns < rooms.tick_ns ? left_ns : rooms.tick_ns);
		if (busy)
			beat();
		beat_all();
	}
	beat();
}

static void some_time(void)
{
	const uint64_t ttl_ns = rooms.options.ttl_ms * NSEC_PER_MSEC, dice = chance_below(400);

	if (dice < 300)
		pass(chance_below(3 * NSEC_PER_MSEC) + 1);
	else if (dice < 370)
		pass(chance_below(rooms.tick_ns) + 1);
	else if (dice < 390)
		pass(chance_below(NSEC_PER_SEC) + 1);
	else if (dice < 396)
		pass(chance_below(2 * ttl_ns) + 1);
	else if (dice < 397)
		pass(ttl_ns + chance_below(2 * rooms.options.courtesy_ms * NSEC_PER_MSEC));
	else
		lose(chance_below(3 * ttl_ns) + 1, chance_in(2));
}

/* ---- events ---- */

/* What a client writes with a key that it was given, whatever it believes. */
static void write_somewhere(void)
{
	static uint64_t counter;
	struct window *w = NULL;
	struct block *b;
	uint64_t page;

	for (uint64_t skip = chance_below(16) + 1; skip--;)
		w = window_next(w);
	if (!w || !w->bound || !w->serial || !(w->access & IBV_ACCESS_REMOTE_WRITE) ||
		!link_is_up(w->link))
		return;
	b = model_block(w->serial);
	trace_require(b && b->state != BLOCK_GONE, "a client writes to what is not there any more");
	page = chance_below((w->bytes + PAGE_BYTES - 1) / PAGE_BYTES);
	trace_require(w->addr >= b->addr && w->addr + w->bytes <= b->addr + b->bytes,
		"a key of allocation %" PRIu64 " reaches beyond it", b->serial);
	if (w->bytes < page * PAGE_BYTES + sizeof(counter))
		return;
	counter = chance_u64();
	memcpy(w->memory + page * PAGE_BYTES, &counter, sizeof(counter));
	b->words[(w->addr - b->addr) / PAGE_BYTES + page] = counter;
	b->written = model_next_write();
}

static bool is_busy(const struct link *link)
{
	const bool server_thinks_open = link->c && link->c->state == CONNECTION_OPEN;

	return link->nsent || link->nback || link->nends ||
	       (link->cut && (link->client || server_thinks_open));
}

/* One on which something can happen, or any. */
static struct link *choose_link(void)
{
	const unsigned first = (unsigned)chance_below(LINKS_MAX);

	for (unsigned i = 0; i < LINKS_MAX; i++) {
		if (is_busy(&links[(first + i) % LINKS_MAX]))
			return &links[(first + i) % LINKS_MAX];
	}
	return &links[first];
}

static void cut(struct link *link)
{
	trace("link %u is cut", link->number);
	link->cut = true;
	link->nsent = 0;
	link->nback = (unsigned)chance_below(link->nback + 1);
}

static void on_a_link(void)
{
	struct link *link = choose_link();

	if (link->client && !link->cut && chance_in(100 * client_calm))
		cut(link);
	else if (link->client && link->cut && !link->nback && chance_in(2))
		client_notice(link->client, link);
	else if (link->c && link->c->state == CONNECTION_OPEN && link->cut && chance_in(2))
		link_tell_server(link);
	else if (link->nsent)
		link_deliver(link);
	else if (link->nends && chance_in(2))
		link_complete(link);
	else if (link->nback && link->client)
		client_hear(link->client, link);
}

/* A job ends, or a machine: what several holders leave is taken back at the same time. */
static void several_die(void)
{
	for (unsigned i = 0; i < nclients; i++) {
		if (clients[i].alive && chance_in(2))
			client_die(&clients[i], chance_in(8));
	}
}

static void event(void)
{
	const uint64_t dice = chance_below(100);

	if (chance_in(60 * client_calm))
		several_die();
	else if (dice < 30)
		client_act(&clients[chance_below(nclients)]);
	else if (dice < 76)
		on_a_link();
	else if (dice < 81)
		write_somewhere();
	else if (dice < 84)
		wipe(1 + chance_below(12));
	else if (dice < 85 && rooms.open)
		rooms_resize((unsigned)chance_below(2), chance_in(2));
	else if (dice < 91 && timer_is_set() && timer_due_ns() <= moment_ns())
		run_slice();
	else
		some_time();
}

static void step(unsigned i)
{
	trace_step(i);
	if (chance_in(40))
		host_arm(1 + (unsigned)chance_below(60)); /* if it gets that far, and no further */
	event();
	host_arm(0);
	if (rooms.open && chance_in(200 * client_calm)) {
		check_all(false);
		restart_server();
	}
	if (!rooms.open)
		start_server();
	check_all(i % BYTES_EVERY == 0);
}

/* ---- a run ---- */

static void choose_options(void)
{
	static const enum reclaim_policy policies[] = { RECLAIM_PRESSURE, RECLAIM_PRESSURE,
		RECLAIM_PRESSURE, RECLAIM_PRESSURE, RECLAIM_NEVER, RECLAIM_AFTER };
	struct options *o = &rooms.options;

	o->ttl_ms = 500ULL << chance_below(4);
	o->courtesy_ms = o->ttl_ms * (1 + chance_below(6));
	o->reclaim = policies[chance_below(6)];
	o->reclaim_ms = o->ttl_ms * (1 + chance_below(2));
	o->max_sessions = OPTIONS_SESSIONS;
	fairness_choose();
	rooms.protection = chance_in(2) ? PROTECTION_WINDOW : PROTECTION_REGION;
	rooms.sizes.count = 1 + chance_below(2);
	for (unsigned i = 0; i < rooms.sizes.count; i++) {
		rooms.sizes.nodes[i].node = i;
		rooms.sizes.nodes[i].bytes = (6 + chance_below(20)) * PAGE_BYTES;
	}
}

static void begin(uint64_t seed)
{
	static const unsigned rates[] = { 0, 0, 0, 20, 200 };
	struct window_faults faults;

	chance_begin(seed);
	moment_begin();
	processes_begin();
	faults = (struct window_faults){ .create = rates[chance_below(5)],
		.destroy = rates[chance_below(5)],
		.stuck = chance_in(4) ? 60 : 0 };
	windows_begin(&faults);
	links_begin(chance_in(3) ? 60 : 0, chance_in(3) ? 20 : 0);
	host_begin();
	rooms_begin();
	model_begin();
	verdict_begin();
	check_begin();
	choose_options();
	client_calm = 1U << chance_below(4);
	nclients = 2 + (unsigned)chance_below(CLIENTS_MAX - 1);
	for (unsigned i = 0; i < nclients; i++)
		client_begin(&clients[i], i);
}

/* Everybody goes, in one way or another; then time passes until nothing is left. */
static void end_all(void)
{
	for (unsigned i = 0; i < nclients; i++) {
		if (clients[i].alive)
			client_die(&clients[i], chance_in(3));
	}
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		if (links[i].c && links[i].c->state == CONNECTION_OPEN)
			link_tell_server(&links[i]);
	}
	if (rooms.options.reclaim == RECLAIM_NEVER) {
		rooms.options.reclaim = RECLAIM_PRESSURE;
		restart_server();
	}
	pass((rooms.options.ttl_ms * 3 + rooms.options.courtesy_ms + 10000) * NSEC_PER_MSEC);
	check_empty();
	if (!check_is_stuck())
		return;
	restart_server();
	pass((rooms.options.ttl_ms * 3 + rooms.options.courtesy_ms + 10000) * NSEC_PER_MSEC);
	check_empty();
}

void sim_run(uint64_t seed, unsigned steps)
{
	begin(seed);
	start_server();
	for (unsigned i = 0; i < steps; i++)
		step(i);
	trace_step(steps);
	trace("everybody goes");
	end_all();
	stop_server();
}
