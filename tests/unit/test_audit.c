/* SPDX-License-Identifier: BSD-3-Clause */
/* The audit over real tables: every kind of this version, confirmation, merging, conservation. */
#include "tests/support/world.h"

static void check_total(
	const struct audit_result *r, enum audit_kind kind, uint64_t blocks, uint64_t bytes)
{
	assert_int_equal(r->totals[kind].blocks, blocks);
	assert_int_equal(r->totals[kind].bytes, bytes);
}

static void check_conserved(const struct audit_result *r)
{
	for (size_t i = 0; i < r->nnodes; i++) {
		const struct audit_node *n = &r->nodes[i];

		assert_int_equal(n->unaccounted_bytes, 0);
		assert_int_equal(
			n->registered_bytes, n->free_bytes + n->live_bytes + n->courtesy_bytes +
						     n->quarantine_bytes + n->zombie_bytes);
	}
}

static void test_empty(void **state)
{
	struct audit_input in = input(*state);
	struct audit_result *r = audit_twice(*state, &in);

	assert_int_equal(r->nfindings, 0);
	assert_int_equal(r->allocations_total, 0);
	assert_int_equal(r->nnodes, NODES);
	check_conserved(r);
	audit_result_release(r);
	audit_result_release(NULL);
	audit_scan_destroy(NULL);
}

/* One session of each sort, and what its memory is called. */
static void test_kinds(void **state)
{
	static const struct {
		enum session_state state;
		enum holder_evidence evidence;
		uint64_t expired_ns;
		enum audit_kind kind;
	} rows[] = {
		{ SESSION_CONNECTED, HOLDER_NO_EVIDENCE, 0, AUDIT_REACHABLE },
		{ SESSION_CONNECTED, HOLDER_NO_EVIDENCE, 5, AUDIT_LIMBO },
		{ SESSION_DETACHED, HOLDER_NO_EVIDENCE, 0, AUDIT_LIMBO },
		{ SESSION_DETACHED, HOLDER_NO_EVIDENCE, 5, AUDIT_LIMBO },
		{ SESSION_CLOSED, HOLDER_CLOSED, 0, AUDIT_DEFINITE },
		{ SESSION_DEAD, HOLDER_PID_GONE, 0, AUDIT_DEFINITE },
		{ SESSION_DEAD, HOLDER_LEASE_OVER, 5, AUDIT_DEFINITE },
		{ SESSION_DEAD, HOLDER_NO_EVIDENCE, 0, AUDIT_LIMBO }, /* says who? */
		/* A kill's leftover: evidence of a session that came back. */
		{ SESSION_CONNECTED, HOLDER_PID_GONE, 0, AUDIT_REACHABLE },
	};
	struct world *w = *state;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t session = add_session(w);
		const struct allocation *a = add_block(w, session, 0, 5000, i % NODES, 0);
		struct audit_input in;
		struct audit_result *r;
		struct audit_scan *first;

		sessions_set_state(w->sessions, session, rows[i].state, rows[i].evidence, NOW / 2);
		sessions_set_expired(w->sessions, session, rows[i].expired_ns);
		in = input(w);
		r = audit_twice(w, &in);
		assert_int_equal(r->nfindings, 1);
		assert_int_equal(r->findings[0].kind, rows[i].kind);
		assert_int_equal(r->findings[0].unconfirmed, 0);
		check_total(r, rows[i].kind, 1, 5000);
		assert_int_equal(r->orphans, 0);
		check_conserved(r);
		assert_int_equal(rows[i].state == SESSION_CONNECTED
					 ? r->nodes[i % NODES].live_bytes
					 : r->nodes[i % NODES].courtesy_bytes,
			8192);
		audit_result_release(r);

		/* Without a second scan nothing is definite; the rest is as before. */
		r = audit(w, &in, NULL);
		assert_int_equal(r->findings[0].kind,
			rows[i].kind == AUDIT_DEFINITE ? AUDIT_LIMBO : rows[i].kind);
		assert_int_equal(r->findings[0].unconfirmed, rows[i].kind == AUDIT_DEFINITE);
		audit_result_release(r);
		first = scan(w, &in);
		assert_int_equal(audit_judge(&in, first, a), rows[i].kind);
		audit_scan_destroy(first);

		set_state(w, a, ALLOCATION_REVOKING);
		set_state(w, a, ALLOCATION_QUARANTINE);
		assert_int_equal(buddy_free(w->buddies[i % NODES], addr_offset(a->addr), 8192), 0);
		set_state(w, a, ALLOCATION_FREE);
	}
}

static void test_given_back_and_zombies(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	const struct allocation *revoking = add_block(w, session, 0, 4096, 0, 0);
	const struct allocation *wiping = add_block(w, session, 0, 8192, 0, 0);
	const struct allocation *zombie = add_block(w, session, 0, 100, 1, 0);
	struct audit_input in;
	struct audit_result *r;

	sessions_set_state(w->sessions, session, SESSION_DEAD, HOLDER_PID_GONE, NOW / 2);
	set_state(w, revoking, ALLOCATION_REVOKING);
	set_state(w, wiping, ALLOCATION_REVOKING);
	set_state(w, wiping, ALLOCATION_QUARANTINE);
	set_state(w, zombie, ALLOCATION_REVOKING);
	set_state(w, zombie, ALLOCATION_ZOMBIE);
	in = input(w);
	r = audit_twice(w, &in);
	/* What has been given back is nobody's leak; what could not be is a zombie, whoever held it. */
	assert_int_equal(r->nfindings, 1);
	assert_int_equal(r->findings[0].kind, AUDIT_ZOMBIE);
	check_total(r, AUDIT_ZOMBIE, 1, 100);
	assert_int_equal(r->allocations_total, 1);
	assert_int_equal(r->nodes[0].quarantine_bytes, 4096 + 8192);
	assert_int_equal(r->nodes[1].zombie_bytes, 4096);
	assert_int_equal(audit_judge(&in, NULL, revoking), AUDIT_LIMBO);
	assert_int_equal(audit_judge(&in, NULL, zombie), AUDIT_ZOMBIE);
	check_conserved(r);
	audit_result_release(r);
}

static void test_orphans(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	struct audit_input in;
	struct audit_result *r;

	add_block(w, session, 0, 4096, 0, 0);
	add_block(w, 4711, 0, 4096, 0, 0); /* a slot without a session */
	/* The slot has another session now. */
	sessions_remove(w->sessions, session);
	assert_int_equal(add_session(w), session);
	in = input(w);
	r = audit_twice(w, &in);
	assert_int_equal(r->orphans, 2);
	assert_int_equal(r->nfindings, 1);
	assert_int_equal(r->findings[0].kind, AUDIT_DEFINITE);
	assert_int_equal(r->findings[0].nholders, 2);
	assert_true(r->findings[0].holders[0].orphan && r->findings[0].holders[1].orphan);
	check_conserved(r);
	audit_result_release(r);
}

/* Two scans must mean the same allocation, not the same slot or address. */
static void test_scans_must_agree(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	const struct allocation *old = add_block(w, session, 0, 4096, 0, 0), *fresh;
	const struct allocation *stays = add_block(w, session, 0, 8192, 0, 0), *late;
	struct audit_input in;
	struct audit_scan *first;
	struct audit_result *r;

	sessions_set_state(w->sessions, session, SESSION_CLOSED, HOLDER_CLOSED, NOW / 2);
	in = input(w);
	first = scan(w, &in);
	set_state(w, old, ALLOCATION_REVOKING);
	set_state(w, old, ALLOCATION_QUARANTINE);
	set_state(w, old, ALLOCATION_FREE);
	assert_int_equal(buddy_free(w->buddies[0], 0, 4096), 0);
	fresh = add_block(w, session, 0, 4096, 0, 0);
	late = add_block(w, session, 0, 100, 1, 0);
	assert_ptr_equal(fresh, old);
	in = input(w);
	r = audit(w, &in, first);
	check_total(r, AUDIT_DEFINITE, 1, 8192);
	check_total(r, AUDIT_LIMBO, 2, 4196);
	assert_int_equal(r->nfindings, 2);
	assert_int_equal(r->findings[0].kind, AUDIT_DEFINITE);
	assert_int_equal(r->findings[1].kind, AUDIT_LIMBO);
	assert_int_equal(r->findings[1].unconfirmed, 2);
	assert_int_equal(audit_judge(&in, first, stays), AUDIT_DEFINITE);
	assert_int_equal(audit_judge(&in, first, late), AUDIT_LIMBO);
	audit_result_release(r);

	/* Definite before, alive again now: what counts is what is. */
	sessions_set_state(w->sessions, session, SESSION_CONNECTED, HOLDER_NO_EVIDENCE, NOW / 2);
	r = audit(w, &in, first);
	check_total(r, AUDIT_DEFINITE, 0, 0);
	check_total(r, AUDIT_REACHABLE, 3, 12388);
	audit_result_release(r);
	audit_scan_destroy(first);
}

static void test_merging(void **state)
{
	struct world *w = *state;
	uint32_t sessions[3], sites[3], forgotten = 5000;
	const struct audit_finding *f;
	struct audit_input in;
	struct audit_result *r;
	uint64_t id;

	for (unsigned i = 0; i < 3; i++) {
		sessions[i] = add_session(w);
		sites[i] = add_site(w, 0x1000ULL * (i + 1));
		sessions_set_state(
			w->sessions, sessions[i], SESSION_CLOSED, HOLDER_CLOSED, NOW / 2);
	}
	/* Site 0: 3 blocks of 2 holders on 2 nodes; site 1: more bytes; no site: least. */
	add_block(w, sessions[0], sites[0], 1000, 0, 30 * NSEC_PER_SEC);
	add_block(w, sessions[1], sites[0], 5000, 1, 20 * NSEC_PER_SEC);
	add_block(w, sessions[0], sites[0], 1000, 0, 10 * NSEC_PER_SEC);
	add_block(w, sessions[2], sites[1], 100000, 0, NSEC_PER_SEC);
	add_block(w, sessions[2], forgotten, 10, 0, NSEC_PER_SEC);
	add_block(w, sessions[2], 0, 20, 0, NSEC_PER_SEC);
	in = input(w);
	r = audit_twice(w, &in);
	assert_int_equal(r->nfindings, 3);
	assert_int_equal(r->allocations_without_site, 2);
	assert_int_equal(r->sessions_total, 3);
	assert_int_equal(r->findings[0].site, sites[1]);
	assert_int_equal(r->findings[2].site, 0);
	assert_int_equal(r->findings[2].blocks, 2);
	assert_int_equal(r->findings[2].bytes, 30);
	f = &r->findings[1];
	assert_int_equal(f->site, sites[0]);
	assert_int_equal(f->blocks, 3);
	assert_int_equal(f->bytes, 7000);
	assert_int_equal(f->block_bytes, 4096 + 8192 + 4096);
	assert_int_equal(f->birth_min_ns, NOW - 30 * NSEC_PER_SEC);
	assert_int_equal(f->birth_max_ns, NOW - 10 * NSEC_PER_SEC);
	assert_int_equal(f->age_sum_ms, 60 * 1000);
	assert_int_equal(f->nodes, 3);
	assert_int_equal(f->nholders, 2);
	assert_int_equal(f->holders[0].session, sessions[1]);
	assert_int_equal(f->holders[0].bytes, 5000);
	assert_int_equal(f->holders[1].session, sessions[0]);
	assert_int_equal(f->holders[1].blocks, 2);
	assert_int_equal(f->holders[1].bytes, 2000);
	assert_int_equal(f->holders[1].block_bytes, 8192);
	id = f->id;
	audit_result_release(r);

	/* More of the same, other holders and ages: the same id. Another kind: another one. */
	add_block(w, sessions[2], sites[0], 9, 0, 0);
	in = input(w);
	in.now_ns += NSEC_PER_SEC;
	r = audit_twice(w, &in);
	assert_int_equal(r->findings[1].site, sites[0]);
	assert_true(r->findings[1].id == id);
	assert_int_equal(r->findings[1].nholders, 3);
	audit_result_release(r);
	r = audit(w, &in, NULL);
	assert_int_equal(r->findings[1].kind, AUDIT_LIMBO);
	assert_true(r->findings[1].id != id);
	audit_result_release(r);
}

static void test_conservation(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	struct audit_input in;
	struct audit_result *r;
	uint64_t offset;

	add_block(w, session, 0, 4096, 0, 0);
	/* A block that the allocator has lent and nobody holds: exactly that is missing, on that node. */
	assert_int_equal(buddy_alloc(w->buddies[1], 16384, &offset), 0);
	in = input(w);
	r = audit_twice(w, &in);
	assert_int_equal(r->nodes[0].unaccounted_bytes, 0);
	assert_int_equal(r->nodes[1].unaccounted_bytes, 16384);
	audit_result_release(r);

	/* And one that is held while the allocator calls it free: the other way round. */
	assert_int_equal(buddy_free(w->buddies[1], offset, 16384), 0);
	assert_int_equal(buddy_free(w->buddies[0], 0, 4096), 0);
	in = input(w);
	r = audit(w, &in, NULL);
	assert_int_equal(r->nnodes, NODES);
	assert_int_equal(r->nodes[0].unaccounted_bytes, -4096);
	assert_int_equal(r->nodes[1].unaccounted_bytes, 0);
	audit_result_release(r);

	/* An allocation on a node that is not there. */
	in.nnodes = 1;
	in.nodes = w->nodes + 1;
	r = audit(w, &in, NULL);
	assert_int_equal(r->nnodes, 2);
	assert_int_equal(r->nodes[0].node, 0);
	assert_int_equal(r->nodes[0].registered_bytes, 0);
	assert_int_equal(r->nodes[0].unaccounted_bytes, -4096);
	assert_int_equal(r->nodes[1].node, 1);
	audit_result_release(r);
}

/* Births from a hostile file must not make sums wrap around. */
static void test_old_births(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	struct audit_input in;
	struct audit_result *r;

	for (unsigned i = 0; i < 4; i++)
		add_block(w, session, 0, 4096, 0, NOW);
	in = input(w);
	in.now_ns = UINT64_MAX;
	r = audit_twice(w, &in);
	assert_int_equal(r->findings[0].birth_min_ns, 0);
	assert_true(r->findings[0].age_sum_ms == 4 * (UINT64_MAX / NSEC_PER_MSEC));
	audit_result_release(r);
}

/* Many cells, and the same state gives the same result, field by field. */
static void test_same_state_same_result(void **state)
{
	struct world *w = *state;
	struct audit_result *a, *b;
	struct audit_input in;
	uint64_t seed = 42, planted = 0;
	uint32_t sessions[40], sites[20];

	for (unsigned i = 0; i < 40; i++) {
		sessions[i] = add_session(w);
		if (i % 2)
			sessions_set_state(
				w->sessions, sessions[i], SESSION_DEAD, HOLDER_PID_GONE, NOW / 2);
	}
	for (unsigned i = 0; i < 20; i++)
		sites[i] = add_site(w, i);
	for (unsigned i = 0; i < 3000; i++) {
		unsigned s = (unsigned)(seed >> 33) % 40;
		uint64_t bytes = 1 + (seed >> 20) % 20000;

		add_block(w, sessions[s], sites[(seed >> 40) % 20], bytes, (seed >> 50) & 1,
			(seed >> 10) % NOW);
		planted += s % 2 ? bytes : 0;
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	}
	in = input(w);
	a = audit_twice(w, &in);
	b = audit_twice(w, &in);
	assert_int_equal(a->totals[AUDIT_DEFINITE].bytes, planted);
	assert_int_equal(a->nfindings, 40);
	assert_int_equal(a->nfindings, b->nfindings);
	check_conserved(a);
	for (size_t i = 0; i < a->nfindings; i++) {
		struct audit_finding fa = a->findings[i], fb = b->findings[i];

		if (i > 0 && fa.kind == a->findings[i - 1].kind)
			assert_true(fa.bytes <= a->findings[i - 1].bytes);
		assert_int_equal(fa.nholders, fb.nholders);
		for (size_t h = 0; h < fa.nholders; h++) {
			assert_int_equal(
				fa.holders[h].session_serial, fb.holders[h].session_serial);
			assert_int_equal(fa.holders[h].bytes, fb.holders[h].bytes);
			if (h > 0)
				assert_true(fa.holders[h].bytes <= fa.holders[h - 1].bytes);
		}
		fa.holders = fb.holders = NULL;
		assert_memory_equal(&fa, &fb, sizeof(fa));
	}
	audit_result_release(a);
	audit_result_release(b);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(audit_kind_name(AUDIT_DEFINITE), "definite");
	assert_string_equal(audit_kind_name(AUDIT_SUPPRESSED), "suppressed");
	assert_string_equal(audit_kind_name(AUDIT_KINDS), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(test_empty),
		IN_WORLD(test_kinds),
		IN_WORLD(test_given_back_and_zombies),
		IN_WORLD(test_orphans),
		IN_WORLD(test_scans_must_agree),
		IN_WORLD(test_merging),
		IN_WORLD(test_conservation),
		IN_WORLD(test_old_births),
		IN_WORLD(test_same_state_same_result),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
