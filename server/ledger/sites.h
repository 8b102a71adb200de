/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Call sites, interned: the same stack (build ids and offsets) is one record, whichever process sent
 * it. Names come later, once per site. A site stays as long as somebody holds it (server/ledger/site_holders.h), so a
 * report is complete when the process and its binary are gone. One that nobody holds stays too, for the next
 * process of that program, until its slot is wanted: for that, it need not be asked for again.
 *
 * Who may bring a new one: a session for which its share (site_holder_share()) of those that are held is less than a quarter of
 * what is free. So a few sessions that bring as many as they can leave room for others: eight leave 16 % of the table.
 *
 * Pure but for its file; one thread writes.
 */
#ifndef RMEM_SERVER_LEDGER_SITES_H
#define RMEM_SERVER_LEDGER_SITES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"
#include "server/ledger/site_holders.h"

#define SITES_FORMAT 2 /* the version of what is stored */
#define SITES_KEPT_MAX \
	(SITES_MAX / 2) /* from so many on, one that nobody holds makes room for a new one */

struct site_record {
	uint32_t state; /* 0: free; 1: frames known; 2: names known too. Written last */
	uint64_t hash;  /* of the frames; what record ids are made from: the same on every server */
	struct site_request frames;
	struct site_names_request names;
};

struct sites;

/*
 * What a former process left behind is indexed again. A record that cannot be right (counts or module
 * indexes out of range, a hash that is not that of its frames, a text without an end, frames that are
 * there twice) is left out and counted; its slot is not used again. The ledger of the same directory says which sites
 * its records name; it has to stay. A number that it names and that is not here stays nobody's. ERRORS: as
 * table_open(), -ENOMEM.
 */
int sites_open(struct sites **out, int dir, const char *name, const struct ledger *ledger);
void sites_close(struct sites *s); /* NULL is fine */
uint32_t sites_rejected(const struct sites *s);

/*
 * The site of these frames, known or new, for a session that holds it from now on. Two stacks are the same if all
 * offsets are and all modules have the same build id (or, where there is none, path); how the modules are numbered does
 * not matter. -EINVAL: no frames, or a frame names a module that is not there. -EDQUOT: the session holds all that one may.
 * -ENOSPC: too few are free for a session that holds as much; or none. -EPERM: it gave up its sites. -ENOMEM. (The caller uses site 0.)
 */
int sites_intern(struct sites *s, struct site_holder *holder, const struct site_request *frames,
	uint32_t *out_site);

/* Is that a site that this session holds? What else it says is no number of its own. */
bool sites_knows(const struct sites *s, const struct site_holder *holder, uint32_t site);

/* This session was there before the start. Before the first sites_intern(). */
void sites_recover_holder(struct sites *s, struct site_holder *holder);

/* The session is over: its client uses no number any more. Again is fine. */
void sites_release(struct sites *s, struct site_holder *holder);

/*
 * The session is most likely over, and gives up what it holds. Should it come back, all its numbers are unknown, and it is
 * told no others: its client may still use the old ones.
 */
void sites_give_up(struct sites *s, struct site_holder *holder);
bool sites_are_held(const struct site_holder *holder); /* has it anything to give up? */

/* Names for the frames of a site that the session holds; the first ones stay (0). -ENOENT it does not, -EINVAL wrong number. */
int sites_set_names(
	struct sites *s, const struct site_holder *holder, const struct site_names_request *names);

/* Does that site have names? */
bool sites_named(const struct sites *s, uint32_t site);

/* NULL for 0 and for what does not exist. Valid until the next sites_intern(), unless somebody holds it. */
const struct site_record *sites_get(const struct sites *s, uint32_t site);

uint32_t sites_count(const struct sites *s);

#endif
