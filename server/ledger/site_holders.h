/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may still use the number of a call site: the records of the ledger; the sessions that were told it, whose clients
 * keep it for the session's life; and the sessions from before a restart, of which nobody knows any more what they
 * were told: they hold every site that was there at the start. A number that somebody holds is never given to another site.
 *
 * Pure; one thread. Nothing of it is stored.
 */
#ifndef RMEM_SERVER_LEDGER_SITE_HOLDERS_H
#define RMEM_SERVER_LEDGER_SITE_HOLDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/bitset.h"
#include "server/ledger/allocation.h"

#define SITE_WHOLE (1U << 16)     /* a site's share for a session, if no other was told the site */
#define SESSION_SITES_MAX 2048ULL /* shares of one session, in sites */

struct ledger;

/* What one session was told. Zeroed: nothing. */
struct site_holder {
	struct bitset told; /* no memory before the first */
	bool from_before;   /* it was there when rmemd started */
	bool over;          /* it gave up all, and is told nothing any more */
};

struct site_holders {
	const struct ledger *ledger;
	uint32_t *sessions;   /* by site: how many were told */
	struct bitset before; /* the sites that were there at the start */
	uint32_t from_before; /* sessions */
};

/* The ledger has to stay. -ENOMEM. */
int site_holders_create(struct site_holders *h, const struct ledger *ledger);
void site_holders_destroy(struct site_holders *h); /* of a zeroed struct is fine */

/* At the start: that site is there, and this session, of which nothing is known. */
void site_holders_found(struct site_holders *h, uint32_t site);
void site_holder_recover(struct site_holders *h, struct site_holder *holder);

/* Does anybody hold that site? */
bool site_holders_any(const struct site_holders *h, uint32_t site);

/* The session is told that site. -ENOMEM. */
int site_holder_tell(struct site_holders *h, struct site_holder *holder, uint32_t site);

/* May it have been told? false for what is no site. */
bool site_holder_knows(
	const struct site_holders *h, const struct site_holder *holder, uint32_t site);

/* Its client uses none of them any more. Leaves it zeroed but for over. */
void site_holder_release(struct site_holders *h, struct site_holder *holder);

/* What it holds: of each site that it was told, SITE_WHOLE divided by the number of sessions that were. */
uint64_t site_holder_share(const struct site_holders *h, const struct site_holder *holder);

#endif
