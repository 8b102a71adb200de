/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tracks the holders of call site numbers. A number with a holder is never given to another site. Holders are:
 *	- ledger records that name the number
 *	- sessions that were told the number: the client keeps it for the session's life
 *	- sessions from before a restart: they may know any site that existed at the start, so they hold all of these
 *
 * Pure; one thread. Not stored.
 */
#ifndef RMEM_SERVER_LEDGER_SITE_HOLDERS_H
#define RMEM_SERVER_LEDGER_SITE_HOLDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/bitset.h"
#include "server/ledger/allocation.h"

#define SITE_WHOLE (1U << 16)     /* a session's share of a site that no other session was told */
#define SESSION_SITES_MAX 2048ULL /* limit on a session's total share, in sites */

struct ledger;

/* The sites that one session holds. Zeroed: none. */
struct site_holder {
	struct bitset told; /* allocated with the first site */
	bool from_before;   /* the session is from before the start */
	bool over;          /* gave up all sites; sites_intern() refuses it */
};

struct site_holders {
	const struct ledger *ledger;
	uint32_t *sessions;   /* by site: number of sessions that were told it */
	struct bitset before; /* sites that existed at the start */
	uint32_t from_before; /* number of sessions from before the start */
};

/* ledger must outlive h. -ENOMEM. */
int site_holders_create(struct site_holders *h, const struct ledger *ledger);
void site_holders_destroy(struct site_holders *h); /* of a zeroed struct is fine */

/* At the start: register an existing site; register a session from before the start. */
void site_holders_found(struct site_holders *h, uint32_t site);
void site_holder_recover(struct site_holders *h, struct site_holder *holder);

/* Does the site have a holder? */
bool site_holders_any(const struct site_holders *h, uint32_t site);

/* The session now holds the site. -ENOMEM. */
int site_holder_tell(struct site_holders *h, struct site_holder *holder, uint32_t site);

/* May the session have been told this number? false for an invalid number. */
bool site_holder_knows(
	const struct site_holders *h, const struct site_holder *holder, uint32_t site);

/* The client uses none of its sites any more. Zeroes all of holder but over. */
void site_holder_release(struct site_holders *h, struct site_holder *holder);

/* Sum over the session's sites: SITE_WHOLE / number of sessions that were told the site. */
uint64_t site_holder_share(const struct site_holders *h, const struct site_holder *holder);

#endif
