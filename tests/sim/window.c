/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/grant/grant.h"
#include "server/net/connection.h"
#include "tests/sim/chance.h"
#include "tests/sim/host.h"
#include "tests/sim/link.h"
#include "tests/sim/model.h"
#include "tests/sim/trace.h"

#define WINDOWS_MAX 2048
#define GIVEN_UP_AFTER 5 /* tries */

static struct window windows[WINDOWS_MAX];
static unsigned used; /* none beyond exists */
static struct window_faults faults;

static struct window *of(const struct grant *g)
{
	return (struct window *)g->window;
}

void windows_begin(const struct window_faults *f)
{
	faults = *f;
	windows_server_died();
}

void windows_server_died(void)
{
	memset(windows, 0, used * sizeof(windows[0]));
	used = 0;
}

struct window *window_next(struct window *after)
{
	struct window *w = after ? after + 1 : windows;

	while (w < windows + used && !w->exists)
		w++;
	return w < windows + used ? w : NULL;
}

static struct window *make(bool region)
{
	struct window *w = windows;

	while (w < windows + WINDOWS_MAX && w->exists)
		w++;
	trace_require(w < windows + WINDOWS_MAX, "too many windows");
	used = w >= windows + used ? (unsigned)(w - windows) + 1 : used;
	memset(w, 0, sizeof(*w));
	w->exists = true;
	w->region = region;
	w->stuck = chance_in(faults.stuck);
	w->region_refuses = region && chance_in(faults.stuck);
	w->mw.rkey = (uint32_t)(w - windows) << 8;
	return w;
}

int grant_create(struct ibv_pd *pd, const struct extent *e, struct ibv_mr *chunk,
	struct ibv_mw *spare, struct grant **out)
{
	struct window *w = (struct window *)spare;
	struct grant *g;

	(void)pd;
	if (chance_in(faults.create))
		return -ENOMEM;
	g = calloc(1, sizeof(*g));
	w = w ? w : make(!chunk);
	trace_require(!w->bound, "a window that is still bound is used again");
	w->memory = e->memory;
	w->addr = e->addr;
	w->bytes = e->bytes;
	g->own_region = chunk ? NULL : &w->mr;
	g->window = &w->mw;
	g->rkey = (w->mw.rkey & ~0xffU) | ((w->mw.rkey + 1) & 0xff);
	*out = g;
	return 0;
}

void grant_bind_request(
	const struct grant *g, const struct extent *e, struct ibv_mr *chunk, struct ibv_send_wr *wr)
{
	memset(wr, 0, sizeof(*wr));
	wr->opcode = IBV_WR_BIND_MW;
	wr->bind_mw.mw = g->window;
	wr->bind_mw.rkey = g->rkey;
	wr->bind_mw.bind_info.mr = chunk ? chunk : g->own_region;
	wr->bind_mw.bind_info.addr = e->addr;
	wr->bind_mw.bind_info.length = e->bytes;
	of(g)->access = e->access;
	of(g)->serial = g->allocation ? g->allocation->serial : 0;
	of(g)->link = (struct link *)g->connection->id;
}

void window_bound(struct ibv_send_wr *bind, struct link *link)
{
	struct window *w = (struct window *)bind->bind_mw.mw;

	trace_require(bind->opcode == IBV_WR_BIND_MW && w && w->exists && !w->bound &&
			      w->link == link && bind->bind_mw.bind_info.addr == w->addr &&
			      bind->bind_mw.bind_info.length == w->bytes,
		"a bind that the device would refuse");
	w->bound = true;
}

void grant_posted(struct grant *g)
{
	g->window->rkey = g->rkey;
	g->bound = true;
}

void grant_invalidate_request(const struct grant *g, struct ibv_send_wr *wr)
{
	memset(wr, 0, sizeof(*wr));
	wr->opcode = IBV_WR_LOCAL_INV;
	wr->invalidate_rkey = g->rkey;
}

void window_invalidated(struct grant *g)
{
	of(g)->bound = false;
}

/* The device's answer to one that is to be destroyed. */
static bool refuses(struct window *w, bool for_ever)
{
	bool no = for_ever || chance_in(faults.destroy);
	struct block *b = w->serial ? model_block(w->serial) : NULL;

	w->refused += no;
	if (b && w->refused >= GIVEN_UP_AFTER && w->link->owner == b->owner)
		b->stuck = true;
	return no;
}

int grant_revoke(struct grant *g)
{
	struct window *w =
		g->own_region
			? (struct window *)((char *)g->own_region - offsetof(struct window, mr))
			: of(g);

	host_place();
	if (g->window) {
		if (refuses(w, w->stuck))
			return -EBUSY;
		g->window = NULL;
		g->bound = false;
		if (!w->region)
			w->exists = w->bound = false;
	}
	if (g->own_region) {
		if (refuses(w, w->region_refuses))
			return -EBUSY;
		g->own_region = NULL;
		w->exists = w->bound = false;
	}
	return 0;
}

void grant_free(struct grant *g)
{
	free(g);
}

void window_destroy_spare(struct ibv_mw *mw)
{
	struct window *w = (struct window *)mw;

	trace_require(!w->bound, "a bound window is given back as one that is not");
	w->exists = false;
}
