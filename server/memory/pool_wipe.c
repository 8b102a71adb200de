/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks in QUARANTINE: a list per node of those that wait, and a thread per node that wipes (wiper.h). A block is free only
 * when the event loop has taken it back from the thread. A process that ends before that leaves the block in QUARANTINE,
 * and its successor wipes it again.
 */
#include "server/memory/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/denial.h"

#define FREED_PER_CALL 256 /* some 100 us */

int pool_open_wiping(struct pool *p, struct errinfo *errinfo)
{
	p->wipe_next = calloc(ledger_max(p->ledger), sizeof(*p->wipe_next));
	if (!p->wipe_next)
		return errinfo_set(errinfo, -ENOMEM, "no memory for the list of blocks to wipe");
	p->wiped_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return p->wiped_fd < 0 ? denial_explain(DENIED_FILE, -errno, "an eventfd", errinfo) : 0;
}

int pool_open_wiper(
	struct pool *p, struct pool_node *n, const struct topology *t, struct errinfo *errinfo)
{
	int err = wiper_start(&n->wiper, t, n->node, p->wiped_fd);

	return err ? denial_explain(
			     DENIED_THREAD, err, "no thread can be started to wipe memory", errinfo)
		   : 0;
}

void pool_close_wiping(struct pool *p)
{
	for (unsigned i = 0; i < p->nnodes; i++)
		wiper_stop(p->nodes[i].wiper);
	if (p->wipe_next && p->wiped_fd >= 0)
		close(p->wiped_fd);
	free(p->wipe_next);
}

void pool_quarantine(struct pool *p, const struct allocation *a)
{
	struct pool_node *n = pool_find_node(p, allocation_node(a));
	const uint32_t slot = ledger_slot(p->ledger, a);

	ledger_set_state(p->ledger, a, ALLOCATION_QUARANTINE);
	if (n->nwaiting++)
		p->wipe_next[n->last_waiting] = slot;
	else
		n->first_waiting = slot;
	n->last_waiting = slot;
	p->nquarantined++;
}

/* The whole block: its next allocation may use more of it. */
static bool give_first(struct pool *p, struct pool_node *n)
{
	const struct allocation *a = ledger_at(p->ledger, n->first_waiting);
	const struct wiper_range range = { .addr = pool_pointer(p, a),
		.bytes = allocation_block_bytes(a),
		.slot = n->first_waiting };

	if (!wiper_give(n->wiper, &range))
		return false;
	n->first_waiting = p->wipe_next[n->first_waiting];
	n->nwaiting--;
	return true;
}

static bool wipe_node(struct pool *p, struct pool_node *n)
{
	struct wiper_range range;
	unsigned freed = 0;

	while (freed < FREED_PER_CALL && wiper_take(n->wiper, &range)) {
		p->nquarantined--;
		pool_release(p, ledger_at(p->ledger, range.slot));
		freed++;
	}
	while (n->nwaiting && give_first(p, n))
		;
	return freed == FREED_PER_CALL;
}

bool pool_wipe(struct pool *p)
{
	bool more = false;

	for (unsigned i = 0; i < p->nnodes; i++)
		more |= wipe_node(p, &p->nodes[i]);
	return more;
}

void pool_wipe_all(struct pool *p)
{
	for (pool_wipe(p); p->nquarantined; pool_wipe(p)) {
		for (unsigned i = 0; i < p->nnodes; i++)
			wiper_wait(p->nodes[i].wiper);
	}
}

uint64_t pool_wiped_bytes(const struct pool *p)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < p->nnodes; i++)
		bytes += wiper_bytes(p->nodes[i].wiper);
	return bytes;
}
