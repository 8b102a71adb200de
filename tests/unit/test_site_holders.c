/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers of call sites against a model, in which clients keep what they were told: no allocation is ever of another site than
 * the one that made it, and a number is refused exactly to who has more than its share. Seed: RMEM_TEST_SEED.
 */
#include "tests/support/drafts.h"

#include <errno.h>

#include "server/ledger/sites.h"

#define CLIENTS 14
#define PROGRAMS 20
#define PROGRAM_STACKS 2500
#define STACKS (PROGRAMS * PROGRAM_STACKS)
#define ALLOCATIONS 200
#ifdef __SANITIZE_ADDRESS__
#define ROUNDS (1200 / 4)
#else
#define ROUNDS 1200
#endif
#define BURST 300

/* One client process, and its session. */
struct client {
	bool alive;
	bool from_before;
	unsigned program;
	struct site_holder holder;
	uint16_t
		cached[STACKS]; /* the number of each stack, as the client knows it; 0: not asked */
	bool told[SITES_MAX];   /* since the start */
};

struct lent {
	const struct allocation *record;
	uint64_t addr;
	unsigned stack;
	bool known; /* its client could say where it was made */
};

struct play {
	struct ledger *ledger;
	struct sites *sites;
	struct client clients[CLIENTS];
	struct lent lent[ALLOCATIONS];
	bool before[SITES_MAX]; /* was there at the last start */
	bool used[SITES_MAX];   /* was ever given */
	unsigned interned, refused, reused;
};

static struct play play;

static struct site_request frames_of(unsigned stack)
{
	struct site_request f;

	memset(&f, 0, sizeof(f));
	f.nframes = f.nmodules = 1;
	memset(f.modules[0].build_id, 1 + (int)(stack / PROGRAM_STACKS), BUILD_ID_SIZE);
	f.frames[0].offset = stack;
	return f;
}

static void open_all(struct play *p)
{
	assert_int_equal(ledger_open(&p->ledger, dir, NAME, MAX), 0);
	assert_int_equal(sites_open(&p->sites, dir, "sites", p->ledger), 0);
}

static bool is_site_of(const struct play *p, uint32_t site, unsigned stack)
{
	const struct site_record *r = sites_get(p->sites, site);

	return r && r->frames.frames[0].offset == stack;
}

/* ---- the model ---- */

static unsigned ntold(const struct play *p, uint32_t site)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CLIENTS; i++)
		n += p->clients[i].alive && p->clients[i].told[site];
	return n;
}

static bool any_from_before(const struct play *p)
{
	bool any = false;

	for (unsigned i = 0; i < CLIENTS; i++)
		any |= p->clients[i].alive && p->clients[i].from_before;
	return any;
}

static void find_held(const struct play *p, bool held[SITES_MAX])
{
	const bool old = any_from_before(p);

	for (uint32_t site = 1; site < SITES_MAX; site++)
		held[site] = ntold(p, site) || (old && p->before[site]);
	for (unsigned i = 0; i < ALLOCATIONS; i++)
		if (p->lent[i].record)
			held[p->lent[i].record->site] = true;
}

/* Has that client less than a quarter of what is free? */
static bool may_bring(const struct play *p, const struct client *c, const bool held[SITES_MAX])
{
	uint64_t share = 0, free = 0;

	for (uint32_t site = 1; site < SITES_MAX; site++) {
		free += !held[site];
		if (c->told[site])
			share += SITE_WHOLE / ntold(p, site);
	}
	return share < SESSION_SITES_MAX * SITE_WHOLE && 4 * share < free * SITE_WHOLE;
}

static void check(const struct play *p)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		const struct client *c = &p->clients[i];

		for (unsigned stack = 0; c->alive && stack < STACKS; stack++) {
			if (!c->cached[stack])
				continue;
			assert_int_equal(sites_knows(p->sites, &c->holder, c->cached[stack]),
				!c->holder.over);
			if (!c->holder.over)
				assert_true(is_site_of(p, c->cached[stack], stack));
		}
	}
	for (unsigned i = 0; i < ALLOCATIONS; i++) {
		const struct lent *l = &p->lent[i];

		if (!l->record)
			continue;
		assert_int_equal(l->record->site != 0, l->known);
		if (l->known)
			assert_true(is_site_of(p, l->record->site, l->stack));
	}
}

/* ---- what happens ---- */

static unsigned random_stack(const struct client *c)
{
	return c->program * PROGRAM_STACKS + (unsigned)rnd(PROGRAM_STACKS);
}

/* False: it is refused. */
static bool ask(struct play *p, struct client *c, unsigned stack, bool compare)
{
	static bool held[SITES_MAX];
	const struct site_request f = frames_of(stack);
	uint32_t site = 0;
	int err = sites_intern(p->sites, &c->holder, &f, &site);

	if (err || compare)
		find_held(p, held); /* before that */
	if (err) {
		assert_int_equal(err == -EPERM, c->holder.over);
		assert_true(err == -EPERM || err == -ENOSPC || err == -EDQUOT);
		assert_true(c->holder.over || !may_bring(p, c, held));
		p->refused++;
		return false;
	}
	assert_true(is_site_of(p, site, stack));
	if (compare) {
		assert_true(held[site] || may_bring(p, c, held));
		p->reused += !held[site] && p->used[site];
	}
	p->used[site] = true;
	p->interned++;
	c->told[site] = true;
	c->cached[stack] = (uint16_t)site;
	return true;
}

/* As clients do: what they have asked for once they do not ask for again. */
static void ask_some(struct play *p, struct client *c)
{
	for (uint64_t n = rnd(BURST); n > 0; n--) {
		unsigned stack = random_stack(c);

		if (!c->cached[stack] && !ask(p, c, stack, n % 32 == 1))
			break;
	}
}

static void come(struct client *c)
{
	memset(c, 0, sizeof(*c));
	c->alive = true;
	c->program = (unsigned)rnd(PROGRAMS);
}

static void leave(struct play *p, struct client *c)
{
	sites_release(p->sites, &c->holder);
	c->alive = c->from_before = false;
}

static void give_up(struct play *p, struct client *c)
{
	sites_give_up(p->sites, &c->holder);
	c->from_before = false;
	memset(c->told, 0, sizeof(c->told));
}

static void lend(struct play *p, const struct client *c, unsigned at)
{
	const unsigned stack = random_stack(c);
	struct allocation d = draft(4096ULL * at, 4096, 1);
	struct lent *l = &p->lent[at];

	d.site = sites_knows(p->sites, &c->holder, c->cached[stack]) ? c->cached[stack] : 0;
	*l = (struct lent){
		.addr = d.addr, .stack = stack, .known = c->cached[stack] && !c->holder.over
	};
	assert_int_equal(ledger_add(p->ledger, &d, &l->record), 0);
}

static void take_back(struct play *p, unsigned at)
{
	assert_int_equal(end_record(p->ledger, p->lent[at].record), 0);
	p->lent[at].record = NULL;
}

/* rmemd forgets who was told what, and remembers who gave up. */
static void restart(struct play *p)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		const bool over = p->clients[i].holder.over;

		sites_release(p->sites, &p->clients[i].holder);
		p->clients[i].holder.over = over;
		memset(p->clients[i].told, 0, sizeof(p->clients[i].told));
	}
	sites_close(p->sites);
	ledger_close(p->ledger);
	open_all(p);
	for (uint32_t site = 0; site < SITES_MAX; site++)
		p->before[site] = sites_get(p->sites, site) != NULL;
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *c = &p->clients[i];

		c->from_before = c->alive && !c->holder.over;
		if (c->from_before)
			sites_recover_holder(p->sites, &c->holder);
	}
	for (unsigned i = 0; i < ALLOCATIONS; i++)
		if (p->lent[i].record)
			p->lent[i].record = ledger_find(p->ledger, p->lent[i].addr);
}

static void step(struct play *p)
{
	struct client *c = &p->clients[rnd(CLIENTS)];
	const unsigned at = (unsigned)rnd(ALLOCATIONS), what = (unsigned)rnd(100);

	if (!c->alive)
		come(c);
	else if (what < 60)
		ask_some(p, c);
	else if (what < 85 && p->lent[at].record)
		take_back(p, at);
	else if (what < 85)
		lend(p, c, at);
	else if (what < 96)
		leave(p, c);
	else if (what < 98)
		give_up(p, c);
	else
		restart(p);
}

static void test_random(void **state)
{
	const unsigned rounds = getenv("RMEM_TEST_VALGRIND") ? ROUNDS / 40 : ROUNDS;
	struct play *p = &play;

	(void)state;
	open_all(p);
	for (unsigned round = 0; round < rounds; round++) {
		step(p);
		if (round % 16 == 0)
			check(p);
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		sites_release(p->sites, &p->clients[i].holder);
	printf("%u asked for, %u refused, %u of those looked at had been others\n", p->interned,
		p->refused, p->reused);
	assert_true(rounds < ROUNDS || (p->interned && p->refused && p->reused));
	sites_close(p->sites);
	ledger_close(p->ledger);
}

/* When nobody holds anything any more, one session can have as much as in an empty table. */
static void test_never_stays_full(void **state)
{
	static struct client one;
	struct play *p = &play;

	(void)state;
	if (getenv("RMEM_TEST_VALGRIND"))
		skip(); /* minutes */
	memset(p, 0, sizeof(*p));
	open_all(p);
	for (unsigned i = 0; i < 3 * CLIENTS; i++) {
		struct client *c = &p->clients[i % CLIENTS];

		if (c->alive)
			leave(p, c);
		come(c);
		for (unsigned stack = 0; stack < PROGRAM_STACKS; stack++)
			if (!ask(p, c, c->program * PROGRAM_STACKS + stack, false))
				break;
	}
	assert_true(p->refused > 0);
	for (unsigned i = 0; i < CLIENTS; i++)
		leave(p, &p->clients[i]);
	come(&one);
	for (unsigned stack = 0; stack < SESSION_SITES_MAX; stack++)
		assert_true(ask(p, &one, stack, false));
	sites_release(p->sites, &one.holder);
	sites_close(p->sites);
	ledger_close(p->ledger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_random),
		IN_DIR(test_never_stays_full),
	};

	return run_with_seed("site_holders", tests, sizeof(tests) / sizeof(tests[0]));
}
