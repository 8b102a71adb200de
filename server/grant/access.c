/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/grant/access.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "server/net/connection.h"
#include "server/lease/reaper.h"

#define INVALIDATIONS_MAX 16 /* on a connection at a time: they share its send queue with replies */
#define ENDS_AT_ONCE \
	64 /* what a session can have on one allocation, nearly; more is for the reaper */

#define WINDOW_ACCESS (IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)

static struct grant **grants_of(struct server *s, const struct allocation *a)
{
	return &s->reach[ledger_slot(s->pool.ledger, a)].grants;
}

struct wait **access_revoked(struct server *s, const struct allocation *a)
{
	return &s->reach[ledger_slot(s->pool.ledger, a)].revoked;
}

static struct ibv_mr *chunk_for(const struct connection *c, const struct allocation *a)
{
	return c->device->protection == PROTECTION_WINDOW ? device_chunk(c->device, a->addr) : NULL;
}

static struct extent extent_of(struct server *s, const struct allocation *a)
{
	return (struct extent){ .memory = pool_pointer(&s->pool, a),
		.addr = a->addr,
		.bytes = a->bytes,
		.access = WINDOW_ACCESS };
}

struct grant *access_find(const struct connection *c, const struct allocation *a)
{
	struct grant *g = *grants_of(c->server, a);

	while (g && g->connection != c)
		g = g->of_next; /* at most one per connection of the session */
	return g;
}

int access_make(struct connection *c, const struct allocation *a, struct grant **out)
{
	const struct extent e = extent_of(c->server, a);
	struct ibv_mw *spare = c->nspares ? c->spares[c->nspares - 1] : NULL;
	struct grant **head = grants_of(c->server, a);
	struct grant *g;
	int err = grant_create(c->device->pd, &e, chunk_for(c, a), spare, &g);

	if (err)
		return err;
	c->nspares -= spare != NULL;
	g->allocation = a;
	g->connection = c;
	DL_APPEND2(*head, g, of_prev, of_next);
	DL_APPEND(c->grants, g);
	*out = g;
	return 0;
}

void access_bind_request(const struct grant *g, struct ibv_send_wr *wr)
{
	const struct extent e = extent_of(g->connection->server, g->allocation);

	grant_bind_request(g, &e, chunk_for(g->connection, g->allocation), wr);
}

/* ---- ends ---- */

/* The last grant of an allocation that is given up is gone. */
static void finish(struct server *s, const struct allocation *a)
{
	struct wait **revoked = access_revoked(s, a);

	s->nrevoking--;
	pool_quarantine(&s->pool, a);
	reaper_wake(s);
	wait_finish(revoked, 0);
}

/* ... and one of them will never be. */
static void give_up(struct server *s, const struct allocation *a)
{
	s->nrevoking--;
	ledger_set_state(s->pool.ledger, a, ALLOCATION_ZOMBIE);
	wait_finish(access_revoked(s, a), -EIO);
}

static void begin_end(struct server *s, struct grant *g)
{
	if (g->end != GRANT_GIVEN)
		return;
	g->end = GRANT_QUEUED;
	DL_APPEND2(s->ending, g, end_prev, end_next);
}

static void leave_queue(struct server *s, struct grant *g)
{
	if (g->end == GRANT_QUEUED)
		DL_DELETE2(s->ending, g, end_prev, end_next);
	g->end = GRANT_ENDING;
}

/* A queue pair in error carries nothing out any more: there, destroying the window does it. */
static bool needs_invalidation(const struct grant *g)
{
	return g->bound && !g->own_region && g->connection->state != CONNECTION_CLOSING;
}

static void invalidate(struct grant *g)
{
	struct connection *c = g->connection;
	int err = connection_post_invalidate(c, g);

	if (err)
		connection_abort(c, "an invalidation cannot be posted: %s", strerror(-err));
	else
		c->invalidating++;
}

/* False: its connection has no room for another invalidation now. */
static bool end(struct server *s, struct grant *g)
{
	int err;

	if (needs_invalidation(g)) {
		if (g->connection->invalidating >= INVALIDATIONS_MAX)
			return false;
		leave_queue(s, g);
		invalidate(g);
		return true;
	}
	leave_queue(s, g);
	err = grant_revoke(g);
	if (err)
		connection_abort(g->connection, "a window cannot be revoked: %s", strerror(-err));
	else
		access_ended(g);
	return true;
}

bool access_end_some(struct server *s, unsigned *budget)
{
	bool moved = false;

	while (s->ending && *budget) {
		struct grant *g = s->ending;

		(*budget)--;
		if (end(s, g)) {
			moved = true;
		} else {
			DL_DELETE2(s->ending, g, end_prev, end_next);
			DL_APPEND2(s->ending, g, end_prev, end_next);
		}
	}
	return s->ending && moved;
}

static void end_soon(struct server *s)
{
	unsigned budget = ENDS_AT_ONCE;

	if (access_end_some(s, &budget))
		reaper_wake(s);
}

unsigned access_end_all(struct server *s, const struct allocation *a)
{
	bool stuck = false;
	unsigned n = 0;
	struct grant *g;

	s->nrevoking++;
	if (!*grants_of(s, a)) {
		finish(s, a);
		return 0;
	}
	DL_FOREACH2(*grants_of(s, a), g, of_next)
	{
		stuck |= g->end == GRANT_STUCK;
		begin_end(s, g);
		n++;
	}
	if (stuck)
		give_up(s, a);
	end_soon(s);
	return n;
}

static bool is_of(const struct grant *g, const struct session *session)
{
	return g->connection->session == session;
}

bool access_end_of(struct server *s, const struct allocation *a, const struct session *session)
{
	struct grant *g;

	DL_FOREACH2(*grants_of(s, a), g, of_next)
	{
		if (is_of(g, session))
			begin_end(s, g);
	}
	end_soon(s);
	return access_has(s, a, session);
}

bool access_has(struct server *s, const struct allocation *a, const struct session *session)
{
	const struct grant *g = *grants_of(s, a);

	while (g && !is_of(g, session))
		g = g->of_next;
	return g != NULL;
}

bool access_is_stuck(struct server *s, const struct allocation *a, const struct session *session)
{
	const struct grant *g = *grants_of(s, a);

	while (g && !(is_of(g, session) && g->end == GRANT_STUCK))
		g = g->of_next;
	return g != NULL;
}

unsigned access_count_others(struct server *s, const struct allocation *a)
{
	const struct grant *g;
	unsigned n = 0;

	s->counting++;
	DL_FOREACH2(*grants_of(s, a), g, of_next)
	{
		struct session *session = g->connection->session;

		if (session->slot == a->session || session->counted == s->counting)
			continue;
		session->counted = s->counting;
		n++;
	}
	return n;
}

void access_invalidated(struct grant *g)
{
	struct connection *c = g->connection;

	g->bound = false;
	c->invalidating--;
	if (c->server->ending)
		reaper_wake(c->server); /* one of them may have waited for this room */
	if (c->nspares < CONNECTION_SPARES) {
		c->spares[c->nspares++] = g->window;
		g->window = NULL;
	}
	if (grant_revoke(g)) /* a window that did not become a spare */
		connection_abort(c, "a window cannot be destroyed");
	else
		access_ended(g);
}

void access_ended(struct grant *g)
{
	const struct allocation *a = g->allocation;
	struct connection *c = g->connection;
	struct server *s = c->server;
	bool was_given = g->end == GRANT_GIVEN;

	leave_queue(s, g);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a list with a member has a head */
	DL_DELETE(c->grants, g);
	if (a)
		DL_DELETE2(*grants_of(s, a), g, of_prev, of_next);
	grant_free(g);
	if (a && !was_given && c->session)
		wait_finish(&c->session->grant_ended, 0);
	if (a && a->state == ALLOCATION_REVOKING && !*grants_of(s, a))
		finish(s, a);
}

/*
 * The owner's own access is not confirmed to be over: nor is that of who comes after it. Somebody else's
 * does not take the block from its owner, but nobody will have it after that one.
 */
void access_bury(struct grant *g)
{
	struct server *s = g->connection->server;
	const struct allocation *a = g->allocation;
	struct session *session = g->connection->session;

	leave_queue(s, g);
	g->end = GRANT_STUCK;
	if (a->state == ALLOCATION_LIVE && a->session == session->slot) {
		ledger_set_state(s->pool.ledger, a, ALLOCATION_REVOKING);
		s->nrevoking++;
	}
	if (a->state == ALLOCATION_REVOKING)
		give_up(s, a);
	wait_finish(&session->grant_ended, 0);
}
