/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an audit makes of slabs, whatever their sessions have written into them: kinds, sites, corrupt records, and that
 * no byte is missing.
 */
#include "tests/support/world.h"

#include "common/size_class.h"
#include "server/ledger/object.h"
#include "tests/support/random.h"

#define SLABS 64
#define OPENED (NOW / 2) /* add_session() */
#define LATEST_S ((NOW - OPENED) / NSEC_PER_SEC)

/* What the sessions have written. */
static struct written {
	uint64_t addr;
	uint64_t words[SLAB_BYTES_MAX / 16];
} written[SLABS];
static unsigned nwritten;

static int make(void **state)
{
	nwritten = 0;
	return make_world(state);
}
#define IN_NEW_WORLD(test) cmocka_unit_test_setup_teardown(test, make, remove_world)

static uint64_t *write_to(const struct allocation *slab)
{
	struct written *w = &written[nwritten++];

	assert_true(nwritten <= SLABS);
	memset(w, 0, sizeof(*w));
	w->addr = slab->addr;
	return w->words;
}

static const uint64_t *words_of(const struct allocation *slab)
{
	for (unsigned i = 0; i < nwritten; i++)
		if (written[i].addr == slab->addr)
			return written[i].words;
	return NULL;
}

static uint64_t live(uint32_t slack, uint32_t site, uint32_t birth_s)
{
	const struct object_record r = { .state = OBJECT_LIVE,
		.generation = 7,
		.slack = slack,
		.site = site,
		.birth_s = birth_s };

	return object_record_pack(&r);
}

static uint64_t freed(uint32_t slack)
{
	return object_record_with_state(live(slack, 3, 4), OBJECT_FREED);
}

/* Seen twice. */
static struct audit_result *look(struct world *w)
{
	struct audit_input in = input(w);
	struct audit_scan *first = scan(w, &in), *next = NULL;
	struct audit_result *r = NULL;

	assert_int_equal(
		audit_whole_with(w->ledger, &in, first, AUDIT_FULL, words_of, &next, &r), 0);
	audit_scan_destroy(first);
	audit_scan_destroy(next);
	return r;
}

static void check_conserved(const struct audit_result *r)
{
	struct audit_total sum = { .blocks = 0 };

	for (size_t i = 0; i < r->nnodes; i++) {
		const struct audit_node *n = &r->nodes[i];

		assert_false(n->miscounted);
		assert_int_equal(n->unaccounted_bytes, 0);
		assert_int_equal(n->registered_bytes,
			n->free_bytes + n->live_bytes + n->courtesy_bytes + n->quarantine_bytes +
				n->zombie_bytes + n->cached_bytes + n->metadata_bytes);
	}
	for (size_t i = 0; i < r->nfindings; i++) {
		sum.blocks += r->findings[i].blocks;
		sum.objects += r->findings[i].objects;
	}
	for (unsigned kind = 0; kind < AUDIT_KINDS; kind++) {
		sum.blocks -= r->totals[kind].blocks;
		sum.objects -= r->totals[kind].objects;
	}
	assert_int_equal(sum.blocks, 0);
	assert_int_equal(sum.objects, 0);
}

/* ---- one record ---- */

static void test_judge(void **state)
{
	const struct object_slab slab = {
		.slot_bytes = 64, .opened_ns = OPENED, .born_ns = NOW - 5, .now_ns = NOW
	};
	const uint32_t latest_s = LATEST_S + OBJECT_BIRTH_TOLERANCE_S;
	const struct {
		uint64_t word;
		bool held, corrupt;
		uint32_t bytes, site;
		uint64_t birth_ns;
	} rows[] = {
		{ 0, false, false, 0, 0, 0 },
		{ live(0, 0, 0), true, false, 64, 0, OPENED },
		{ live(63, 9, 10), true, false, 1, 9, OPENED + 10 * NSEC_PER_SEC },
		{ live(1, OBJECT_SITE_MAX, latest_s), true, false, 63, OBJECT_SITE_MAX,
			OPENED + latest_s * NSEC_PER_SEC },
		{ live(1, 9, latest_s + 1), true, true, 64, 0, NOW - 5 },
		{ live(1, 9, OBJECT_BIRTH_MAX), true, true, 64, 0, NOW - 5 },
		{ live(64, 9, 1), true, true, 64, 0, NOW - 5 },
		{ live(OBJECT_SLACK_MAX, 9, 1), true, true, 64, 0, NOW - 5 },
		{ freed(0), false, false, 0, 0, 0 },
		{ freed(63), false, false, 0, 0, 0 },
		{ freed(64), true, true, 64, 0, NOW - 5 },
		{ object_record_with_state(live(0, 1, 1), OBJECT_TAKEN), false, false, 0, 0, 0 },
		{ object_record_with_state(live(64, 1, 1), OBJECT_TAKEN), true, true, 64, 0,
			NOW - 5 },
		{ object_record_with_state(live(0, 1, 1), OBJECT_UNUSED), true, true, 64, 0,
			NOW - 5 },
		{ 4, true, true, 64, 0, NOW - 5 }, /* never used, and has a generation */
		{ UINT64_MAX, true, true, 64, 0, NOW - 5 },
	};
	struct object_slab orphaned = slab;

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct object o = object_judge(rows[i].word, &slab);

		assert_int_equal(o.held, rows[i].held);
		assert_int_equal(o.corrupt, rows[i].corrupt);
		assert_int_equal(o.bytes, rows[i].bytes);
		assert_int_equal(o.site, rows[i].site);
		assert_int_equal(o.birth_ns, rows[i].birth_ns);
	}
	/* Nothing is known of its session: it may be as old as the slab. */
	orphaned.opened_ns = 0;
	assert_int_equal(object_judge(live(1, 9, latest_s + 1), &orphaned).corrupt, false);
	assert_int_equal(object_judge(live(1, 9, latest_s + 1), &orphaned).birth_ns, NOW - 5);
}

static void test_journal_age(void **state)
{
	struct audit_holder_state h = { .state = SESSION_CONNECTED, .journaled_ns = 100 };

	(void)state;
	h.since_ns = 90; /* since then it is connected */
	assert_int_equal(audit_journal_age_ns(&h, 140), 40);
	h.state = SESSION_DETACHED;
	h.since_ns = 130;
	assert_int_equal(audit_journal_age_ns(&h, 1000), 30);
	h.state = SESSION_DEAD;
	h.since_ns = 900;
	h.expired_ns = 120; /* no access since then */
	assert_int_equal(audit_journal_age_ns(&h, 1000), 20);
	h.expired_ns = 950;
	assert_int_equal(audit_journal_age_ns(&h, 1000), 800);
	h.journaled_ns = 901;
	assert_int_equal(audit_journal_age_ns(&h, 1000), 0);
}

/* ---- audits ---- */

/* Class 8: slots of 64 bytes; 56 of them in a page, then 448 bytes of records and 64 of nothing. */
#define CLASS 8
#define SLOT 64
#define SLOTS 56
#define METADATA (4096 - SLOTS * SLOT)

static void test_kinds(void **state)
{
	static const struct {
		enum session_state state;
		enum holder_evidence evidence;
		enum audit_kind kind;
	} rows[] = {
		{ SESSION_CONNECTED, HOLDER_NO_EVIDENCE, AUDIT_REACHABLE },
		{ SESSION_DETACHED, HOLDER_NO_EVIDENCE, AUDIT_LIMBO },
		{ SESSION_CLOSED, HOLDER_CLOSED, AUDIT_DEFINITE },
		{ SESSION_DEAD, HOLDER_PID_GONE, AUDIT_DEFINITE },
	};
	struct world *w = *state;
	const uint32_t session = add_session(w), site = add_site(w, 0x1000);
	const struct allocation *a = add_slab(w, session, CLASS, 4096, 1, 0);
	uint64_t *words = write_to(a);

	assert_int_equal(slab_slots(CLASS, 4096), SLOTS);
	words[0] = live(4, site, 100);
	words[1] = freed(0);
	words[2] = live(0, site, 200);
	words[SLOTS - 1] = live(10, 0, 300);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct audit_result *r;
		const struct audit_finding *f;

		sessions_set_state(w->sessions, session, rows[i].state, rows[i].evidence, NOW - 1);
		r = look(w);
		check_conserved(r);
		assert_int_equal(r->nfindings, 2);
		assert_int_equal(r->totals[rows[i].kind].blocks, 3);
		assert_int_equal(r->totals[rows[i].kind].objects, 3);
		assert_int_equal(r->totals[rows[i].kind].bytes, 60 + 64 + 54);
		f = &r->findings[0];
		assert_int_equal(f->kind, rows[i].kind);
		assert_int_equal(f->site, site);
		assert_int_equal(f->blocks, 2);
		assert_int_equal(f->objects, 2);
		assert_int_equal(f->bytes, 124);
		assert_int_equal(f->block_bytes, 2 * SLOT);
		assert_int_equal(f->birth_min_ns, OPENED + 100 * NSEC_PER_SEC);
		assert_int_equal(f->birth_max_ns, OPENED + 200 * NSEC_PER_SEC);
		assert_int_equal(f->nodes, 2);
		assert_int_equal(f->nholders, 1);
		assert_int_equal(f->holders[0].objects, 2);
		assert_false(f->corrupt);
		assert_int_equal(r->findings[1].site, 0);
		assert_int_equal(r->findings[1].bytes, 54);
		assert_int_equal(r->allocations_total, 3);
		assert_int_equal(r->allocations_without_site, 1);
		assert_int_equal(r->objects_total, 3);
		assert_int_equal(r->slabs_total, 1);
		assert_int_equal(r->slabs_unread, 0);
		assert_int_equal(r->corrupt_records, 0);
		assert_int_equal(r->nodes[1].metadata_bytes, METADATA);
		assert_int_equal(r->nodes[1].cached_bytes, (SLOTS - 3) * SLOT);
		assert_int_equal(rows[i].state == SESSION_CONNECTED ? r->nodes[1].live_bytes
								    : r->nodes[1].courtesy_bytes,
			3 * SLOT);
		audit_result_release(r);
	}
}

/* Two scans must agree, on the slab. */
static void test_unconfirmed(void **state)
{
	struct world *w = *state;
	const uint32_t session = add_session(w);
	uint64_t *words = write_to(add_slab(w, session, CLASS, 4096, 0, 0));
	struct audit_input in;
	struct audit_scan *next;
	struct audit_result *r;

	words[0] = words[1] = live(0, 0, 1);
	sessions_set_state(w->sessions, session, SESSION_DEAD, HOLDER_PID_GONE, NOW - 1);
	in = input(w);
	assert_int_equal(
		audit_whole_with(w->ledger, &in, NULL, AUDIT_FULL, words_of, &next, &r), 0);
	assert_int_equal(r->totals[AUDIT_DEFINITE].blocks, 0);
	assert_int_equal(r->totals[AUDIT_LIMBO].blocks, 2);
	assert_int_equal(r->findings[0].unconfirmed, 2);
	audit_scan_destroy(next);
	audit_result_release(r);
}

/* Of a slab that is being revoked or wiped, or cannot be, nothing is looked at. */
static void test_given_back(void **state)
{
	struct world *w = *state;
	const uint32_t session = add_session(w);
	const struct allocation *revoking = add_slab(w, session, CLASS, 4096, 0, 0);
	const struct allocation *zombie = add_slab(w, session, CLASS, 8192, 0, 0);
	struct audit_result *r;

	memset(write_to(revoking), 0xff, SLOTS * sizeof(uint64_t));
	memset(write_to(zombie), 0xff, SLOTS * sizeof(uint64_t));
	set_state(w, revoking, ALLOCATION_REVOKING);
	set_state(w, zombie, ALLOCATION_REVOKING);
	set_state(w, zombie, ALLOCATION_ZOMBIE);
	r = look(w);
	check_conserved(r);
	assert_int_equal(r->nodes[0].quarantine_bytes, 4096);
	assert_int_equal(r->nodes[0].zombie_bytes, 8192);
	assert_int_equal(r->nodes[0].metadata_bytes + r->nodes[0].cached_bytes, 0);
	assert_int_equal(r->corrupt_records, 0);
	assert_int_equal(r->nfindings, 1);
	assert_int_equal(r->findings[0].kind, AUDIT_ZOMBIE);
	assert_int_equal(r->findings[0].objects, 0);
	audit_result_release(r);
}

/* Without its records, a slab holds nothing, and all of it is counted. */
static void test_unread(void **state)
{
	struct world *w = *state;
	struct audit_result *r;

	add_slab(w, add_session(w), CLASS, 4096, 0, 0);
	r = look(w);
	check_conserved(r);
	assert_int_equal(r->slabs_unread, 1);
	assert_int_equal(r->nfindings, 0);
	assert_int_equal(r->nodes[0].cached_bytes, SLOTS * SLOT);
	assert_int_equal(r->nodes[0].metadata_bytes, METADATA);
	assert_int_equal(r->nodes[0].live_bytes, 0);
	audit_result_release(r);
}

/* Corrupt records are a finding of their own, beside that of objects without a site. */
static void test_corrupt(void **state)
{
	struct world *w = *state;
	const uint32_t sessions[] = { add_session(w), add_session(w) };
	const struct allocation *a = add_slab(w, sessions[0], CLASS, 4096, 0, 50);
	const struct allocation *b = add_slab(w, sessions[0], CLASS, 4096, 0, 60);
	const struct allocation *c = add_slab(w, sessions[1], CLASS, 4096, 0, 70);
	uint64_t *in_a = write_to(a), *in_b = write_to(b), *in_c = write_to(c);
	const struct audit_finding *f;
	struct audit_result *r;

	in_a[1] = in_a[2] = in_b[0] = in_c[55] = UINT64_MAX;
	in_a[3] = in_b[9] = live(1, 0, 1);
	r = look(w);
	check_conserved(r);
	assert_int_equal(r->corrupt_records, 4);
	assert_int_equal(r->nfindings, 2);
	assert_true(r->findings[0].id != r->findings[1].id);
	f = &r->findings[0];
	assert_true(f->corrupt);
	assert_int_equal(f->kind, AUDIT_REACHABLE);
	assert_int_equal(f->site, 0);
	assert_int_equal(f->objects, 4);
	assert_int_equal(f->bytes, 4 * SLOT);
	assert_int_equal(f->slabs, 3);
	assert_int_equal(f->slab_addr, a->addr);
	assert_int_equal(f->nholders, 2);
	assert_int_equal(f->holders[0].slabs, 2);
	assert_int_equal(f->holders[0].objects, 3);
	assert_int_equal(f->holders[1].slabs, 1);
	assert_int_equal(f->birth_min_ns, NOW - 70);
	assert_false(r->findings[1].corrupt);
	assert_int_equal(r->findings[1].blocks, 2);
	assert_int_equal(r->findings[1].slabs, 0);
	audit_result_release(r);
}

/* Site numbers are looked up only where they can mean what the session meant. */
static void test_sites(void **state)
{
	struct world *w = *state;
	const uint32_t gave_up = add_session(w), forgotten = add_session(w), site = add_site(w, 5);
	uint64_t *words;
	struct audit_result *r;

	words = write_to(add_slab(w, gave_up, CLASS, 4096, 0, 0));
	words[0] = live(0, site, 1);
	words = write_to(add_slab(w, forgotten, CLASS, 4096, 0, 0));
	words[0] = words[1] = live(0, site, OBJECT_BIRTH_MAX);
	sessions_set_no_sites(w->sessions, gave_up);
	sessions_remove(w->sessions, forgotten);
	words = write_to(add_slab(w, gave_up, CLASS, 4096, 1, 0));
	words[0] = live(0, SITES_MAX - 1, 1); /* not in the table: of after the audit's begin */
	r = look(w);
	check_conserved(r);
	assert_int_equal(r->orphans, 1);
	assert_int_equal(r->corrupt_records, 0);
	assert_int_equal(r->allocations_without_site, 4);
	assert_int_equal(r->totals[AUDIT_DEFINITE].objects, 2);
	assert_int_equal(r->totals[AUDIT_REACHABLE].objects, 2);
	audit_result_release(r);
}

/* ---- whatever is written ---- */

struct sums {
	uint64_t held, corrupt, bytes, held_bytes, cached_bytes, metadata_bytes;
};

/* The rules again, in other words. */
static void add_expected(struct sums *s, uint64_t word, uint32_t slot_bytes)
{
	const unsigned state = word & 3;
	const uint64_t slack = word >> 13 & 0xfff, birth_s = word >> 39;
	const bool corrupt = state == 0 ? word != 0
					: word == UINT64_MAX || slack >= slot_bytes ||
						  (state == 1 && birth_s > LATEST_S + 60);

	if (!corrupt && state != 1) {
		s->cached_bytes += slot_bytes;
		return;
	}
	s->held++;
	s->corrupt += corrupt;
	s->held_bytes += slot_bytes;
	s->bytes += corrupt ? slot_bytes : slot_bytes - slack;
}

static uint64_t any_word(uint64_t *seed)
{
	switch (random_below(seed, 6)) {
	case 0:
		return 0;
	case 1:
		return random_u64(seed);
	case 2:
		return random_u64(seed) & ~3ULL; /* never used, or so it says */
	case 3:
		return freed((uint32_t)random_below(seed, 80));
	default:
		return live((uint32_t)random_below(seed, 80),
			(uint32_t)random_below(seed, OBJECT_SITE_MAX + 1),
			(uint32_t)random_below(seed, 2 * LATEST_S));
	}
}

/* The same once more, by size class. */
static void check_classes(
	const struct audit_result *r, const struct sums *want, const uint64_t slots[SIZE_CLASSES])
{
	struct audit_slabs sum = { .slabs = 0 };
	uint64_t metadata = 0;

	for (unsigned class = 0; class < SIZE_CLASSES; class ++) {
		const struct audit_slabs *s = &r->classes[class];

		assert_int_equal(s->slots, slots[class]);
		assert_true(s->active <= s->slabs && (s->active > 0) == (s->objects > 0));
		sum.slabs += s->slabs;
		sum.objects += s->objects;
		sum.bytes += s->bytes;
		metadata += s->slab_bytes - s->slots * size_class_bytes(class);
	}
	assert_int_equal(sum.slabs, r->slabs_total);
	assert_int_equal(sum.objects, want->held);
	assert_int_equal(sum.bytes, want->bytes);
	assert_int_equal(metadata, want->metadata_bytes);
}

static void test_any_words(void **state)
{
	const char *text = getenv("RMEM_TEST_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : 0x51ab5;

	for (unsigned round = 0; round < 200; round++) {
		struct world *w;
		struct sums want = { .held = 0 };
		uint64_t live_bytes = 0, cached = 0, metadata = 0, slots[SIZE_CLASSES] = { 0 };
		struct audit_result *r;

		make(state);
		w = *state;
		for (unsigned i = 0; i < 12; i++) {
			const uint8_t class = (uint8_t)(1 + random_below(&seed, SIZE_CLASSES - 1));
			const uint64_t bytes = 4096 * (9 + random_below(&seed, 24));
			const struct allocation *a = add_slab(
				w, add_session(w), class, bytes, random_below(&seed, NODES), 0);
			const uint32_t n = slab_slots(class, bytes);
			uint64_t *words = write_to(a);

			for (uint32_t slot = 0; slot < n; slot++) {
				words[slot] = any_word(&seed);
				add_expected(&want, words[slot], size_class_bytes(class));
			}
			want.metadata_bytes += bytes - (uint64_t)n * size_class_bytes(class);
			slots[class] += n;
		}
		r = look(w);
		check_conserved(r);
		for (unsigned node = 0; node < NODES; node++) {
			live_bytes += r->nodes[node].live_bytes;
			cached += r->nodes[node].cached_bytes;
			metadata += r->nodes[node].metadata_bytes;
		}
		check_classes(r, &want, slots);
		assert_int_equal(r->objects_total, want.held);
		assert_int_equal(r->corrupt_records, want.corrupt);
		assert_int_equal(r->totals[AUDIT_REACHABLE].bytes, want.bytes);
		assert_int_equal(live_bytes, want.held_bytes);
		assert_int_equal(cached, want.cached_bytes);
		assert_int_equal(metadata, want.metadata_bytes);
		audit_result_release(r);
		remove_world(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_journal_age),
		IN_NEW_WORLD(test_kinds),
		IN_NEW_WORLD(test_unconfirmed),
		IN_NEW_WORLD(test_given_back),
		IN_NEW_WORLD(test_unread),
		IN_NEW_WORLD(test_corrupt),
		IN_NEW_WORLD(test_sites),
		cmocka_unit_test(test_any_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
