/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/sizes.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "numa/topology.h"
#include "server/memory/facts.h"

/* A --size that is being read. */
struct parser {
	const struct topology *topology;
	uint64_t page_bytes;
	struct sizes sizes;
	uint64_t numbered; /* a bit per node that was named by its number */
	struct errinfo *errinfo;
};

uint64_t sizes_total(const struct sizes *s)
{
	uint64_t total = 0;

	for (size_t i = 0; i < s->count; i++)
		total += s->nodes[i].bytes; /* 64 nodes of 4 TiB fit */
	return total;
}

size_t sizes_usable_nodes(const struct topology *t)
{
	size_t n = 0;

	while (n < topology_count(t) && topology_at(t, n)->node < ADDR_MAX_NODES)
		n++;
	return n;
}

int sizes_no_such_node(const struct topology *t, unsigned long node, struct errinfo *errinfo)
{
	char list[160] = "";
	size_t used = 0;

	for (size_t i = 0; i < sizes_usable_nodes(t) && used < sizeof(list) - 16; i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%u", i ? ", " : "",
			topology_at(t, i)->node);
	return errinfo_set(errinfo, -ENODEV,
		"there is no NUMA node %lu with memory here; there is: %s", node, list);
}

/* The node's entry, which is made if need be. */
static struct sizes_node *entry_of(struct sizes *s, unsigned node)
{
	size_t i = 0;

	while (i < s->count && s->nodes[i].node != node)
		i++;
	if (i == s->count)
		s->nodes[s->count++] = (struct sizes_node){ .node = node };
	return &s->nodes[i];
}

static int add_size(struct parser *p, unsigned node, uint64_t bytes)
{
	struct sizes_node *n = entry_of(&p->sizes, node);
	char text[UNITS_TEXT_SIZE];

	bytes -= bytes % p->page_bytes;
	if (bytes == 0)
		return errinfo_set(p->errinfo, -EINVAL,
			"--size: node %u would lend less than one page of %s", node,
			units_format_bytes(p->page_bytes, text, sizeof(text)));
	if (bytes > SIZES_NODE_MAX_BYTES - n->bytes)
		return errinfo_set(p->errinfo, -EFBIG, "--size: a node can lend at most %s",
			units_format_bytes(SIZES_NODE_MAX_BYTES, text, sizeof(text)));
	n->bytes += bytes;
	return 0;
}

static int bad_size(const char *text, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EINVAL,
		"--size %.64s: wanted a size such as 4G, sizes by node such as 0:4G,1:2G, or by "
		"what "
		"memory is good for, such as capacity:64G,bandwidth:8G",
		text);
}

/* Evenly over the nodes of a mask, which has some. */
static int spread(struct parser *p, uint64_t nodes, uint64_t bytes)
{
	const unsigned n = (unsigned)__builtin_popcountll(nodes);
	int err = 0;

	for (; nodes && !err; nodes &= nodes - 1)
		err = add_size(p, (unsigned)__builtin_ctzll(nodes), bytes / n);
	return err;
}

static int parse_even(struct parser *p, const char *text)
{
	uint64_t bytes, nodes = 0;

	if (units_parse_bytes(text, &bytes) != 0)
		return bad_size(text, p->errinfo);
	for (size_t i = 0; i < sizes_usable_nodes(p->topology); i++)
		nodes |= 1ULL << topology_at(p->topology, i)->node;
	return nodes ? spread(p, nodes, bytes) : sizes_no_such_node(p->topology, 0, p->errinfo);
}

static int parse_node(struct parser *p, const char *name, uint64_t bytes)
{
	char *end;
	const unsigned long node =
		strtoul(name, &end, 10); /* overflow: ULONG_MAX, an invalid node */

	if (*end)
		return bad_size(name, p->errinfo);
	if (node >= ADDR_MAX_NODES || !topology_find(p->topology, (unsigned)node))
		return sizes_no_such_node(p->topology, node, p->errinfo);
	if (p->numbered & 1ULL << node)
		return errinfo_set(p->errinfo, -EINVAL, "--size names node %lu twice", node);
	p->numbered |= 1ULL << node;
	return add_size(p, (unsigned)node, bytes);
}

static int parse_attribute(struct parser *p, const char *name, uint64_t bytes)
{
	struct ranking_node nodes[ADDR_MAX_NODES];
	const unsigned n = facts_of_all(p->topology, nodes);
	unsigned attribute = PLACEMENT_CAPACITY;
	uint64_t best;

	while (attribute < PLACEMENT_ATTRIBUTES &&
		strcmp(name, ranking_attribute_name(attribute)) != 0)
		attribute++;
	if (attribute == PLACEMENT_ATTRIBUTES)
		return bad_size(name, p->errinfo);
	best = ranking_best(nodes, n, attribute);
	if (!best)
		return errinfo_set(p->errinfo, -ENODEV,
			"--size: the %s of memory is not known here (the firmware has no such "
			"table, "
			"ACPI's HMAT): name nodes, such as 0:4G",
			name);
	return spread(p, best, bytes);
}

/* One "NODE:SIZE" or "ATTRIBUTE:SIZE" of n characters. */
static int parse_item(struct parser *p, const char *item, size_t n)
{
	char copy[40], *colon;
	uint64_t bytes;

	if (n >= sizeof(copy))
		return bad_size(item, p->errinfo);
	memcpy(copy, item, n);
	copy[n] = '\0';
	colon = strchr(copy, ':');
	if (!colon || units_parse_bytes(colon + 1, &bytes) != 0)
		return bad_size(item, p->errinfo);
	*colon = '\0';
	return isdigit((unsigned char)copy[0]) ? parse_node(p, copy, bytes)
					       : parse_attribute(p, copy, bytes);
}

static int parse_list(struct parser *p, const char *text)
{
	for (const char *item = text;;) {
		const size_t n = strcspn(item, ",");
		const int err = parse_item(p, item, n);

		if (err || item[n] == '\0')
			return err;
		item += n + 1;
	}
}

static int compare_nodes(const void *a, const void *b)
{
	const struct sizes_node *x = a, *y = b;

	return (x->node > y->node) - (x->node < y->node);
}

int sizes_parse(const char *text, const struct topology *t, uint64_t page_bytes, struct sizes *out,
	struct errinfo *errinfo)
{
	struct parser p = { .topology = t, .page_bytes = page_bytes, .errinfo = errinfo };
	const int err = strchr(text, ':') ? parse_list(&p, text) : parse_even(&p, text);

	if (err)
		return err;
	qsort(p.sizes.nodes, p.sizes.count, sizeof(p.sizes.nodes[0]), compare_nodes);
	*out = p.sizes;
	return 0;
}
