/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/grant/access.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "server/base/wait.h"
#include "server/base/work.h"
#include "server/memory/pool.h"
#include "server/net/connection.h"

#define INVALIDATIONS_MAX 16 /* on a connection at a time: they share its send queue with replies */
#define ENDS_AT_ONCE \
	64 /* what a session can have on one allocation, nearly; more is for the reaper */

#define WINDOW_READS IBV_ACCESS_REMOTE_READ
#define WINDOW_WRITES (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)

static struct reach *reach_of(const struct access *access, const struct allocation *a)
{
	return &access->reach[ledger_slot(access->pool->ledger, a)];
}

static struct grant **grants_of(const struct access *access, const struct allocation *a)
{
	return &reach_of(access, a)->grants;
}

struct wait **access_revoked(struct access *access, const struct allocation *a)
{
	return &reach_of(access, a)->revoked;
}

static struct ibv_mr *chunk_for(const struct connection *c, uint64_t addr)
{
	return c->device->protection == PROTECTION_WINDOW ? device_chunk(c->device, addr) : NULL;
}

/*
 * The part of it that this byte is in. An allocation that is longer than a part begins at a multiple of one, so no part
 * crosses the end of a device's region. A slab is not divided: it is shorter than what any device can do.
 */
static struct reached part_of(
	const struct access *access, const struct reached *what, uint64_t offset)
{
	const uint64_t most = access->pool->part_bytes, start = offset - offset % most;
	struct reached part = *what;

	if (what->allocation->size_class || what->bytes <= most)
		return part;
	part.offset = start;
	part.bytes = what->bytes - start < most ? what->bytes - start : most;
	return part;
}

static struct extent extent_of(const struct access *access, const struct grant *g)
{
	return (struct extent){ .memory = (char *)pool_pointer(access->pool, g->allocation) +
					  g->offset,
		.addr = g->allocation->addr + g->offset,
		.bytes = g->bytes,
		.access = g->read_only ? WINDOW_READS : WINDOW_READS | WINDOW_WRITES };
}

struct grant *access_find(const struct access *access, const struct connection *c,
	const struct reached *what, uint64_t offset)
{
	const struct attachment *at = attachments_find(&access->attachments, c->grantee, what);
	const struct reached part = part_of(access, what, offset);
	struct grant *g = at ? at->grants : NULL;

	while (g && (g->connection != c || g->offset != part.offset))
		g = g->at_next; /* at most one per connection of the session and part */
	return g;
}

/* Into the lists of those that reach the same. */
static void enlist(struct access *access, struct grant *g, struct attachment *at)
{
	struct reach *reach = reach_of(access, g->allocation);

	g->access = access;
	g->attachment = at;
	reach->nattachments += at->grants == NULL;
	DL_APPEND2(reach->grants, g, of_prev, of_next);
	DL_APPEND2(at->grants, g, at_prev, at_next);
	DL_APPEND(g->connection->grants, g);
	g->connection->grantee->nwindows++;
}

int access_make(struct access *access, struct connection *c, const struct reached *what,
	uint64_t offset, bool read_only, struct grant **out)
{
	const struct reached part = part_of(access, what, offset);
	const struct grant draft = { .allocation = part.allocation,
		.offset = part.offset,
		.bytes = part.bytes,
		.read_only = read_only };
	const struct extent e = extent_of(access, &draft);
	struct ibv_mw *spare = c->nspares ? c->spares[c->nspares - 1] : NULL;
	struct attachment *at = attachments_add(&access->attachments, c->grantee, what);
	struct grant *g;
	int err;

	if (!at)
		return -ENOMEM;
	err = grant_create(c->device->pd, &e, chunk_for(c, e.addr), spare, &g);
	if (err) {
		struct target *t = at->target;

		if (attachments_drop_if_empty(&access->attachments, at))
			attachments_forget_if_unused(&access->attachments, t);
		return err;
	}
	c->nspares -= spare != NULL;
	g->allocation = part.allocation;
	g->offset = part.offset;
	g->bytes = part.bytes;
	g->read_only = read_only;
	g->connection = c;
	enlist(access, g, at);
	*out = g;
	return 0;
}

void access_bind_request(const struct access *access, const struct grant *g, struct ibv_send_wr *wr)
{
	const struct extent e = extent_of(access, g);

	grant_bind_request(g, &e, chunk_for(g->connection, e.addr), wr);
}

/* ---- ends ---- */

/* The last grant of an allocation that is given up is gone. */
static void finish(struct access *access, const struct allocation *a)
{
	struct wait **revoked = access_revoked(access, a);

	access->nrevoking--;
	pool_quarantine(access->pool, a);
	work_wake(access->work);
	wait_finish(revoked, 0);
}

/* ... and one of them will never be. */
static void give_up(struct access *access, const struct allocation *a)
{
	access->nrevoking--;
	ledger_set_state(access->pool->ledger, a, ALLOCATION_ZOMBIE);
	wait_finish(access_revoked(access, a), -EIO);
}

static void begin_end(struct access *access, struct grant *g)
{
	if (g->end != GRANT_GIVEN)
		return;
	g->end = GRANT_QUEUED;
	DL_APPEND2(access->ending, g, end_prev, end_next);
}

static void leave_queue(struct access *access, struct grant *g)
{
	if (g->end == GRANT_QUEUED)
		DL_DELETE2(access->ending, g, end_prev, end_next);
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
	struct ibv_send_wr wr;
	int err;

	grant_invalidate_request(g, &wr);
	err = connection_post_invalidate(c, g, &wr);

	if (err)
		connection_abort(c, "an invalidation cannot be posted: %s", strerror(-err));
	else
		c->invalidating++;
}

/* False: its connection has no room for another invalidation now. */
static bool end(struct access *access, struct grant *g)
{
	int err;

	if (needs_invalidation(g)) {
		if (g->connection->invalidating >= INVALIDATIONS_MAX)
			return false;
		leave_queue(access, g);
		invalidate(g);
		return true;
	}
	leave_queue(access, g);
	err = grant_revoke(g);
	if (err)
		connection_abort(g->connection, "a window cannot be revoked: %s", strerror(-err));
	else
		access_ended(g);
	return true;
}

bool access_end_some(struct access *access, unsigned *budget)
{
	bool moved = false;

	while (access->ending && *budget) {
		struct grant *g = access->ending;

		(*budget)--;
		if (end(access, g)) {
			moved = true;
		} else {
			DL_DELETE2(access->ending, g, end_prev, end_next);
			DL_APPEND2(access->ending, g, end_prev, end_next);
		}
	}
	return access->ending && moved;
}

static void end_soon(struct access *access)
{
	unsigned budget = ENDS_AT_ONCE;

	if (access_end_some(access, &budget))
		work_wake(access->work);
}

unsigned access_end_all(struct access *access, const struct allocation *a)
{
	bool stuck = false;
	unsigned n = 0;
	struct grant *g;

	access->nrevoking++;
	if (!*grants_of(access, a)) {
		finish(access, a);
		return 0;
	}
	DL_FOREACH2(*grants_of(access, a), g, of_next)
	{
		stuck |= g->end == GRANT_STUCK;
		begin_end(access, g);
		n++;
	}
	if (stuck)
		give_up(access, a);
	end_soon(access);
	return n;
}

static void begin_end_of(struct access *access, struct attachment *at)
{
	struct grant *g;

	DL_FOREACH2(at->grants, g, at_next)
	begin_end(access, g);
}

bool access_end_of(struct access *access, const struct reached *what, const struct grantee *grantee)
{
	struct attachment *at = attachments_find(&access->attachments, grantee, what);

	if (!at)
		return false;
	begin_end_of(access, at);
	end_soon(access);
	return access_has(access, what, grantee);
}

struct wait **access_end_others(
	struct access *access, const struct reached *what, const struct grantee *owner)
{
	const struct target *t = attachments_target(&access->attachments, what);
	struct attachment *at;

	if (!t)
		return NULL;
	DL_FOREACH (t->attachments, at) {
		if (at->key.grantee != owner)
			begin_end_of(access, at);
	}
	end_soon(access);
	return access_others(access, what, owner);
}

struct wait **access_others(
	const struct access *access, const struct reached *what, const struct grantee *owner)
{
	struct target *t = attachments_target(&access->attachments, what);

	return t && t->nattachments > (attachments_find(&access->attachments, owner, what) != NULL)
		       ? &t->others
		       : NULL;
}

static bool is_stuck(const struct attachment *at)
{
	const struct grant *g = at->grants;

	while (g && g->end != GRANT_STUCK)
		g = g->at_next;
	return g != NULL;
}

bool access_others_are_stuck(
	const struct access *access, const struct reached *what, const struct grantee *owner)
{
	const struct target *t = attachments_target(&access->attachments, what);
	const struct attachment *at = t ? t->attachments : NULL;

	while (at && (at->key.grantee == owner || !is_stuck(at)))
		at = at->next;
	return at != NULL;
}

bool access_has(
	const struct access *access, const struct reached *what, const struct grantee *grantee)
{
	return attachments_find(&access->attachments, grantee, what) != NULL;
}

bool access_is_stuck(
	const struct access *access, const struct reached *what, const struct grantee *grantee)
{
	const struct attachment *at = attachments_find(&access->attachments, grantee, what);

	return at && is_stuck(at);
}

unsigned access_count_others(
	const struct access *access, const struct allocation *a, const struct grantee *owner)
{
	const struct reached all = { .allocation = a, .bytes = a->bytes };

	return reach_of(access, a)->nattachments - access_has(access, &all, owner);
}

void access_invalidated(struct grant *g)
{
	struct connection *c = g->connection;

	g->bound = false;
	c->invalidating--;
	if (g->access->ending)
		work_wake(g->access->work); /* one of them may have waited for this room */
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
	struct target *target = g->attachment ? g->attachment->target : NULL;
	const struct allocation *a = g->allocation;
	struct connection *c = g->connection;
	struct access *access = g->access;
	bool was_given = g->end == GRANT_GIVEN;

	leave_queue(access, g);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a list with a member has a head */
	DL_DELETE(c->grants, g);
	if (target) {
		DL_DELETE2(*grants_of(access, a), g, of_prev, of_next);
		DL_DELETE2(g->attachment->grants, g, at_prev, at_next);
		c->grantee->nwindows--;
		if (attachments_drop_if_empty(&access->attachments, g->attachment))
			reach_of(access, a)->nattachments--;
	}
	grant_free(g);
	if (a && !was_given && c->grantee)
		wait_finish(&c->grantee->grant_ended, 0);
	if (target) {
		wait_finish(&target->others, 0);
		attachments_forget_if_unused(&access->attachments, target);
	}
	if (a && a->state == ALLOCATION_REVOKING && !*grants_of(access, a))
		finish(access, a);
}

/*
 * While the end of the owner's own access is not confirmed, nobody else may have the block. Where the end of another
 * session's access is not confirmed, the owner keeps the block, and nobody has it after the owner.
 */
void access_mark_stuck(struct grant *g)
{
	struct access *access = g->access;
	const struct allocation *a = g->allocation;
	struct grantee *grantee = g->connection->grantee;

	leave_queue(access, g);
	g->end = GRANT_STUCK;
	if (a->state == ALLOCATION_LIVE && a->session == grantee->slot) {
		ledger_set_state(access->pool->ledger, a, ALLOCATION_REVOKING);
		access->nrevoking++;
	}
	if (a->state == ALLOCATION_REVOKING)
		give_up(access, a);
	wait_finish(&g->attachment->target->others, -EIO);
	wait_finish(&grantee->grant_ended, 0);
}

int access_open(struct access *access, struct pool *pool, const struct work *work)
{
	*access = (struct access){ .pool = pool, .work = work };
	access->reach = calloc(ledger_max(pool->ledger), sizeof(*access->reach));
	return access->reach ? 0 : -ENOMEM;
}

void access_close(struct access *access)
{
	attachments_close(&access->attachments);
	free(access->reach);
	access->reach = NULL;
}
