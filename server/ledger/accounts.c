/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/accounts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int accounts_create(struct accounts *acc)
{
	memset(acc, 0, sizeof(*acc));
	acc->holders = calloc(SESSIONS_MAX, sizeof(*acc->holders));
	return acc->holders ? 0 : -ENOMEM;
}

void accounts_destroy(struct accounts *acc)
{
	free(acc->holders);
	for (unsigned node = 0; node < ADDR_MAX_NODES; node++)
		free(acc->live[node]);
	memset(acc, 0, sizeof(*acc));
}

int accounts_prepare(struct accounts *acc, unsigned node)
{
	if (!acc->live[node])
		acc->live[node] = calloc(SESSIONS_MAX, sizeof(*acc->live[node]));
	return acc->live[node] ? 0 : -ENOMEM;
}

static struct ledger_share *live_of(const struct accounts *acc, unsigned node, uint32_t session)
{
	return &acc->live[node][session];
}

struct ledger_share accounts_live(const struct accounts *acc, uint32_t session, unsigned node)
{
	return acc->live[node] ? *live_of(acc, node, session)
			       : (struct ledger_share){ .blocks = 0 };
}

void ledger_share_add(struct ledger_share *share, const struct allocation *a)
{
	share->blocks++;
	share->bytes += a->bytes;
	share->block_bytes += allocation_block_bytes(a);
	share->slabs += a->size_class != 0;
}

static void subtract(struct ledger_share *share, const struct allocation *a)
{
	share->blocks--;
	share->bytes -= a->bytes;
	share->block_bytes -= allocation_block_bytes(a);
	share->slabs -= a->size_class != 0;
}

static enum ledger_class class_of(const struct account_holder *h, const struct allocation *a)
{
	switch (a->state) {
	case ALLOCATION_ZOMBIE:
		return CLASS_ZOMBIE;
	case ALLOCATION_REVOKING:
	case ALLOCATION_QUARANTINE:
		return CLASS_QUARANTINE;
	default:
		return h->connected && h->serial == a->session_serial ? CLASS_LIVE : CLASS_COURTESY;
	}
}

void accounts_add(struct accounts *acc, const struct allocation *a)
{
	const unsigned node = allocation_node(a);
	struct account_holder *h = &acc->holders[a->session];

	if (h->own.blocks == 0 && h->strays == 0 && !h->connected)
		h->serial = a->session_serial;
	acc->nodes_used |= 1ULL << node;
	ledger_share_add(&acc->nodes[node].classes[class_of(h, a)], a);
	if (h->serial != a->session_serial) {
		h->strays++;
		return;
	}
	ledger_share_add(&h->own, a);
	if (a->state == ALLOCATION_LIVE)
		ledger_share_add(live_of(acc, node, a->session), a);
}

void accounts_remove(struct accounts *acc, const struct allocation *a)
{
	const unsigned node = allocation_node(a);
	struct account_holder *h = &acc->holders[a->session];

	subtract(&acc->nodes[node].classes[class_of(h, a)], a);
	if (h->serial != a->session_serial) {
		h->strays--;
		return;
	}
	subtract(&h->own, a);
	if (a->state == ALLOCATION_LIVE)
		subtract(live_of(acc, node, a->session), a);
}

bool accounts_must_recount(const struct accounts *acc, uint32_t session, uint64_t serial)
{
	const struct account_holder *h = &acc->holders[session];

	return serial != 0 && serial != h->serial && (h->own.blocks != 0 || h->strays != 0);
}

static void move(
	struct ledger_share *from, struct ledger_share *to, const struct ledger_share *what)
{
	from->blocks -= what->blocks;
	from->bytes -= what->bytes;
	from->block_bytes -= what->block_bytes;
	from->slabs -= what->slabs;
	to->blocks += what->blocks;
	to->bytes += what->bytes;
	to->block_bytes += what->block_bytes;
	to->slabs += what->slabs;
}

void accounts_connect(struct accounts *acc, uint32_t session, uint64_t serial)
{
	const bool connected = serial != 0;
	struct account_holder *h = &acc->holders[session];

	if (connected)
		h->serial = serial;
	if (connected == h->connected)
		return;
	h->connected = connected;
	for (uint64_t nodes = acc->nodes_used; nodes; nodes &= nodes - 1) {
		const unsigned node = (unsigned)__builtin_ctzll(nodes);
		struct ledger_share *classes = acc->nodes[node].classes;

		move(&classes[connected ? CLASS_COURTESY : CLASS_LIVE],
			&classes[connected ? CLASS_LIVE : CLASS_COURTESY],
			live_of(acc, node, session));
	}
}
