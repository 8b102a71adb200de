/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Call sites, interned: the same stack (build ids and offsets) is one record, whichever process sent
 * it. Names come later, once per site. Sites are never forgotten, so a report is complete when the
 * process and its binary are gone; their number is bounded.
 *
 * Pure but for its file; one thread writes.
 */
#ifndef RMEM_SERVER_LEDGER_SITES_H
#define RMEM_SERVER_LEDGER_SITES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"

#define SITES_FORMAT 2  /* the version of what is stored */
#define SITES_MAX 16384 /* slots; slot 0 stands for "unknown" and stays empty */

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
 * there twice) is left out and counted; its slot is not used again. ERRORS: as table_open(), -ENOMEM.
 */
int sites_open(struct sites **out, int dir, const char *name);
void sites_close(struct sites *s); /* NULL is fine */
uint32_t sites_rejected(const struct sites *s);

/*
 * The site of these frames, known or new. Two stacks are the same if all offsets are and all modules
 * have the same build id (or, where there is none, path); how the modules are numbered does not
 * matter. -EINVAL: no frames, or a frame names a module that is not there. -ENOSPC: table full (the
 * caller uses site 0).
 */
int sites_intern(struct sites *s, const struct site_request *frames, uint32_t *out_site);

/* The site of these frames if it is known: 0, -EINVAL as above, or -ENOENT. */
int sites_lookup(const struct sites *s, const struct site_request *frames, uint32_t *out_site);

/* Names for a site's frames; the first ones stay (0). -ENOENT no such site, -EINVAL wrong number. */
int sites_set_names(struct sites *s, const struct site_names_request *names);

/* Does that site have names? */
bool sites_named(const struct sites *s, uint32_t site);

/* NULL for 0 and for what does not exist. */
const struct site_record *sites_get(const struct sites *s, uint32_t site);

uint32_t sites_count(const struct sites *s);

#endif
