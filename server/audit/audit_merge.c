/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/audit_merge.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/clock.h"
#include "server/ledger/slotmap.h"

#define CELLS_MIN 64
#define CACHE_LINE 64

/* Its last member, then, is touched only once. */
struct cell {
	enum audit_kind kind;
	uint32_t site;
	bool corrupt;
	uint64_t birth_min_ns, birth_max_ns;
	uint64_t age_sum_ms;
	uint64_t nodes;
	uint64_t unconfirmed;
	uint64_t slab_addr; /* the lowest; UINT64_MAX: none */
	uint64_t last_slab; /* the last that was counted; 0: none */
	struct audit_holder share;
};

struct audit_cells {
	struct cell *cells;
	size_t count, room;
	uint32_t *buckets; /* open addressing: index + 1, 0 is empty; 2 * room buckets */
};

/* Those with corrupt records are seldom: they need no hash of their own. */
static uint32_t hash_cell(enum audit_kind kind, uint32_t site, uint64_t serial)
{
	return slotmap_hash(serial * AUDIT_KINDS + (uint64_t)kind) ^ slotmap_hash(site);
}

static uint32_t hash_member(const struct audit_member *m)
{
	return hash_cell(m->kind, m->site, m->session_serial);
}

int audit_cells_create(struct audit_cells **out)
{
	struct audit_cells *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->room = CELLS_MIN;
	c->cells = calloc(c->room, sizeof(*c->cells));
	c->buckets = calloc(2 * c->room, sizeof(*c->buckets));
	if (!c->cells || !c->buckets) {
		audit_cells_destroy(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void audit_cells_destroy(struct audit_cells *c)
{
	if (!c)
		return;
	free(c->cells);
	free(c->buckets);
	free(c);
}

/* What makes a cell. */
struct key {
	enum audit_kind kind;
	uint32_t site;
	bool corrupt;
	uint32_t session;
	uint64_t serial;
};

static uint32_t *probe(const struct audit_cells *c, const struct key *key)
{
	const size_t mask = 2 * c->room - 1;
	size_t at = hash_cell(key->kind, key->site, key->serial) & mask;

	for (;; at = (at + 1) & mask) {
		const struct cell *cell;

		if (c->buckets[at] == 0)
			return &c->buckets[at];
		cell = &c->cells[c->buckets[at] - 1];
		if (cell->kind == key->kind && cell->site == key->site &&
			cell->corrupt == key->corrupt &&
			cell->share.session_serial == key->serial &&
			cell->share.session == key->session)
			return &c->buckets[at];
	}
}

/* Make room for one more cell; at least half of the buckets stay empty. */
static int make_room(struct audit_cells *c)
{
	size_t room = 2 * c->room;
	struct cell *cells;
	uint32_t *buckets;

	if (c->count < c->room)
		return 0;
	cells = realloc(c->cells, room * sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	c->cells = cells;
	buckets = calloc(2 * room, sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	free(c->buckets);
	c->buckets = buckets;
	c->room = room;
	for (size_t i = 0; i < c->count; i++) {
		const struct key key = { cells[i].kind, cells[i].site, cells[i].corrupt,
			cells[i].share.session, cells[i].share.session_serial };

		*probe(c, &key) = (uint32_t)(i + 1);
	}
	return 0;
}

static struct cell *find_or_make(struct audit_cells *c, const struct audit_member *m)
{
	const struct key key = { m->kind, m->site, m->corrupt, m->session, m->session_serial };
	uint32_t *bucket;

	if (make_room(c) != 0)
		return NULL;
	bucket = probe(c, &key);
	if (*bucket == 0) {
		c->cells[c->count] = (struct cell){ .kind = m->kind,
			.site = m->site,
			.corrupt = m->corrupt,
			.birth_min_ns = UINT64_MAX,
			.slab_addr = UINT64_MAX,
			.share = { .then = *m->holder,
				.session = m->session,
				.session_serial = m->session_serial,
				.orphan = m->orphan } };
		*bucket = (uint32_t)++c->count;
	}
	return &c->cells[*bucket - 1];
}

static uint64_t min_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* A damaged record's birth time must not make the sum wrap around. */
static uint64_t add_saturating(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static int add(struct audit_cells *c, const struct audit_member *m)
{
	struct cell *cell = find_or_make(c, m);
	uint64_t age_ns = m->now_ns > m->birth_ns ? m->now_ns - m->birth_ns : 0;

	if (!cell)
		return -ENOMEM;
	cell->share.blocks++;
	cell->share.objects += m->slab != 0;
	cell->share.bytes += m->bytes;
	cell->share.block_bytes += m->block_bytes;
	cell->birth_min_ns = min_of(cell->birth_min_ns, m->birth_ns);
	cell->birth_max_ns = max_of(cell->birth_max_ns, m->birth_ns);
	cell->age_sum_ms = add_saturating(cell->age_sum_ms, age_ns / NSEC_PER_MSEC);
	cell->nodes |= 1ULL << m->node;
	cell->unconfirmed += m->unconfirmed;
	/* The objects of a slab come together. */
	if (m->corrupt && m->slab != cell->last_slab) {
		cell->share.slabs++;
		cell->last_slab = m->slab;
		cell->slab_addr = min_of(cell->slab_addr, m->slab);
	}
	return 0;
}

/* Prefetch the likely bucket and cell of each member; only speed depends on it. */
static void prefetch(const struct audit_cells *c, const struct audit_member *members, size_t n)
{
	const size_t mask = 2 * c->room - 1;

	for (size_t i = 0; i < n; i++)
		__builtin_prefetch(&c->buckets[hash_member(&members[i]) & mask]);
	for (size_t i = 0; i < n; i++) {
		const uint32_t at = c->buckets[hash_member(&members[i]) & mask];
		const char *cell = (const char *)&c->cells[at ? at - 1 : 0];

		for (size_t byte = 0; byte < offsetof(struct cell, share.then); byte += CACHE_LINE)
			__builtin_prefetch(cell + byte, 1);
	}
}

int audit_cells_add(struct audit_cells *c, const struct audit_member *members, size_t n)
{
	int err = 0;

	prefetch(c, members, n);
	for (size_t i = 0; i < n && !err; i++)
		err = add(c, &members[i]);
	return err;
}

/* By kind, site and corruption; within a finding, holders by bytes descending, then by serial. */
static int by_finding(const void *left, const void *right)
{
	const struct cell *l = left, *r = right;

	if (l->kind != r->kind)
		return l->kind < r->kind ? -1 : 1;
	if (l->site != r->site)
		return l->site < r->site ? -1 : 1;
	if (l->corrupt != r->corrupt)
		return l->corrupt ? 1 : -1;
	if (l->share.bytes != r->share.bytes)
		return l->share.bytes > r->share.bytes ? -1 : 1;
	if (l->share.session_serial != r->share.session_serial)
		return l->share.session_serial < r->share.session_serial ? -1 : 1;
	return l->share.session < r->share.session ? -1 : l->share.session > r->share.session;
}

/* The same on every server and in every run: depends only on the kind, the frames and whether records are corrupt. */
static uint64_t finding_id(const struct cell *cell, uint64_t site_hash)
{
	const uint64_t kind = (uint64_t)cell->kind + (cell->corrupt ? AUDIT_KINDS : 0);
	uint64_t id = site_hash ^ (kind + 1) * 0x9e3779b97f4a7c15ULL;

	id = (id ^ id >> 33) * 0xff51afd7ed558ccdULL;
	id = (id ^ id >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return id ^ id >> 33;
}

static void absorb(struct audit_finding *f, const struct cell *cell)
{
	f->blocks += cell->share.blocks;
	f->objects += cell->share.objects;
	f->slabs += cell->share.slabs;
	f->slab_addr = min_of(f->slab_addr, cell->slab_addr);
	f->bytes += cell->share.bytes;
	f->block_bytes += cell->share.block_bytes;
	f->birth_min_ns = min_of(f->birth_min_ns, cell->birth_min_ns);
	f->birth_max_ns = max_of(f->birth_max_ns, cell->birth_max_ns);
	f->age_sum_ms = add_saturating(f->age_sum_ms, cell->age_sum_ms);
	f->nodes |= cell->nodes;
	f->unconfirmed += cell->unconfirmed;
	f->holders[f->nholders++] = cell->share;
}

/* Merge n cells into one finding. */
static int make_finding(
	struct audit_finding *f, const struct cell *cells, size_t n, uint64_t site_hash)
{
	*f = (struct audit_finding){ .kind = cells->kind,
		.site = cells->site,
		.site_hash = site_hash,
		.corrupt = cells->corrupt,
		.slab_addr = UINT64_MAX,
		.id = finding_id(cells, site_hash),
		.birth_min_ns = UINT64_MAX };
	f->holders = calloc(n, sizeof(*f->holders));
	if (!f->holders)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		absorb(f, &cells[i]);
	return 0;
}

static int by_size(const void *left, const void *right)
{
	const struct audit_finding *l = left, *r = right;

	if (l->kind != r->kind)
		return l->kind < r->kind ? -1 : 1;
	if (l->bytes != r->bytes)
		return l->bytes > r->bytes ? -1 : 1;
	if (l->id != r->id)
		return l->id < r->id ? -1 : 1;
	return l->site < r->site ? -1 : l->site > r->site;
}

int audit_cells_merge(struct audit_cells *c, const uint64_t *site_hashes, struct audit_result *r)
{
	struct audit_finding *findings;
	size_t n = 0;

	if (c->count == 0)
		return 0;
	findings = calloc(c->count, sizeof(*findings));
	if (!findings)
		return -ENOMEM;
	/* Sorting moves the cells: the buckets are invalid from here on. */
	qsort(c->cells, c->count, sizeof(*c->cells), by_finding);
	for (size_t begin = 0, end; begin < c->count; begin = end) {
		const struct cell *first = &c->cells[begin];

		end = begin + 1;
		while (end < c->count && c->cells[end].kind == first->kind &&
			c->cells[end].site == first->site &&
			c->cells[end].corrupt == first->corrupt)
			end++;
		if (make_finding(&findings[n], first, end - begin, site_hashes[first->site]) != 0) {
			audit_findings_destroy(findings, n);
			return -ENOMEM;
		}
		n++;
	}
	qsort(findings, n, sizeof(*findings), by_size);
	r->findings = findings;
	r->nfindings = n;
	return 0;
}

void audit_findings_destroy(struct audit_finding *findings, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(findings[i].holders);
	free(findings);
}
