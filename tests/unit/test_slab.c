/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading what a session has written into its slab: where it is, and whether its call sites can be the session's. */
#include "tests/support/world.h"

#include "common/object_record.h"
#include "common/size_class.h"
#include "server/lease/slab.h"
#include "server/lease/session.h"

#define CLASS 8 /* slots of 64 bytes */
#define SLAB_BYTES 8192ULL
#define SLOTS ((uint32_t)(SLAB_BYTES / (64 + 8)))

static struct {
	_Alignas(4096) char memory[4 * 4096];
	struct pool pool;
	struct segment segment;
	struct leases leases;
	struct session sessions[4];
} in;

static uint64_t live(uint32_t site)
{
	const struct object_record r = { .state = OBJECT_LIVE, .generation = 1, .site = site };

	return object_record_pack(&r);
}

static uint64_t *record_at(const struct allocation *a, uint32_t slot)
{
	return (uint64_t *)(in.memory + addr_offset(a->addr) + (uint64_t)SLOTS * 64) + slot;
}

static const struct allocation *begin(struct world *w, uint32_t *out_session)
{
	memset(&in, 0, sizeof(in));
	in.pool.ledger = w->ledger;
	in.segment.arena.base = in.memory;
	in.pool.segments[64] = &in.segment; /* that of node 0 in add_block() */
	in.leases = (struct leases){
		.pool = &in.pool, .records = w->sessions, .sites = w->sites, .sessions = in.sessions
	};
	*out_session = add_session(w);
	in.sessions[*out_session].used = true;
	add_block(w, *out_session, 0, 8192, 0, 0);
	return add_slab(w, *out_session, CLASS, SLAB_BYTES, 0, 0);
}

static uint32_t tell_site(struct world *w, struct session *session, uint64_t offset)
{
	struct site_request f = { .nmodules = 1, .nframes = 1 };
	uint32_t site;

	f.modules[0].build_id[0] = 7;
	f.frames[0].offset = offset;
	assert_int_equal(sites_intern(w->sites, &session->sites, &f, &site), 0);
	return site;
}

static void test_place(void **state)
{
	uint32_t session;
	const struct allocation *a = begin(*state, &session);
	uint64_t words[SLOTS + 1];

	assert_int_equal(slab_slots(CLASS, SLAB_BYTES), SLOTS);
	assert_int_equal(addr_offset(a->addr), 8192);
	memset(in.memory, 0xee, sizeof(in.memory));
	for (uint32_t i = 0; i < SLOTS; i++)
		*record_at(a, i) = (uint64_t)i << 2 | OBJECT_FREED;
	words[SLOTS] = 77;
	slab_read(&in.leases, a, words, SLOTS);
	for (uint32_t i = 0; i < SLOTS; i++) {
		assert_true(words[i] == ((uint64_t)i << 2 | OBJECT_FREED));
		assert_true(slab_record(&in.leases, a, i) == words[i]);
	}
	assert_int_equal(words[SLOTS], 77);
}

static void test_sites(void **state)
{
	struct world *w = *state;
	uint32_t session;
	const struct allocation *a = begin(w, &session);
	struct session *holder = &in.sessions[session], other = { .used = true };
	const uint32_t own = tell_site(w, holder, 1), foreign = tell_site(w, &other, 2);
	uint64_t words[5];

	*record_at(a, 0) = live(0);
	*record_at(a, 1) = live(own);
	*record_at(a, 2) = live(foreign);
	*record_at(a, 3) = live(OBJECT_SITE_MAX);
	*record_at(a, 4) = object_record_with_state(live(foreign), OBJECT_FREED);
	slab_read(&in.leases, a, words, 5);
	assert_true(words[0] == live(0));
	assert_true(words[1] == live(own));
	assert_false(object_record_fits(words[2], OBJECT_BYTES_MAX));
	assert_false(object_record_fits(words[3], OBJECT_BYTES_MAX));
	assert_int_equal(object_record_state(words[4]), OBJECT_FREED);
	assert_true(slab_record(&in.leases, a, 2) == words[2]);

	/* It has given up its sites, or is another session: that they are not its own proves nothing. */
	holder->sites.over = true;
	assert_true(slab_record(&in.leases, a, 2) == live(foreign));
	holder->sites.over = false;
	assert_true(slab_record(&in.leases, a, 2) == words[2]);
	sessions_remove(w->sessions, session);
	assert_true(slab_record(&in.leases, a, 2) == live(foreign));
	assert_int_equal(add_session(w), session);
	assert_true(slab_record(&in.leases, a, 2) == live(foreign));
	sites_release(w->sites, &holder->sites);
	sites_release(w->sites, &other.sites);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(test_place),
		IN_WORLD(test_sites),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
