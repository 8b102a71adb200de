/* SPDX-License-Identifier: BSD-3-Clause */
/* Which segments and nodes a pool has, and how a segment becomes one of them, or no longer is. */
#include "server/memory/pool.h"

#include <errno.h>
#include <string.h>

#include "server/memory/proof.h"

struct pool_node *pool_find_node(struct pool *p, unsigned node)
{
	for (unsigned i = 0; i < p->nnodes; i++) {
		if (p->nodes[i].node == node)
			return &p->nodes[i];
	}
	return NULL;
}

struct segment *pool_find_segment(const struct pool *p, uint64_t addr)
{
	const unsigned number = addr_segment(addr);

	return number < SEGMENTS_MAX ? p->segments[number] : NULL;
}

struct segment *pool_next_segment(const struct pool *p, unsigned *cursor)
{
	while (*cursor < SEGMENTS_MAX) {
		struct segment *s = p->segments[(*cursor)++];

		if (s)
			return s;
	}
	return NULL;
}

/* The first segment of a node gets the node's number, as in pools from before there were others. 0: none is left. */
static int choose_number(const struct pool *p, unsigned node, unsigned *out)
{
	unsigned number = node;

	if (p->segments[node] || proof_is_known(&p->proofs, node))
		number = ADDR_MAX_NODES;
	while (number < SEGMENTS_MAX && (p->segments[number] || proof_is_known(&p->proofs, number)))
		number++;
	*out = number;
	return number < SEGMENTS_MAX ? 0 : -ENOSPC;
}

int pool_make_segment(
	struct pool *p, struct arena_config *config, struct segment **out, struct errinfo *errinfo)
{
	int err = choose_number(p, config->node, &config->segment);

	if (err)
		return errinfo_set(errinfo, err,
			"the pool has %u segments already: start rmemd again when nobody holds "
			"anything, with all the memory in one",
			SEGMENTS_MAX);
	/* Announced first: a file that is not announced has been put there by somebody else. */
	proof_announce(&p->proofs, config->segment, config->bytes);
	config->pool = p->id;
	err = segment_open(out, config, errinfo);
	if (err)
		proof_drop(&p->proofs, config->segment);
	return err;
}

static int add_node(
	struct pool *p, unsigned node, const struct topology *topology, struct errinfo *errinfo)
{
	struct pool_node *n = &p->nodes[p->nnodes];
	int err;

	if (pool_find_node(p, node))
		return 0;
	*n = (struct pool_node){ .node = node };
	err = pool_open_wiper(p, n, topology, errinfo);
	if (!err)
		p->nnodes++;
	return err;
}

int pool_add_segment(
	struct pool *p, struct segment *s, const struct topology *topology, struct errinfo *errinfo)
{
	int err = add_node(p, s->node, topology, errinfo);

	if (!err)
		p->segments[s->number] = s;
	return err;
}

int pool_prove_segment(struct pool *p, const struct segment *s)
{
	const struct proof_subject of = { s->arena.fd, ledger_inode(p->ledger), p->run };

	return proof_give(&p->proofs, s->number, &of);
}

/* The proof goes first: a proof without an arena means that the arena was lost. */
void pool_drop_segment(struct pool *p, const struct datadir *data, unsigned number, unsigned node)
{
	p->segments[number] = NULL;
	proof_drop(&p->proofs, number);
	(void)arena_remove(data->arenas, number, node, p->id);
}
