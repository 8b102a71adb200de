/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/grant/teardown.h"

#include <limits.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "server/base/wait.h"
#include "server/base/work.h"
#include "server/grant/access.h"
#include "server/net/connection.h"

#define REVOKE_TRIES 5

/* The device refused in every round: what it may still reach is not used again by this process. */
static void mark_stuck(struct connection *c)
{
	struct grant *g;
	unsigned n = 0;

	DL_FOREACH (c->grants, g) {
		c->grantee->has_stuck_qp = true;
		if (!g->allocation)
			continue;
		access_mark_stuck(g);
		n++;
	}
	log_error("connection from %s: the device does not confirm the revocation of %u blocks: "
		  "they are zombies now and will not be used again before rmemd restarts",
		c->peer, n);
	connection_move(c, &c->net->zombies);
}

/*
 * Revoke the grants that are left, in rounds: a grant that fails is tried again in the next round, which begins at the
 * next tick. True: no grant is left, or those that are have failed in every round.
 */
static bool revoke_some(struct connection *c, unsigned *budget)
{
	while (c->grants && c->grants->revoke_tries < REVOKE_TRIES) {
		struct grant *g = c->grants;
		int err;

		if (!*budget)
			return false;
		if (g->revoke_tries > c->revoke_round) {
			c->revoke_round++;
			c->retry_next_tick = true;
			return false;
		}
		(*budget)--;
		err = grant_revoke(g);
		if (!err) {
			access_ended(g);
			continue;
		}
		g->revoke_tries++;
		if (!c->warned)
			log_warn("connection from %s: a window cannot be revoked, and perhaps "
				 "others: %s",
				c->peer, strerror(-err));
		c->warned = true;
		DL_DELETE(c->grants, g);
		DL_APPEND(c->grants, g);
	}
	return true;
}

/*
 * True: the connection is gone, or among the zombies; its memory may be freed. False: it took what there was of the
 * budget, or the device has refused something and is asked again at the next tick.
 */
static bool teardown(struct connection *c, unsigned *budget)
{
	struct net *net = c->net;

	if (!revoke_some(c, budget))
		return false;
	/* The queue pair counts too: thousands may end at once. */
	if (!*budget)
		return false;
	(*budget)--;
	net->nchannels -= c->purpose == PURPOSE_CHANNEL;
	if (c->grants) {
		mark_stuck(c);
		wait_finish(&c->gone, 0);
		return true;
	}
	DL_DELETE(net->dying, c);
	connection_close(c);
	wait_finish(&c->gone, 0);
	connection_free(c);
	return true;
}

bool teardown_some(struct net *net, unsigned *budget)
{
	struct connection *c = net->dying;

	while (c && *budget) {
		struct connection *next = c->next;

		if (!c->retry_next_tick)
			teardown(c, budget);
		c = next;
	}
	return c || !*budget;
}

void teardown_retry(struct net *net)
{
	struct connection *c;

	DL_FOREACH (net->dying, c)
		c->retry_next_tick = false;
	if (net->dying)
		work_wake(net->work);
}

void teardown_all(struct net *net)
{
	unsigned all;

	while (net->dying) {
		do
			all = UINT_MAX;
		while (!teardown(net->dying, &all));
	}
}
