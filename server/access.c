/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/access.h"

#include <string.h>
#include <utlist.h>

#include "server/connection.h"
#include "server/service.h"

#define WINDOW_ACCESS (IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)

static struct grant **grants_of(struct server *s, const struct allocation *a)
{
	return &s->grants[ledger_slot(s->pool.ledger, a)];
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

static void finish(struct server *s, const struct allocation *a)
{
	pool_quarantine(&s->pool, a);
	service_freed(s, a);
}

static void end(struct grant *g)
{
	struct connection *c = g->connection;
	int err;

	/* A queue pair in error carries nothing out any more: there, destroying the window does it. */
	if (g->bound && !g->own_region && c->state != CONNECTION_CLOSING) {
		err = connection_post_invalidate(c, g);
		if (err)
			connection_abort(c, "an invalidation cannot be posted: %s", strerror(-err));
		return;
	}
	err = grant_revoke(g);
	if (err)
		connection_abort(c, "a window cannot be revoked: %s", strerror(-err));
	else
		access_ended(g);
}

void access_end_all(struct server *s, const struct allocation *a)
{
	struct grant *g = *grants_of(s, a), *next;

	if (!g)
		finish(s, a);
	for (; g; g = next) {
		next = g->of_next;
		end(g);
	}
}

void access_invalidated(struct grant *g)
{
	struct connection *c = g->connection;

	g->bound = false;
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

	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a list with a member has a head */
	DL_DELETE(c->grants, g);
	if (a)
		DL_DELETE2(*grants_of(s, a), g, of_prev, of_next);
	grant_free(g);
	if (a && a->state == ALLOCATION_REVOKING && !*grants_of(s, a))
		finish(s, a);
}

void access_bury(struct grant *g)
{
	struct server *s = g->connection->server;
	const struct allocation *a = g->allocation;

	if (a->state == ALLOCATION_LIVE)
		ledger_set_state(s->pool.ledger, a, ALLOCATION_REVOKING);
	if (a->state == ALLOCATION_REVOKING)
		ledger_set_state(s->pool.ledger, a, ALLOCATION_ZOMBIE);
	service_stuck(s, a);
}
