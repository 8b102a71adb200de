/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs by chance in several sessions, and what is known of their blocks because it was planned: lists, trees and rings are
 * made, shared, named, stored in each other, reversed, cut, freed, forgotten in whole or in part; sessions are killed, or
 * cannot be read in the end. The kinds that server/audit/reach.h gives are compared with the plan, which knows structures, not
 * references: a structure has one head, and who holds that is written down with every step.
 *
 * audit-programs SEED N: the programs SEED to SEED + N - 1; program S is always the same. A table, and a line for every
 * block with another kind than planned. Exit status: 0 none has.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/audit/reach.h"
#include "tests/support/random.h"

#define SLOTS 2048U
#define SLOT_BYTES 128U
#define WORDS 5U /* of a node, that have a meaning: */
enum { PAYLOAD, NEXT, SECOND, STORED, UNUSED };
#define BASE 0x9e00000000000000ULL
#define STRUCTURES 256U
#define SESSIONS 6U
#define NODES_MAX 24U
#define NONE UINT32_MAX

enum form { LIST, TREE, RING, FORMS };
enum state { READ, UNREAD, GONE };

struct node {
	uint32_t structure; /* NONE: the slot is free */
	uint32_t bytes;
	uint64_t words[WORDS];
};

struct structure {
	enum form form;
	uint32_t n;
	uint32_t slots[NODES_MAX]; /* [0] is the head; lists and rings: in their order */
	uint32_t known_to;         /* bit set of the sessions that were ever told */
	bool named;                /* its head is */
	uint32_t stored_in;        /* slot of the node that holds the head; NONE */
	bool stored_inside;        /* ... by an address in it */
};

static struct {
	uint64_t seed;
	struct node nodes[SLOTS];
	struct structure structures[STRUCTURES];
	uint32_t nstructures;
	enum state sessions[SESSIONS];
	uint64_t held[SESSIONS]
		     [STRUCTURES]; /* the memory of sessions: an address of the head, or 0 */
} p;

static uint32_t below(uint32_t n)
{
	return (uint32_t)random_below(&p.seed, n);
}

static uint64_t address(uint32_t slot)
{
	return BASE + slot * (uint64_t)SLOT_BYTES;
}

static uint64_t head_address(const struct structure *s, bool inside)
{
	return address(s->slots[0]) + (inside ? 8 : 0);
}

/* ---- memory ---- */

static uint32_t new_node(uint32_t structure)
{
	uint32_t slot = below(SLOTS);

	while (p.nodes[slot].structure != NONE)
		slot = (slot + 1) % SLOTS;
	p.nodes[slot] = (struct node){ .structure = structure,
		.bytes = 8 * WORDS + below(SLOT_BYTES - 8 * WORDS + 1),
		.words = { [PAYLOAD] = below(1000) } };
	return slot;
}

/* Write the references between the nodes of a structure, as its program would. */
static void link_nodes(const struct structure *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t *words = p.nodes[s->slots[i]].words;
		const uint32_t a = s->form == TREE ? 2 * i + 1 : i + 1;

		words[NEXT] = a < s->n ? address(s->slots[a]) : 0;
		words[SECOND] = s->form == TREE && a + 1 < s->n ? address(s->slots[a + 1]) : 0;
		if (s->form != RING)
			continue;
		words[NEXT] = address(s->slots[a < s->n ? a : 0]);
		words[SECOND] = address(s->slots[i ? i - 1 : s->n - 1]);
	}
}

/* The head is another node now: all who hold it are told. */
static void move_head(uint32_t number)
{
	const struct structure *s = &p.structures[number];

	for (uint32_t i = 0; i < SESSIONS; i++)
		if (p.held[i][number])
			p.held[i][number] = head_address(s, p.held[i][number] % SLOT_BYTES);
	if (s->stored_in != NONE)
		p.nodes[s->stored_in].words[STORED] = head_address(s, s->stored_inside);
}

/* What a node had stored is stored nowhere now. */
static void unstore(uint32_t slot)
{
	for (uint32_t i = 0; i < p.nstructures; i++)
		if (p.structures[i].stored_in == slot)
			p.structures[i].stored_in = NONE;
	p.nodes[slot].words[STORED] = 0;
}

static void free_nodes(struct structure *s, uint32_t from)
{
	for (uint32_t i = from; i < s->n; i++) {
		unstore(s->slots[i]);
		p.nodes[s->slots[i]].structure = NONE;
	}
	s->n = from;
}

/* ---- steps of a program ---- */

static void create(uint32_t session)
{
	const uint32_t number = p.nstructures;
	struct structure *s = &p.structures[number];

	if (number == STRUCTURES || p.sessions[session] != READ)
		return;
	*s = (struct structure){ .form = (enum form)below(FORMS),
		.n = 1 + below(NODES_MAX / 2),
		.known_to = 1U << session,
		.stored_in = NONE };
	for (uint32_t i = 0; i < s->n; i++)
		s->slots[i] = new_node(number);
	link_nodes(s);
	p.held[session][number] = head_address(s, false);
	p.nstructures++;
}

static void add_in_front(uint32_t number)
{
	struct structure *s = &p.structures[number];

	if (s->n == 0 || s->n == NODES_MAX)
		return;
	memmove(s->slots + 1, s->slots, s->n * sizeof(s->slots[0]));
	s->slots[0] = new_node(number);
	s->n++;
	link_nodes(s);
	move_head(number);
}

static void reverse(uint32_t number)
{
	struct structure *s = &p.structures[number];

	for (uint32_t i = 0; i < s->n / 2; i++) {
		const uint32_t was = s->slots[i];

		s->slots[i] = s->slots[s->n - 1 - i];
		s->slots[s->n - 1 - i] = was;
	}
	if (s->n == 0)
		return;
	link_nodes(s);
	move_head(number);
}

static void share(uint32_t number, uint32_t session, bool inside)
{
	struct structure *s = &p.structures[number];

	if (s->n == 0 || p.sessions[session] != READ)
		return;
	s->known_to |= 1U << session;
	p.held[session][number] = head_address(s, inside);
}

/* The end of a list, on its own now; nothing holds it. */
static void cut(uint32_t number, bool forget)
{
	struct structure *s = &p.structures[number], *end = &p.structures[p.nstructures];
	const uint32_t at = s->n > 1 ? 1 + below(s->n - 1) : 0;

	if (s->form != LIST || at == 0 || p.nstructures == STRUCTURES)
		return;
	if (forget) {
		*end = (struct structure){
			.form = LIST, .known_to = s->known_to, .stored_in = NONE
		};
		for (uint32_t i = at; i < s->n; i++) {
			end->slots[end->n++] = s->slots[i];
			p.nodes[s->slots[i]].structure = p.nstructures;
		}
		s->n = at;
		p.nstructures++;
	} else {
		free_nodes(s, at);
	}
	link_nodes(s);
}

static void destroy(uint32_t number)
{
	struct structure *s = &p.structures[number];

	free_nodes(s, 0);
	for (uint32_t i = 0; i < SESSIONS; i++)
		p.held[i][number] = 0;
	if (s->stored_in != NONE)
		unstore(s->stored_in);
	s->named = false;
}

/* Does a node of the structure, or of one that it is stored in, belong to another? */
static bool is_within(uint32_t number, uint32_t other)
{
	while (number != other) {
		if (p.structures[number].stored_in == NONE)
			return false;
		number = p.nodes[p.structures[number].stored_in].structure;
	}
	return true;
}

/* The head of one in a node of another. Of circles, and of a ring that is lost with another, no kind is planned: not done. */
static void store(uint32_t outer, uint32_t inner)
{
	struct structure *s = &p.structures[inner];
	const struct structure *in = &p.structures[outer];
	uint32_t slot;

	if (s->n == 0 || in->n == 0 || s->form == RING || s->stored_in != NONE ||
		is_within(outer, inner))
		return;
	slot = in->slots[below(in->n)];
	if (p.nodes[slot].words[STORED])
		return;
	s->stored_in = slot;
	s->stored_inside = below(4) == 0;
	p.nodes[slot].words[STORED] = head_address(s, s->stored_inside);
}

static void end_session(uint32_t session, enum state state)
{
	if (p.sessions[session] != READ)
		return;
	p.sessions[session] = state;
	if (state == GONE)
		memset(p.held[session], 0, sizeof(p.held[session]));
}

static void step(void)
{
	const uint32_t session = below(SESSIONS), number = p.nstructures ? below(p.nstructures) : 0;

	switch (below(16)) {
	case 0:
		share(number, below(SESSIONS), below(3) == 0);
		break;
	case 1:
		p.held[session][number] = 0;
		break;
	case 2:
		cut(number, below(2));
		break;
	case 3:
		if (below(2))
			destroy(number);
		break;
	case 4:
	case 5:
		store(number, below(p.nstructures + 1) % STRUCTURES);
		break;
	case 6:
		p.structures[number].named = p.structures[number].n && below(2);
		break;
	case 7:
		if (below(12) == 0)
			end_session(session, GONE);
		break;
	case 8:
	case 9:
		reverse(number);
		break;
	case 10:
	case 11:
		add_in_front(number);
		break;
	default:
		create(session);
	}
}

static void run_program(uint64_t number)
{
	uint32_t steps;

	memset(&p, 0, sizeof(p));
	p.seed = number;
	for (uint32_t i = 0; i < SLOTS; i++)
		p.nodes[i].structure = NONE;
	steps = 1 + below(200);
	for (uint32_t i = 0; i < steps; i++)
		step();
	if (below(3) == 0)
		end_session(below(SESSIONS), UNREAD);
}

/* ---- the plan ---- */

struct span {
	int least, most; /* 0: lost, 1: possible, 2: reachable */
};

static void widen(struct span *s, struct span by, bool inside)
{
	const int cap = inside ? 1 : 2;
	const int least = by.least < cap ? by.least : cap, most = by.most < cap ? by.most : cap;

	s->least = least > s->least ? least : s->least;
	s->most = most > s->most ? most : s->most;
}

/*
 * How well the head is held, and so the whole structure: in it, references are to starts. Structures are stored in others without
 * circles, so this ends.
 */
static struct span span_of(uint32_t
		number) // NOLINT(misc-no-recursion): structures are stored in others, without circles
{
	const struct structure *s = &p.structures[number];
	struct span span = { 0, 0 };

	if (s->named)
		widen(&span, (struct span){ 2, 2 }, false);
	for (uint32_t i = 0; i < SESSIONS; i++) {
		if (p.sessions[i] == READ && p.held[i][number])
			widen(&span, (struct span){ 2, 2 }, p.held[i][number] % SLOT_BYTES);
		if (p.sessions[i] == UNREAD && s->known_to >> i & 1)
			span.most = 2;
	}
	if (s->stored_in != NONE)
		widen(&span, span_of(p.nodes[s->stored_in].structure), s->stored_inside);
	return span;
}

static enum audit_kind planned(uint32_t slot)
{
	const struct structure *s = &p.structures[p.nodes[slot].structure];
	const struct span span = span_of(p.nodes[slot].structure);
	uint32_t lowest = s->slots[0];

	if (span.least != span.most)
		return AUDIT_LIMBO;
	if (span.least)
		return span.least == 2 ? AUDIT_REACHABLE : AUDIT_POSSIBLE;
	if (s->stored_in != NONE)
		return AUDIT_INDIRECT; /* in a structure that is lost as well */
	for (uint32_t i = 1; i < s->n && s->form == RING; i++)
		lowest = s->slots[i] < lowest ? s->slots[i] : lowest;
	return slot == lowest ? AUDIT_DEFINITE : AUDIT_INDIRECT;
}

/* ---- comparison ---- */

static uint64_t confusion[AUDIT_KINDS][AUDIT_KINDS]; /* planned, found */

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "audit-programs: %s\n", what);
	exit(2);
}

static void hold_all(struct reach *r, const struct reach_blocks *b, const uint32_t *block_of)
{
	for (uint32_t i = 0; i < p.nstructures; i++) {
		const struct structure *s = &p.structures[i];
		reach_target found;

		for (uint32_t session = 0; session < SESSIONS; session++) {
			reach_blocks_find(b, &p.held[session][i], 1, &found);
			if (p.sessions[session] == READ && found != REACH_NOTHING)
				reach_hold(r, reach_target_block(found),
					reach_target_inside(found) ? REACH_INSIDE : REACH_START);
			if (p.sessions[session] == UNREAD && s->known_to >> session & 1)
				for (uint32_t n = 0; n < s->n; n++)
					reach_hold(r, block_of[s->slots[n]], REACH_MAYBE);
		}
		if (s->named)
			reach_hold(r, block_of[s->slots[0]], REACH_START);
	}
}

static bool compare(uint64_t number, const struct reach *r, const uint32_t *slots, uint32_t n)
{
	bool equal = true;

	for (uint32_t i = 0; i < n; i++) {
		const enum audit_kind plan = planned(slots[i]), kind = reach_kind(r, i);

		confusion[plan][kind]++;
		if (plan == kind)
			continue;
		equal = false;
		printf("program %" PRIu64 ": 0x%" PRIx64 " is %s, planned was %s\n", number,
			address(slots[i]), audit_kind_name(kind), audit_kind_name(plan));
	}
	return equal;
}

static bool judge(uint64_t number)
{
	static struct reach_block blocks[SLOTS];
	static struct reach_word words[SLOTS * WORDS];
	static uint32_t slots[SLOTS], block_of[SLOTS];
	struct reach_blocks b;
	struct reach_edges e;
	struct reach *r;
	uint32_t n = 0, nwords = 0;
	bool equal;

	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		const struct node *node = &p.nodes[slot];

		if (node->structure == NONE)
			continue;
		for (uint32_t w = 0; w < WORDS; w++)
			words[nwords++] = (struct reach_word){ n, node->words[w] };
		blocks[n] = (struct reach_block){ address(slot), node->bytes };
		slots[n] = slot;
		block_of[slot] = n++;
	}
	must(!reach_blocks_open(&b, blocks, n), "blocks are refused");
	must(!reach_edges_open(&e, 0, n, UINT32_MAX), "no memory");
	must(!reach_edges_add(&e, &b, words, nwords), "references are refused");
	must(!reach_begin(&b, &e, 1, &r), "no memory");
	hold_all(r, &b, block_of);
	must(reach_run(r, UINT64_MAX), "it does not end");
	equal = compare(number, r, slots, n);
	reach_end(r);
	reach_edges_close(&e);
	reach_blocks_close(&b);
	return equal;
}

static void print_table(void)
{
	for (unsigned k = 0; k < AUDIT_KINDS; k++) {
		uint64_t plan = 0, found = 0;

		for (unsigned other = 0; other < AUDIT_KINDS; other++) {
			plan += confusion[k][other];
			found += confusion[other][k];
		}
		if (plan || found)
			printf("%-10s %9" PRIu64 " blocks planned, recall %.6f, precision %.6f\n",
				audit_kind_name((enum audit_kind)k), plan,
				plan ? (double)confusion[k][k] / (double)plan : 1.0,
				found ? (double)confusion[k][k] / (double)found : 1.0);
	}
}

int main(int argc, char **argv)
{
	const uint64_t from = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	const uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	uint64_t wrong = 0;

	for (uint64_t i = from; i < from + n; i++) {
		run_program(i);
		wrong += !judge(i);
	}
	print_table();
	printf("%" PRIu64 " programs, in %" PRIu64
	       " of them a block has another kind than planned\n",
		n, wrong);
	return wrong != 0;
}
