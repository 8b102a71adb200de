/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/site_holders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/ledger/ledger.h"

int site_holders_create(struct site_holders *h, const struct ledger *ledger)
{
	memset(h, 0, sizeof(*h));
	h->ledger = ledger;
	h->sessions = calloc(SITES_MAX, sizeof(*h->sessions));
	if (h->sessions && bitset_create(&h->before, SITES_MAX) == 0)
		return 0;
	site_holders_destroy(h);
	return -ENOMEM;
}

void site_holders_destroy(struct site_holders *h)
{
	bitset_destroy(&h->before);
	free(h->sessions);
	memset(h, 0, sizeof(*h));
}

void site_holders_found(struct site_holders *h, uint32_t site)
{
	bitset_set(&h->before, site);
}

void site_holder_recover(struct site_holders *h, struct site_holder *holder)
{
	holder->from_before = true;
	h->from_before++;
}

bool site_holders_any(const struct site_holders *h, uint32_t site)
{
	return h->sessions[site] || ledger_site_count(h->ledger, site) ||
	       (h->from_before && bitset_test(&h->before, site));
}

int site_holder_tell(struct site_holders *h, struct site_holder *holder, uint32_t site)
{
	if (holder->told.levels == 0) {
		int err = bitset_create(&holder->told, SITES_MAX);

		if (err)
			return err;
	}
	if (!bitset_test(&holder->told, site))
		h->sessions[site]++;
	bitset_set(&holder->told, site);
	return 0;
}

bool site_holder_knows(
	const struct site_holders *h, const struct site_holder *holder, uint32_t site)
{
	return bitset_test(&holder->told, site) ||
	       (holder->from_before && bitset_test(&h->before, site));
}

/* BITSET_NONE at the end. */
static uint64_t next_told(const struct site_holder *holder, uint64_t from)
{
	return bitset_next(&holder->told, from);
}

void site_holder_release(struct site_holders *h, struct site_holder *holder)
{
	for (uint64_t i = next_told(holder, 0); i != BITSET_NONE; i = next_told(holder, i + 1))
		h->sessions[i]--;
	bitset_destroy(&holder->told);
	h->from_before -= holder->from_before;
	holder->from_before = false;
}

uint64_t site_holder_share(const struct site_holders *h, const struct site_holder *holder)
{
	uint64_t share = 0;

	for (uint64_t i = next_told(holder, 0); i != BITSET_NONE; i = next_told(holder, i + 1))
		share += SITE_WHOLE / h->sessions[i];
	return share;
}
