/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reports but that of leaks (test_report_leaks.c): every key of docs/ADMIN.md and no other, hostile texts; and
 * all of them without memory at any moment.
 */
#include "tests/support/stage.h"

#include "common/object_record.h"
#include "common/size_class.h"
#include "server/admin/report_quota.h"
#include "server/ledger/quotas.h"

#include <errno.h>

static void test_status(void **state)
{
	struct world *w = *state;
	struct stage s;
	json_t *answer;
	uint32_t a = add_session(w), b = add_session(w);

	add_block(w, a, 0, 5000, 1, 0);
	sessions_set_state(w->sessions, b, SESSION_DEAD, HOLDER_PID_GONE, NOW);
	s = make_stage(w);
	answer = report_status(view_of(&s));
	check_keys(answer,
		"schema report server devices nodes max_alloc_bytes sessions channels allocations "
		"ttl_ms "
		"courtesy_ms reclaim audit_interval_ms audits last_audit_ns stalls stalled_ms "
		"sites "
		"counters damage growth quotas");
	check_keys(at(answer, "damage"), "allocations sessions sites wiped_bytes");
	check_keys(at(answer, "growth"), "coming_bytes ready_bytes failure");
	check_keys(at(answer, "server"), SERVER_KEYS " data_dir admin_socket");
	check_keys(item(answer, "devices", 0),
		"name address protection other_queue_pair revoked_key outside_window caution node");
	check_keys(item(answer, "nodes", 1),
		NODE_KEYS " page_bytes largest_free_bytes cpus memory_bytes bandwidth_mib_s "
			  "latency_ns best_in");
	check_keys(at(answer, "sessions"), "connected detached closed dead");
	check_keys(at(answer, "allocations"), "blocks bytes block_bytes slabs");
	check_keys(at(answer, "counters"),
		"allocs frees attaches keys_given resumes expiries reclaimed_blocks "
		"reclaimed_bytes refused_requests");
	assert_int_equal(number(answer, "schema"), 1);
	assert_string_equal(text(answer, "report"), "status");
	assert_int_equal(number(item(answer, "nodes", 1), "live_bytes"), 8192);
	assert_int_equal(number(item(answer, "nodes", 1), "unaccounted_bytes"), 0);
	assert_int_equal(number(item(answer, "nodes", 1), "largest_free_bytes"), ARENA / 2);
	assert_int_equal(number(at(answer, "sessions"), "connected"), 1);
	assert_int_equal(number(at(answer, "sessions"), "dead"), 1);
	assert_int_equal(number(answer, "channels"), 77);
	assert_int_equal(number(at(answer, "allocations"), "bytes"), 5000);
	assert_int_equal(number(at(answer, "counters"), "attaches"), 3);
	assert_int_equal(number(at(answer, "counters"), "keys_given"), 11);
	assert_int_equal(number(at(answer, "counters"), "refused_requests"), 8);
	assert_int_equal(number(answer, "stalled_ms"), 10);
	assert_string_equal(text(item(answer, "devices", 0), "outside_window"), "allowed");
	assert_int_equal(number(item(answer, "devices", 0), "node"), 1);
	assert_true(json_is_null(at(item(answer, "nodes", 0), "latency_ns")));
	assert_int_equal(json_array_size(at(item(answer, "nodes", 0), "best_in")), 0);
	assert_int_equal(number(item(answer, "nodes", 1), "cpus"), 1);
	assert_int_equal(number(item(answer, "nodes", 1), "latency_ns"), 90);
	assert_string_equal(
		json_string_value(item(item(answer, "nodes", 1), "best_in", 1)), "latency");
	json_decref(answer);
	s.device.node = RANKING_NOWHERE;
	answer = report_status(view_of(&s));
	assert_true(json_is_null(at(item(answer, "devices", 0), "node")));
	json_decref(answer);
}

static void test_numastat(void **state)
{
	struct stage s = make_stage(*state);
	json_t *answer = report_numastat(view_of(&s));

	check_keys(answer, "schema report server nodes");
	check_keys(item(answer, "nodes", 0),
		"node numa_hit numa_miss numa_foreign interleave_hit local_node other_node");
	assert_int_equal(json_array_size(at(answer, "nodes")), NODES);
	assert_int_equal(number(item(answer, "nodes", 1), "node"), 1);
	assert_int_equal(number(item(answer, "nodes", 1), "numa_hit"), 2);
	assert_int_equal(number(item(answer, "nodes", 1), "other_node"), 6);
	json_decref(answer);
}

static uint64_t pieces(const json_t *answer, size_t node, size_t order)
{
	return (uint64_t)json_integer_value(
		item(item(answer, "nodes", node), "free_pieces", order));
}

/* The pieces of a node add up to what is free there. */
static void test_buddyinfo(void **state)
{
	struct world *w = *state;
	const uint32_t session = add_session(w);
	uint64_t bytes = 0;
	struct stage s;
	json_t *answer;

	add_block(w, session, 0, 4096, 1, 0);
	s = make_stage(w);
	answer = report_buddyinfo(view_of(&s));
	check_keys(answer, "schema report server nodes");
	check_keys(item(answer, "nodes", 0), "node free_pieces");
	assert_int_equal(json_array_size(at(item(answer, "nodes", 0), "free_pieces")), 20);
	assert_int_equal(pieces(answer, 1, 0), 1);
	assert_int_equal(pieces(answer, 1, 1), 1);
	for (unsigned order = 0; order < 20; order++)
		bytes += pieces(answer, 1, order) << order << 12;
	assert_int_equal(bytes, ARENA - 4096);
	json_decref(answer);
}

static void test_slabinfo(void **state)
{
	static const struct audit_result result = { .classes = { [8] = { .slabs = 3,
									 .active = 2,
									 .slab_bytes = 3 * 8192,
									 .slots = 3 * 110,
									 .objects = 100,
									 .bytes = 6000 } },
		.slabs_unread = 1 };
	struct stage s = make_stage(*state);
	json_t *answer = report_slabinfo(view_of(&s), &result);
	const json_t *class;

	check_keys(answer, "schema report server classes slabs_unread");
	assert_int_equal(json_array_size(at(answer, "classes")), 1);
	class = item(answer, "classes", 0);
	check_keys(class,
		"object_bytes slabs active_slabs slab_bytes slots objects bytes waste_bytes "
		"cached_bytes metadata_bytes");
	assert_int_equal(number(class, "object_bytes"), 64);
	assert_int_equal(number(class, "active_slabs"), 2);
	assert_int_equal(number(class, "waste_bytes"), 400);
	assert_int_equal(number(class, "cached_bytes"), 230 * 64);
	assert_int_equal(number(class, "slab_bytes"),
		number(class, "bytes") + number(class, "waste_bytes") +
			number(class, "cached_bytes") + number(class, "metadata_bytes"));
	assert_int_equal(number(answer, "slabs_unread"), 1);
	json_decref(answer);
}

static void test_sessions(void **state)
{
	struct world *w = *state;
	struct stage s = make_stage(w);
	uint32_t slots[4];
	json_t *answer = whole(&s, report_sessions(view_of(&s)));

	assert_int_equal(json_array_size(at(answer, "sessions")), 0);
	json_decref(answer);
	for (unsigned i = 0; i < 4; i++)
		slots[i] = add_session(w);
	person(w, slots[2], 7, "/bin/\xff\xfe\xc3[bad\x1b[31m");
	add_block(w, slots[2], 0, 9000, 0, 0);
	add_block(w, slots[1], 0, 100, 0, 0);
	add_block(w, slots[1], 0, 100, 0, 0);
	answer = whole(&s, report_sessions(view_of(&s)));
	check_keys(answer, "schema report server sessions");
	check_keys(item(answer, "sessions", 0), HOLDER_KEYS " slabs quota job_quota channels");
	assert_int_equal(number(item(answer, "sessions", 0), "block_bytes"), 12288);
	assert_int_equal(number(item(answer, "sessions", 0), "bytes"), 9000);
	assert_string_equal(text(item(answer, "sessions", 0), "exe"), "/bin/???[bad\x1b[31m");
	assert_int_equal(number(item(answer, "sessions", 1), "blocks"), 2);
	assert_int_equal(number(item(answer, "sessions", 0), "channels"), 10 + slots[2]);
	assert_int_equal(number(item(answer, "sessions", 1), "channels"), 10 + slots[1]);
	assert_string_equal(
		text(item(answer, "sessions", 2), "session"), "01000000000000000000000000000000");
	assert_string_equal(
		text(item(answer, "sessions", 3), "session"), "04000000000000000000000000000000");
	assert_string_equal(text(item(answer, "sessions", 3), "lease"), "live");
	assert_string_equal(text(item(answer, "sessions", 3), "evidence_text"), "");
	json_decref(answer);

	/* Without runtime state the record has to do. */
	s.view.lease = NULL;
	s.view.channels = NULL;
	sessions_set_expired(w->sessions, slots[0], LATER - SECOND);
	answer = whole(&s, report_sessions(view_of(&s)));
	assert_string_equal(text(item(answer, "sessions", 2), "lease"), "courtesy");
	assert_int_equal(number(item(answer, "sessions", 2), "lease_since_ms"), 1000);
	assert_string_equal(text(item(answer, "sessions", 3), "lease"), "none");
	assert_int_equal(number(item(answer, "sessions", 3), "channels"), 0);
	json_decref(answer);
}

static void test_map(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	const json_t *block;
	struct stage s;
	json_t *answer;

	person(w, session, 7, "/usr/bin/x");
	for (unsigned i = 0; i < 10; i++)
		add_block(w, session, 0, 8192, i % 2, 0);
	add_block(w, 4711, 0, 4096, 0, 0);
	s = make_stage(w);
	answer = whole(&s, report_map(view_of(&s), 8, -1));
	check_keys(answer, "schema report server nodes blocks blocks_total");
	check_keys(item(answer, "nodes", 0),
		NODE_KEYS " size_bytes page_bytes largest_free_bytes pages_checked pages_on_node "
			  "pages_elsewhere pages_absent");
	assert_int_equal(json_array_size(at(answer, "blocks")), 8);
	assert_int_equal(number(answer, "blocks_total"), 11);
	assert_int_equal(s.page_calls, 8 + NODES);
	assert_int_equal(number(item(answer, "nodes", 1), "pages_checked"), ARENA / 4096);
	block = item(answer, "blocks", 0);
	check_keys(block,
		"addr node bytes block_bytes slot_bytes state session pid exe birth_ns age_ms "
		"attached_sessions "
		"pages_checked pages_on_node");
	assert_string_equal(text(block, "addr"), "0x9e01000000000000");
	assert_string_equal(text(block, "exe"), "/usr/bin/x");
	assert_int_equal(number(block, "pages_checked"), 2);
	assert_int_equal(number(block, "pages_on_node"), 1);
	assert_string_equal(text(item(answer, "blocks", 1), "addr"), "0x9e01000000002000");
	block = item(answer, "blocks", 5);
	assert_true(json_is_null(at(block, "session")) && json_is_null(at(block, "pid")));
	json_decref(answer);

	s.view.pages = NULL;
	answer = whole(&s, report_map(view_of(&s), REPORT_MAP_LIMIT, 1));
	assert_int_equal(json_array_size(at(answer, "blocks")), 5);
	assert_int_equal(number(answer, "blocks_total"), 5);
	assert_int_equal(json_array_size(at(answer, "nodes")), NODES);
	assert_int_equal(number(item(answer, "blocks", 0), "node"), 1);
	assert_int_equal(number(item(answer, "blocks", 0), "pages_checked"), 0);
	json_decref(answer);
}

/* Blocks of all sizes, on both nodes, given back and lent again: always by address, whatever the limit. */
/* One more piece, and what the report says so far. */
static int write_piece(struct stage *s, struct report *r, struct text *text)
{
	int more = report_write(r, view_of(s), text);

	assert_true(more >= 0);
	return more;
}

/* Between two elements of a list the state may change: what is gone is left out, and nothing is listed twice. */
static void test_changes_between_pieces(void **state)
{
	struct world *w = *state;
	struct text sessions = { .at = NULL }, map = { .at = NULL }, whole_text = { .at = NULL };
	const struct allocation *blocks[4];
	struct report *r, *m, *whole_list;
	struct stage s;
	json_t *answer;

	for (unsigned i = 0; i < 4; i++)
		blocks[i] = add_block(w, add_session(w), 0, 4096, 0, 0);
	s = make_stage(w);
	r = report_sessions(view_of(&s));
	m = report_map(view_of(&s), 3, -1);
	whole_list = report_map(view_of(&s), 5, -1);
	assert_int_equal(write_piece(&s, whole_list, &whole_text), 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(write_piece(&s, r, &sessions), 1);
		assert_int_equal(write_piece(&s, m, &map), 1);
	}
	/* Of two that are listed already, and of two that are not, one each goes; another one comes. */
	for (unsigned i = 0; i < 4; i += 2) {
		const uint64_t offset = addr_offset(blocks[i]->addr);
		const uint32_t session = blocks[i]->session;

		set_state(w, blocks[i], ALLOCATION_REVOKING);
		set_state(w, blocks[i], ALLOCATION_QUARANTINE);
		set_state(w, blocks[i], ALLOCATION_FREE);
		assert_int_equal(buddy_free(w->buddies[0], offset, 4096), 0);
		sessions_remove(w->sessions, session);
		add_session(w);
	}
	while (write_piece(&s, r, &sessions))
		;
	while (write_piece(&s, m, &map))
		;
	while (write_piece(&s, whole_list, &whole_text))
		;
	report_end(r);
	report_end(m);
	report_end(whole_list);
	answer = json_loads(map.at, JSON_REJECT_DUPLICATES, NULL);
	assert_int_equal(json_array_size(at(answer, "blocks")), 3);
	assert_int_equal(number(answer, "blocks_total"), 3);
	json_decref(answer);
	answer = json_loads(whole_text.at, JSON_REJECT_DUPLICATES, NULL);
	assert_int_equal(json_array_size(at(answer, "blocks")), 2);
	assert_int_equal(number(answer, "blocks_total"), 2);
	json_decref(answer);
	answer = json_loads(sessions.at, JSON_REJECT_DUPLICATES, NULL);
	assert_in_range(json_array_size(at(answer, "sessions")), 2, 3);
	json_decref(answer);
	free(sessions.at);
	free(map.at);
	free(whole_text.at);
}

static void test_map_in_order(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	uint64_t last = 0, offset;
	struct stage s;
	json_t *all;

	for (unsigned i = 0; i < 200; i++) {
		const struct allocation *a =
			add_block(w, session, 0, 1 + i * 7919 % 30000, i * 13 % 3 == 0, 0);

		if (i % 3 == 0)
			continue;
		set_state(w, a, ALLOCATION_REVOKING);
		if (i % 3 == 1)
			continue;
		assert_int_equal(buddy_free(w->buddies[allocation_node(a)], addr_offset(a->addr),
					 allocation_block_bytes(a)),
			0);
		set_state(w, a, ALLOCATION_QUARANTINE);
		set_state(w, a, ALLOCATION_FREE);
	}
	assert_int_equal(buddy_alloc(w->buddies[0], 4096, &offset), 0); /* nobody's */
	s = make_stage(w);
	all = whole(&s, report_map(view_of(&s), REPORT_MAP_MAX, -1));
	assert_int_equal(json_array_size(at(all, "blocks")), ledger_count(w->ledger));
	assert_int_equal(number(all, "blocks_total"), ledger_count(w->ledger));
	for (uint64_t limit = 0; limit <= ledger_count(w->ledger); limit++) {
		json_t *answer = whole(&s, report_map(view_of(&s), limit, -1));

		assert_int_equal(json_array_size(at(answer, "blocks")), limit);
		assert_int_equal(number(answer, "blocks_total"), ledger_count(w->ledger));
		if (limit) {
			const json_t *block = item(answer, "blocks", limit - 1);
			uint64_t addr = strtoull(text(block, "addr"), NULL, 0);

			assert_true(addr > last);
			assert_true(json_equal(block, item(all, "blocks", limit - 1)));
			last = addr;
		}
		json_decref(answer);
	}
	json_decref(all);
}

static void check_refused(
	const struct report_view *view, uint64_t addr, const char *code, const char *message)
{
	json_t *answer = report_who_holds(view, addr);

	check_keys(answer, "schema error");
	assert_string_equal(text(at(answer, "error"), "code"), code);
	assert_string_equal(text(at(answer, "error"), "message"), message);
	json_decref(answer);
}

/* What an order takes: in sum, by session, and the one allocation. */
static void test_loss(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	const struct allocation *a = add_block(w, session, 0, 5000, 1, 0);
	struct report_loss loss = { .sessions = 3,
		.all = { 7, 6000, 16384, 0 },
		.losers = { { session, { 2, 5000, 8192, 0 } } },
		.nlosers = 1 };
	struct stage s = make_stage(w);
	json_t *answer;

	person(w, session, 4411, "/usr/bin/ingestd");
	answer = report_loss(view_of(&s), "reclaim", true, &loss);
	check_keys(answer,
		"schema report server preview sessions_total blocks bytes block_bytes holders");
	check_keys(item(answer, "holders", 0), HOLDER_KEYS);
	assert_string_equal(text(answer, "report"), "reclaim");
	assert_true(json_is_true(at(answer, "preview")));
	assert_int_equal(number(answer, "sessions_total"), 3);
	assert_int_equal(number(answer, "blocks"), 7);
	assert_int_equal(number(answer, "bytes"), 6000);
	assert_int_equal(number(answer, "block_bytes"), 16384);
	assert_int_equal(number(item(answer, "holders", 0), "pid"), 4411);
	assert_int_equal(number(item(answer, "holders", 0), "bytes"), 5000);
	json_decref(answer);
	loss.allocation = a;
	answer = report_loss(view_of(&s), "revoke", false, &loss);
	assert_true(json_is_false(at(answer, "preview")));
	check_keys(at(answer, "allocation"),
		"id addr node bytes block_bytes birth_ns age_ms attached_sessions");
	assert_int_equal(number(at(answer, "allocation"), "id"), a->serial);
	assert_int_equal(number(at(answer, "allocation"), "block_bytes"), 8192);
	assert_int_equal(number(at(answer, "allocation"), "age_ms"), 3600 * 1000);
	json_decref(answer);
	answer = report_log_level(view_of(&s), "debug", "info");
	check_keys(answer, "schema report server level was");
	json_decref(answer);
}

static const json_t *path(const json_t *answer, const char *first, const char *second)
{
	return at(at(answer, first), second);
}

static unsigned three_windows(void *arg, uint32_t slot)
{
	(void)arg;
	(void)slot;
	return 3;
}

static void test_quotas(void **state)
{
	static const char kinds[] = "bytes blocks objects windows";
	struct world *w = *state;
	struct stage s = make_stage(w);
	struct quota_rules rules = { .nnamed = 0 };
	const uint32_t slot = add_session_of(w, "etl", 7);
	struct errinfo errinfo;
	const json_t *item0;
	json_t *answer;

	s.view.windows = three_windows;
	add_block(w, slot, 0, 5000, 0, 0);
	add_slab(w, slot, 8, 4096, 0, 0);
	assert_int_equal(quota_set_session(&rules, "bytes=1M,windows=4", &errinfo), 0);
	assert_int_equal(quota_set_job(&rules, "blocks=9", &errinfo), 0);
	assert_int_equal(quota_set_job(&rules, "etl:objects=1000", &errinfo), 0);
	ledger_set_quotas(w->ledger, &rules);
	answer = report_quota(view_of(&s));
	check_keys(answer, "schema report server quotas jobs_total jobs");
	check_keys(at(answer, "quotas"), "session job named");
	assert_int_equal(number(path(answer, "quotas", "session"), "bytes"), 1 << 20);
	assert_true(json_is_null(at(path(answer, "quotas", "session"), "blocks")));
	assert_int_equal(number(path(answer, "quotas", "job"), "blocks"), 9);
	item0 = json_array_get(path(answer, "quotas", "named"), 0);
	check_keys(item0, "job limit");
	check_keys(at(item0, "limit"), kinds);
	assert_int_equal(number(at(item0, "limit"), "blocks"), 9);
	assert_int_equal(number(answer, "jobs_total"), 1);
	check_keys(item(answer, "jobs", 0), "job uid sessions quota");
	assert_string_equal(text(item(answer, "jobs", 0), "job"), "etl");
	assert_int_equal(number(item(answer, "jobs", 0), "uid"), 7);
	check_keys(path(item(answer, "jobs", 0), "quota", "used"), kinds);
	assert_int_equal(number(path(item(answer, "jobs", 0), "quota", "used"), "bytes"), 12288);
	assert_int_equal(number(path(item(answer, "jobs", 0), "quota", "limit"), "objects"), 1000);
	json_decref(answer);

	answer = whole(&s, report_sessions(view_of(&s)));
	item0 = item(answer, "sessions", 0);
	assert_int_equal(number(path(item0, "quota", "used"), "blocks"), 2);
	assert_int_equal(number(path(item0, "quota", "used"), "objects"), 1 + slab_slots(8, 4096));
	assert_int_equal(number(path(item0, "quota", "limit"), "windows"), 4);
	assert_int_equal(number(path(item0, "job_quota", "limit"), "blocks"), 9);
	json_decref(answer);
}

/* The third slot of a slab of 64-byte slots holds an object. */
static uint64_t third_slot;
static uint64_t stage_record(void *arg, const struct allocation *slab, uint32_t slot)
{
	(void)arg;
	assert_int_equal(slab->size_class, 8);
	assert_in_range(slot, 0, slab_slots(8, slab->bytes) - 1);
	return slot == 2 ? third_slot : 0;
}

static void test_who_holds_an_object(void **state)
{
	struct world *w = *state;
	const uint32_t session = add_session(w), site = add_site(w, 5);
	const struct allocation *a = add_slab(w, session, 8, 4096, 0, 0);
	const struct object_record held = {
		.state = OBJECT_LIVE, .generation = 9, .slack = 4, .site = site, .birth_s = 100
	};
	struct stage s = make_stage(w);
	const json_t *object;
	json_t *answer;

	third_slot = object_record_pack(&held);
	s.view.record = stage_record;
	sessions_set_journaled(w->sessions, session, NOW - 20 * SECOND);
	answer = report_who_holds(view_of(&s), a->addr + 2 * 64 + 7);
	object = at(answer, "object");
	check_keys(object, "addr offset_bytes slot slot_bytes bytes state generation birth_ns "
			   "age_ms");
	assert_string_equal(text(object, "addr"), "0x9e01000000000080");
	assert_int_equal(number(object, "offset_bytes"), 7);
	assert_int_equal(number(object, "slot"), 2);
	assert_int_equal(number(object, "slot_bytes"), 64);
	assert_int_equal(number(object, "bytes"), 60);
	assert_string_equal(text(object, "state"), "live");
	assert_int_equal(number(object, "generation"), 9);
	assert_int_equal(
		number(object, "age_ms"), (s.view.now_ns - NOW / 2 - 100 * SECOND) / NSEC_PER_MSEC);
	assert_int_equal(json_array_size(at(answer, "stack")), 1);
	assert_string_equal(text(at(answer, "holder"), "journal"), "lazy");
	assert_int_equal(number(at(answer, "holder"), "journal_age_ms"),
		(s.view.now_ns - NOW + 20 * SECOND) / NSEC_PER_MSEC);
	assert_int_equal(number(at(answer, "allocation"), "slot_bytes"), 64);
	json_decref(answer);

	/* Its sites mean nothing any more. */
	sessions_set_no_sites(w->sessions, session);
	sessions_set_journal(w->sessions, session, JOURNAL_EXACT);
	answer = report_who_holds(view_of(&s), a->addr + 2 * 64);
	assert_int_equal(json_array_size(at(answer, "stack")), 0);
	assert_string_equal(text(at(answer, "holder"), "journal"), "exact");
	assert_int_equal(number(at(answer, "holder"), "journal_age_ms"), 0);
	json_decref(answer);

	third_slot = UINT64_MAX;
	answer = report_who_holds(view_of(&s), a->addr + 2 * 64);
	assert_string_equal(text(at(answer, "object"), "state"), "corrupt");
	json_decref(answer);
	answer = report_who_holds(view_of(&s), a->addr + 3 * 64);
	assert_string_equal(text(at(answer, "object"), "state"), "unused");
	assert_int_equal(number(at(answer, "object"), "bytes"), 0);
	json_decref(answer);
	/* The records, behind the last slot. */
	answer = report_who_holds(view_of(&s), a->addr + 4095);
	assert_true(json_is_null(at(answer, "object")));
	json_decref(answer);
	set_state(w, a, ALLOCATION_REVOKING);
	answer = report_who_holds(view_of(&s), a->addr);
	assert_true(json_is_null(at(answer, "object")));
	json_decref(answer);
}

static void test_who_holds(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	const struct allocation *a;
	struct audit_input in;
	struct audit_scan *last;
	struct stage s;
	json_t *answer;

	add_block(w, session, 0, 4096, 0, 0);
	a = add_block(w, session, add_site(w, 5), 5000, 0, 0);
	sessions_set_state(w->sessions, session, SESSION_CLOSED, HOLDER_CLOSED, NOW);
	s = make_stage(w);
	answer = report_who_holds(view_of(&s), a->addr + 4999);
	check_keys(answer, "schema report server addr allocation object holder stack");
	check_keys(at(answer, "allocation"),
		"id addr offset_bytes node bytes block_bytes slot_bytes state kind birth_ns age_ms "
		"attached_sessions");
	check_keys(at(answer, "holder"), HOLDER_KEYS);
	assert_int_equal(number(at(answer, "allocation"), "id"), 2);
	assert_int_equal(number(at(answer, "allocation"), "offset_bytes"), 4999);
	assert_string_equal(text(at(answer, "allocation"), "kind"), "limbo");
	assert_int_equal(number(at(answer, "holder"), "blocks"), 2);
	assert_int_equal(json_array_size(at(answer, "stack")), 1);
	json_decref(answer);

	/* Only what the last audit saw too is called a leak. */
	in = input(w);
	last = scan(w, &in);
	s.view.scan = last;
	answer = report_who_holds(view_of(&s), a->addr);
	assert_string_equal(text(at(answer, "allocation"), "kind"), "definite");
	json_decref(answer);
	audit_scan_destroy(last);
	s.view.scan = NULL;

	answer = report_who_holds(view_of(&s), a->addr);
	assert_true(json_is_null(at(answer, "object")));
	json_decref(answer);
	check_refused(view_of(&s), 0x1000, "EINVAL",
		"0x1000 is no remote address: those begin with 0x9e");
	check_refused(view_of(&s), addr_make(0, 0), "ERANGE",
		"0x9e00000000000000 is outside of the pool: see rmemctl map");
	check_refused(view_of(&s), addr_make(64, ARENA), "ERANGE",
		"0x9e01000004000000 is outside of the pool: see rmemctl map");
	check_refused(view_of(&s), addr_make(73, 0), "ERANGE",
		"0x9e01240000000000 is outside of the pool: see rmemctl map");
	check_refused(view_of(&s), addr_make(65, 4096), "ENOENT",
		"nobody holds 0x9e01040000001000: it is free");
}

/* Somebody sets the wall clock: ages stay, and times are told by what it shows now. */
static void test_another_wall_clock(void **state)
{
	static const uint64_t day = 24 * 60 * MINUTE;
	struct world *w = *state;
	uint32_t session = add_session(w);
	const struct allocation *a = add_block(w, session, 0, 4096, 0, 0);

	for (unsigned i = 0; i < 3; i++) {
		const uint64_t walls[] = { LATER + day, LATER - 50 * MINUTE, MINUTE };
		struct stage s = make_stage(w);
		json_t *answer;

		s.view.now_real_ns = walls[i];
		answer = report_who_holds(view_of(&s), a->addr);
		assert_int_equal(number(at(answer, "allocation"), "age_ms"), 60 * 60 * 1000);
		assert_int_equal(number(at(answer, "allocation"), "birth_ns"),
			walls[i] > 60 * MINUTE ? walls[i] - 60 * MINUTE : 1);
		json_decref(answer);
		answer = leaks(&s);
		assert_int_equal(number(at(answer, "audit"), "time_ns"), walls[i]);
		json_decref(answer);
		s.view.audits.last_ns = 0;
		answer = report_status(view_of(&s));
		assert_int_equal(number(answer, "last_audit_ns"), 0);
		json_decref(answer);
	}
}

static void test_error(void **state)
{
	json_t *answer = report_error(-ENOENT, "n\xc3\xb6 \xff");

	(void)state;
	assert_string_equal(text(at(answer, "error"), "code"), "ENOENT");
	assert_string_equal(text(at(answer, "error"), "message"), "n?? ?");
	json_decref(answer);
	answer = report_error(EINVAL, "x");
	assert_string_equal(text(at(answer, "error"), "code"), "EINVAL");
	json_decref(answer);
	answer = report_error(-123456, "x");
	assert_string_equal(text(at(answer, "error"), "code"), "EIO");
	json_decref(answer);
}

/* ---- no memory ---- */

static unsigned long allowance; /* allocations that jansson still gets */

static void *limited_malloc(size_t size)
{
	if (allowance == 0)
		return NULL;
	allowance--;
	return malloc(size);
}

enum {
	STATUS,
	LEAKS,
	SESSIONS,
	MAP,
	WHO_HOLDS,
	AUDIT,
	LOSS,
	LOG_LEVEL,
	QUOTA,
	NUMASTAT,
	BUDDYINFO,
	SLABINFO,
	ERROR,
	REPORTS
};

static struct report *make(
	const struct report_view *view, const struct audit_result *result, int report)
{
	switch (report) {
	case STATUS:
		return report_of(report_status(view));
	case LEAKS:
		return report_leaks(view, result, false);
	case SESSIONS:
		return report_sessions(view);
	case MAP:
		return report_map(view, 10, -1);
	case AUDIT:
		return report_of(report_audit(view, result));
	case LOSS:
		return report_of(report_loss(view, "evict", true,
			&(struct report_loss){ .sessions = 1,
				.nlosers = 1,
				.allocation =
					ledger_find_containing(view->ledger, addr_make(64, 0)) }));
	case LOG_LEVEL:
		return report_of(report_log_level(view, "debug", "info"));
	case QUOTA:
		return report_of(report_quota(view));
	case NUMASTAT:
		return report_of(report_numastat(view));
	case BUDDYINFO:
		return report_of(report_buddyinfo(view));
	case SLABINFO:
		return report_of(report_slabinfo(view, result));
	case WHO_HOLDS:
		return report_of(report_who_holds(view, addr_make(64, 0)));
	default:
		return report_of(report_error(-EINVAL, "\xff"));
	}
}

/* Its text, or NULL when one piece of it or all of it fails. */
static char *make_text(const struct report_view *view, const struct audit_result *result, int kind)
{
	struct report *r = make(view, result, kind);
	struct text text = { .at = NULL };
	int more;

	if (!r)
		return NULL;
	while ((more = report_write(r, view, &text)) > 0)
		;
	report_end(r);
	assert_true(more == 0 || more == -ENOMEM);
	if (more == 0)
		return text.at;
	free(text.at);
	return NULL;
}

/* The Nth allocation fails, for every N: never half an answer, never a crash, never a leak (asan). */
static void test_no_memory(void **state)
{
	struct world *w = *state;
	struct audit_result *result;
	struct audit_input in;
	struct stage s;

	for (unsigned i = 0; i < 3; i++)
		add_block(w, add_session_of(w, "job", i), add_site(w, i), 100, 0, 0);
	s = make_stage(w);
	in = input(w);
	result = audit_twice(w, &in);
	json_set_alloc_funcs(limited_malloc, free);
	for (int report = 0; report < REPORTS; report++) {
		char *text = NULL;
		unsigned long n;

		for (n = 0; !text; n++) {
			allowance = n;
			text = make_text(view_of(&s), result, report);
			assert_true(n < 10000);
			if (text)
				assert_int_equal(allowance, 0);
		}
		assert_true(n > 5);
		free(text);
	}
	json_set_alloc_funcs(malloc, free);
	audit_result_release(result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(test_status),
		IN_WORLD(test_numastat),
		IN_WORLD(test_buddyinfo),
		IN_WORLD(test_slabinfo),
		IN_WORLD(test_sessions),
		IN_WORLD(test_map),
		IN_WORLD(test_changes_between_pieces),
		IN_WORLD(test_map_in_order),
		IN_WORLD(test_loss),
		IN_WORLD(test_quotas),
		IN_WORLD(test_who_holds),
		IN_WORLD(test_who_holds_an_object),
		IN_WORLD(test_another_wall_clock),
		cmocka_unit_test(test_error),
		IN_WORLD(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
