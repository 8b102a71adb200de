/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Call sites, interned: equal stacks (build ids and offsets) share one record, from any process. Names arrive later,
 * once per site. A site stays while it has a holder (server/ledger/site_holders.h), so reports stay complete after the
 * process and its binary are gone. A site without holders stays until its slot is needed: the next process of that
 * program need not send its names again.
 *
 * A session may add a site only while its share (site_holder_share()) is less than a quarter of the free slots. So a
 * few greedy sessions leave room for others: eight leave at least 16 % of the table.
 *
 * Pure but for its file; one thread writes.
 */
#ifndef RMEM_SERVER_LEDGER_SITES_H
#define RMEM_SERVER_LEDGER_SITES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"
#include "server/ledger/site_holders.h"
#include "server/ledger/stored_names.h"

#define SITES_FORMAT 3                 /* version of the stored format */
#define SITES_OLDEST 2                 /* that is read too: its names are structs */
#define SITES_KEPT_MAX (SITES_MAX / 2) /* from this count on, replace sites without holders first */

/* Stored: values are never reused. */
enum site_state { SITE_FREE = 0, SITE_FRAMES = 1, SITE_NAMED = 2 /* format 2 */, SITE_PACKED = 3 };

struct site_record {
	uint32_t state; /* enum site_state; stored last */
	uint64_t hash; /* of the frames; reports derive record ids from it; equal on every server */
	struct site_request frames;
	union stored_names names; /* which one, the state says */
};

struct sites;

/*
 * Indexes the records of earlier processes. Invalid records are rejected and counted, and their slots are not used: a
 * count or module index out of range, a hash that does not match the frames, unterminated text, duplicate frames.
 * ledger is the ledger of the same directory and must outlive s. A number that the ledger names but the file lacks is
 * not given to a new site. ERRORS: as table_open(), -ENOMEM.
 */
int sites_open(struct sites **out, int dir, const char *name, const struct ledger *ledger);
void sites_close(struct sites *s); /* NULL is fine */
uint32_t sites_rejected(const struct sites *s);

/*
 * Find or add the site of these frames; the session holds it from now on. Stacks are equal if all offsets and all
 * modules' build ids (paths where there is none) are equal; module numbering does not matter. On an error the caller
 * uses site 0.
 *	-EINVAL		no frames, or invalid modules
 *	-EDQUOT		the session's share reached SESSION_SITES_MAX
 *	-ENOSPC		too few free slots for the session's share, or the file cannot grow
 *	-EPERM		the session gave up its sites
 *	-ENOMEM
 */
int sites_intern(struct sites *s, struct site_holder *holder, const struct site_request *frames,
	uint32_t *out_site);

/* Does this site exist, and does the session hold it? */
bool sites_knows(const struct sites *s, const struct site_holder *holder, uint32_t site);

/* The session is from before the start. Call before the first sites_intern(). */
void sites_recover_holder(struct sites *s, struct site_holder *holder);

/* The session is over: its client uses no site number any more. Idempotent. */
void sites_release(struct sites *s, struct site_holder *holder);

/*
 * The session is most likely over: drop its holds. If it resumes, all its site numbers count as unknown and it gets no
 * new ones, because its client may still use old numbers.
 */
void sites_give_up(struct sites *s, struct site_holder *holder);
bool sites_are_held(const struct site_holder *holder); /* does it hold any site? */

/* Name the frames of a site. The first names stay (0). -ENOENT: not held by the session; -EINVAL: invalid names. */
int sites_set_names(
	struct sites *s, const struct site_holder *holder, const struct site_names_request *names);

/* Does the site have names? */
bool sites_named(const struct sites *s, uint32_t site);

/* The names of its frames, one after the other: start with *cursor = 0. false: no more. */
bool sites_next_name(const struct site_record *r, unsigned *cursor, struct site_name *out);

/* NULL for 0 and unknown numbers. Without a holder, the record is valid until the next sites_intern(). */
const struct site_record *sites_get(const struct sites *s, uint32_t site);

uint32_t sites_high(const struct sites *s); /* above every number in use */
uint32_t sites_count(const struct sites *s);

#endif
