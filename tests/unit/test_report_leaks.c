/* SPDX-License-Identifier: BSD-3-Clause */
/* The report of leaks: every key of docs/ADMIN.md and no other, and what the evidence says. */
#include "tests/support/stage.h"

#include "common/object_record.h"

/* All but the records. */
static void check_head(const json_t *answer)
{
	check_keys(answer, "schema report server audit coverage records summary nodes");
	check_keys(at(answer, "server"), SERVER_KEYS);
	check_keys(at(answer, "audit"),
		"serial time_ns scans_agreeing scans_needed duration_us age_ms made_now");
	check_keys(at(answer, "coverage"),
		"allocations_total allocations_audited allocations_without_site objects_total "
		"slabs_total slabs_unread corrupt_records orphans sessions_total "
		"sessions_not_scanned reclaimed_blocks reclaimed_bytes "
		"unacknowledged");
	assert_int_equal(number(at(answer, "coverage"), "reclaimed_blocks"), 6);
	assert_int_equal(number(at(answer, "coverage"), "reclaimed_bytes"), 7);
	check_keys(at(answer, "summary"),
		"definite indirect possible idle reachable limbo zombie suppressed");
	check_keys(item(answer, "nodes", 0), NODE_KEYS " miscounted");
	assert_true(json_is_false(at(item(answer, "nodes", 0), "miscounted")));
}

static void test_leaks(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w), site = add_site(w, 0x1234);
	struct session_record *r = person(w, session, 4411, "/usr/bin/ingestd");
	struct site_names_request names;
	struct stage s;
	const json_t *record, *holder, *frame;
	json_t *answer;

	memset(&names, 0, sizeof(names));
	names.site = site;
	names.nnames = 1;
	strcpy(names.names[0].function, "ingest_batch");
	strcpy(names.names[0].file, "loader.c");
	names.names[0].line = 211;
	assert_int_equal(sites_set_names(w->sites, &w->holder, &names), 0);
	add_block(w, session, site, 5000, 0, 0);
	add_block(w, session, site, 4096, 1, 0);
	sessions_set_state(
		w->sessions, session, SESSION_DEAD, HOLDER_PID_GONE, LATER - 11 * MINUTE);
	r->expired_ns = LATER - 650 * SECOND;
	s = make_stage(w);
	answer = leaks(&s);
	check_head(answer);
	assert_int_equal(json_array_size(at(answer, "records")), 1);
	record = item(answer, "records", 0);
	check_keys(record,
		"id kind blocks objects bytes block_bytes waste_bytes birth_min_ns birth_max_ns "
		"age_min_ms "
		"age_avg_ms age_max_ms nodes unconfirmed_blocks holders holders_total site stack "
		"journal journal_age_ms corrupt evidence");
	assert_int_equal(strlen(text(record, "id")), 8);
	assert_string_equal(text(record, "kind"), "definite");
	assert_int_equal(strtoull(text(record, "site"), NULL, 16), sites_get(w->sites, site)->hash);
	assert_int_equal(number(record, "waste_bytes"), 8192 + 4096 - 9096);
	assert_int_equal(number(record, "age_avg_ms"), 3600 * 1000);
	assert_int_equal(json_array_size(at(record, "nodes")), 2);
	holder = item(record, "holders", 0);
	check_keys(holder, HOLDER_KEYS " objects");
	assert_string_equal(text(holder, "state"), "dead");
	assert_string_equal(text(holder, "lease"), "courtesy");
	assert_int_equal(number(holder, "lease_since_ms"), 650 * 1000);
	assert_string_equal(text(holder, "evidence"), "pid-gone");
	assert_string_equal(text(holder, "evidence_text"), "pid gone, boot id same");
	assert_string_equal(text(holder, "job"), "etl-992");
	assert_int_equal(number(holder, "state_for_ms"), 660 * 1000);
	assert_int_equal(number(holder, "blocks"), 2);
	assert_int_equal(number(holder, "block_bytes"), 12288);
	assert_int_equal(json_array_size(at(record, "evidence")), 3);
	assert_string_equal(evidence(record, 0), "holder-dead 11m (pid gone, boot id same)");
	assert_string_equal(evidence(record, 1), "lease courtesy since 10m");
	assert_string_equal(evidence(record, 2), "definite 2/2 scans");
	frame = item(record, "stack", 0);
	check_keys(frame, "function file line module build_id offset");
	assert_string_equal(text(frame, "function"), "ingest_batch");
	assert_int_equal(number(frame, "line"), 211);
	assert_string_equal(text(frame, "offset"), "0x1234");
	assert_int_equal(number(at(at(answer, "summary"), "definite"), "bytes"), 9096);
	json_decref(answer);
}

/* Evidence of everything but the plain definite leak. */
static void test_evidence(void **state)
{
	struct world *w = *state;
	uint32_t late = add_session(w), closed[3], zombies = add_session(w), sites[5];
	const struct allocation *zombie;
	const json_t *record;
	struct stage s;
	json_t *answer;

	for (unsigned i = 0; i < 5; i++)
		sites[i] = add_site(w, i);
	for (unsigned i = 0; i < 3; i++) {
		closed[i] = add_session(w);
		sessions_set_state(w->sessions, closed[i], SESSION_CLOSED, HOLDER_CLOSED,
			LATER - (2 + i) * MINUTE);
		add_block(w, closed[i], sites[0], 100, 0, 0);
	}
	sessions_set_state(
		w->sessions, late, SESSION_DETACHED, HOLDER_NO_EVIDENCE, LATER - 8 * SECOND);
	add_block(w, late, sites[1], 100, 0, 0);
	zombie = add_block(w, zombies, sites[2], 100, 0, 0);
	set_state(w, zombie, ALLOCATION_REVOKING);
	set_state(w, zombie, ALLOCATION_ZOMBIE);
	add_block(w, zombies, sites[3], 100, 0, 0);
	add_block(w, 4711, sites[4], 100, 0, 0);
	s = make_stage(w);
	s.late_slot = late;
	answer = leaks(&s);
	assert_int_equal(json_array_size(at(answer, "records")), 5);

	record = item(answer, "records", 0);
	assert_int_equal(number(record, "holders_total"), 3);
	assert_string_equal(
		evidence(record, 0), "holder-closed 2m to 4m (closed without freeing), 3 holders");
	assert_string_equal(evidence(record, 1), "definite 2/2 scans");
	assert_string_equal(text(item(record, "holders", 0), "lease"), "none");

	record = item(answer, "records", 1); /* the orphan: definite too, smaller */
	assert_string_equal(
		evidence(record, 0), "no-session (its record is not there: a fault in rmemd)");
	check_keys(item(record, "holders", 0), HOLDER_KEYS " objects");
	assert_string_equal(text(item(record, "holders", 0), "state"), "unknown");

	record = item(answer, "records", 2);
	assert_string_equal(text(record, "kind"), "reachable");
	assert_string_equal(evidence(record, 0), "holder-connected");
	assert_string_equal(evidence(record, 1), "lease live");

	record = item(answer, "records", 3);
	assert_string_equal(text(record, "kind"), "limbo");
	assert_string_equal(evidence(record, 0), "holder-detached 8.0s (may come back)");
	assert_string_equal(evidence(record, 1), "lease late since 3.0s");

	record = item(answer, "records", 4);
	assert_string_equal(text(record, "kind"), "zombie");
	assert_string_equal(evidence(record, 0), "revoke not confirmed");
	assert_int_equal(number(at(answer, "coverage"), "sessions_not_scanned"), 1);
	json_decref(answer);
}

/* One scan alone calls nothing lost, and says what it would have. */
static void test_one_scan(void **state)
{
	struct world *w = *state;
	struct audit_input in;
	struct audit_result *result;
	const json_t *record;
	struct stage s;
	json_t *answer;

	for (unsigned i = 0; i < 2; i++) {
		uint32_t session = add_session(w);

		sessions_set_state(w->sessions, session, i ? SESSION_DETACHED : SESSION_CLOSED,
			i ? HOLDER_NO_EVIDENCE : HOLDER_CLOSED, LATER - MINUTE);
		for (unsigned n = 0; n < 3; n++)
			add_block(w, session, add_site(w, n == 0), 100, 0, 0);
	}
	s = make_stage(w);
	in = input(w);
	in.now_ns = LATER;
	result = audit(w, &in, NULL);
	s.view.now_ns = s.view.now_real_ns =
		LATER + MINUTE; /* when it is asked for has no influence */
	answer = whole(&s, report_leaks(view_of(&s), result, false));
	audit_result_release(result);
	assert_int_equal(number(at(answer, "audit"), "age_ms"), 60 * 1000);
	assert_true(json_is_false(at(at(answer, "audit"), "made_now")));
	assert_int_equal(number(at(at(answer, "summary"), "definite"), "blocks"), 0);
	assert_int_equal(json_array_size(at(answer, "records")), 2);
	record = item(answer, "records", 0);
	assert_int_equal(number(record, "unconfirmed_blocks"), 2);
	assert_int_equal(number(record, "age_min_ms"), 3600 * 1000);
	assert_int_equal(number(record, "age_avg_ms"), 3600 * 1000);
	assert_string_equal(evidence(record, 0), "holder-closed 60s (closed without freeing)");
	assert_string_equal(evidence(record, 1), "holder-detached 60s (may come back)");
	assert_string_equal(evidence(record, 3), "definite 1/2 scans (2 of 4 blocks)");
	json_decref(answer);
}

static void test_many_holders(void **state)
{
	struct world *w = *state;
	struct stage s;
	json_t *answer;

	for (unsigned i = 0; i < 20; i++)
		add_block(w, add_session(w), 0, 100 + i, 0, 0);
	s = make_stage(w);
	answer = leaks(&s);
	assert_int_equal(number(item(answer, "records", 0), "holders_total"), 20);
	assert_int_equal(json_array_size(at(item(answer, "records", 0), "holders")), 16);
	assert_int_equal(number(item(item(answer, "records", 0), "holders", 0), "bytes"), 119);
	assert_int_equal(json_array_size(at(item(answer, "records", 0), "stack")), 0);
	assert_string_equal(
		evidence(item(answer, "records", 0), 0), "holder-connected, 20 holders");
	json_decref(answer);
}

/* The same state, the same bytes. */
static void test_same_bytes(void **state)
{
	struct world *w = *state;
	char *first, *second;
	struct stage s;
	json_t *answer;

	for (unsigned i = 0; i < 60; i++) {
		uint32_t session = add_session(w);

		add_block(w, session, add_site(w, i % 7), 100, i % 2, 0);
		if (i % 3 == 0)
			sessions_set_state(
				w->sessions, session, SESSION_CLOSED, HOLDER_CLOSED, NOW);
	}
	s = make_stage(w);
	answer = leaks(&s);
	first = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	answer = leaks(&s);
	second = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	assert_string_equal(first, second);
	free(first);
	free(second);
}

static void test_unresolved_frames(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w), site;
	struct site_names_request names;
	struct site_request f;
	const json_t *stack, *frame;
	struct stage s;
	json_t *answer;

	memset(&f, 0, sizeof(f));
	f.nmodules = 2;
	f.nframes = 5;
	f.modules[0].build_id[0] = 0xab;
	strcpy(f.modules[0].path, "/usr/bin/a");
	for (unsigned i = 0; i < 5; i++)
		f.frames[i] = (struct site_frame){ .module = i == 3, .offset = i };
	assert_int_equal(sites_intern(w->sites, &w->holder, &f, &site), 0);
	add_block(w, session, site, 100, 0, 0);
	s = make_stage(w);
	answer = leaks(&s);
	frame = item(item(answer, "records", 0), "stack", 0);
	assert_true(json_is_null(at(frame, "function")) && json_is_null(at(frame, "line")));
	assert_string_equal(text(frame, "module"), "/usr/bin/a");
	assert_string_equal(text(frame, "build_id"), "ab00000000000000000000000000000000000000");
	assert_string_equal(text(frame, "why"), "the process was gone before it sent its names");
	json_decref(answer);

	memset(&names, 0, sizeof(names));
	names.site = site;
	names.nnames = 5;
	strcpy(names.names[2].file, "/usr/bin/a: No such file or directory");
	strcpy(names.names[4].file, "h.c");
	names.names[4].line = 7;
	strcpy(names.names[0].function, "f");
	strcpy(names.names[0].file, "f.c");
	names.names[0].line = 3;
	strcpy(names.names[1].function, "g");
	assert_int_equal(sites_set_names(w->sites, &w->holder, &names), 0);
	answer = leaks(&s);
	stack = item(answer, "records", 0);
	check_keys(item(stack, "stack", 0), "function file line module build_id offset");
	assert_string_equal(text(item(stack, "stack", 1), "why"), "no debug information for it");
	frame = item(stack, "stack", 2);
	assert_string_equal(text(frame, "why"), "/usr/bin/a: No such file or directory");
	assert_true(json_is_null(at(frame, "function")) && json_is_null(at(frame, "file")));
	assert_true(json_is_null(at(frame, "line")));
	frame = item(stack, "stack", 3);
	assert_string_equal(text(frame, "why"), "the address is in no file");
	assert_true(json_is_null(at(frame, "module")) && json_is_null(at(frame, "build_id")));
	frame = item(stack, "stack", 4);
	assert_string_equal(text(frame, "file"), "h.c");
	assert_string_equal(text(frame, "why"), "no symbol there");
	json_decref(answer);
}

/* Functions that were inlined are frames of their own, at the same place. */
static void test_inlined_frames(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w), site;
	struct site_names_request names;
	struct site_request f;
	const json_t *frame;
	struct stage s;
	json_t *answer;

	memset(&f, 0, sizeof(f));
	f.nmodules = 1;
	f.nframes = 2;
	f.frames[0].offset = 0x1000;
	f.frames[1].offset = 0x2000;
	assert_int_equal(sites_intern(w->sites, &w->holder, &f, &site), 0);
	memset(&names, 0, sizeof(names));
	names.site = site;
	names.nnames = 4;
	for (unsigned i = 0; i < 4; i++) {
		names.names[i] = (struct site_name){ .inlined = i < 2, .line = i + 1 };
		names.names[i].function[0] = (char)('a' + i);
		strcpy(names.names[i].file, "a.c");
	}
	assert_int_equal(sites_set_names(w->sites, &w->holder, &names), 0);
	add_block(w, session, site, 100, 0, 0);
	s = make_stage(w);
	answer = leaks(&s);
	assert_int_equal(json_array_size(at(item(answer, "records", 0), "stack")), 4);
	for (unsigned i = 0; i < 4; i++) {
		static const char *const functions[] = { "a", "b", "c", "d" };

		frame = item(item(answer, "records", 0), "stack", i);
		assert_string_equal(text(frame, "function"), functions[i]);
		assert_int_equal(json_integer_value(at(frame, "line")), i + 1);
		assert_string_equal(text(frame, "offset"), i < 3 ? "0x1000" : "0x2000");
		assert_int_equal(json_is_true(json_object_get(frame, "inlined")), i < 2);
	}
	json_decref(answer);
}

/* ---- objects ---- */

static uint64_t words[3][56]; /* of the slabs in the first pages */

static const uint64_t *words_of(const struct allocation *slab)
{
	return words[addr_offset(slab->addr) / 4096];
}

static void hold(unsigned slab, unsigned slot, uint32_t site)
{
	const struct object_record r = { .state = OBJECT_LIVE, .slack = 4, .site = site };

	words[slab][slot] = object_record_pack(&r);
}

static const json_t *find_record(const json_t *answer, const char *evidence_begins)
{
	json_t *record, *text;
	size_t i, j;

	json_array_foreach(at(answer, "records"), i, record)
	{
		json_array_foreach(at(record, "evidence"), j, text)
		{
			if (strncmp(json_string_value(text), evidence_begins,
				    strlen(evidence_begins)) == 0)
				return record;
		}
	}
	fail_msg("no evidence %s", evidence_begins);
	return NULL;
}

static void test_objects(void **state)
{
	struct world *w = *state;
	const uint32_t lazy = add_session(w), exact = add_session(w), site = add_site(w, 0x1234);
	struct stage s = make_stage(w);
	const json_t *record;
	json_t *answer;
	uint32_t late;

	memset(words, 0, sizeof(words));
	s.words = words_of;
	add_slab(w, lazy, 8, 4096, 0, 0);
	add_slab(w, exact, 8, 4096, 0, 0);
	hold(0, 1, site);
	hold(0, 2, site);
	sessions_set_journaled(w->sessions, lazy, NOW - 60 * SECOND);
	sessions_set_journal(w->sessions, exact, JOURNAL_EXACT);
	sessions_set_state(w->sessions, lazy, SESSION_DEAD, HOLDER_PID_GONE, NOW - 18 * SECOND);
	answer = leaks(&s);
	assert_int_equal(json_array_size(at(answer, "records")), 1);
	record = item(answer, "records", 0);
	assert_string_equal(text(record, "kind"), "definite");
	assert_int_equal(number(record, "blocks"), 2);
	assert_int_equal(number(record, "objects"), 2);
	assert_int_equal(number(record, "bytes"), 120);
	assert_int_equal(number(record, "waste_bytes"), 8);
	assert_string_equal(text(record, "journal"), "lazy");
	assert_int_equal(number(record, "journal_age_ms"), 42 * 1000);
	assert_true(json_is_null(at(record, "corrupt")));
	assert_int_equal(number(item(record, "holders", 0), "objects"), 2);
	assert_int_equal(number(item(record, "holders", 0), "journal_age_ms"), 42 * 1000);
	assert_string_equal(evidence(record, 2), "sites up to 42s old");
	assert_int_equal(number(at(answer, "coverage"), "objects_total"), 2);
	assert_int_equal(number(at(answer, "coverage"), "slabs_total"), 2);
	assert_int_equal(number(at(at(answer, "summary"), "definite"), "objects"), 2);
	assert_int_equal(number(item(answer, "nodes", 0), "cached_bytes"), (2 * 56 - 2) * 64);
	assert_int_equal(number(item(answer, "nodes", 0), "metadata_bytes"), 2 * 512);
	assert_int_equal(number(item(answer, "nodes", 0), "unaccounted_bytes"), 0);
	json_decref(answer);

	/* Both at one site, and of both kinds of journal. */
	sessions_set_state(w->sessions, exact, SESSION_DEAD, HOLDER_PID_GONE, NOW - 18 * SECOND);
	hold(1, 0, site);
	words[1][5] = UINT64_MAX;
	answer = leaks(&s);
	assert_int_equal(json_array_size(at(answer, "records")), 2);
	record = find_record(answer, "sites up to 42s old");
	assert_string_equal(text(record, "journal"), "mixed");
	assert_ptr_equal(record, find_record(answer, "journal exact"));
	record = find_record(answer, "journal-corrupt "
				     "(1 record in 1 slab, the first at 0x9e01000000001000)");
	assert_string_equal(text(record, "journal"), "exact");
	assert_int_equal(number(at(record, "corrupt"), "slabs"), 1);
	assert_string_equal(text(at(record, "corrupt"), "first_slab"), "0x9e01000000001000");
	assert_int_equal(number(at(answer, "coverage"), "corrupt_records"), 1);
	json_decref(answer);

	/* Of several, the oldest: here the first of the holders, which are listed by what they hold. */
	late = add_session(w);
	add_slab(w, late, 8, 4096, 0, 0);
	hold(2, 0, site);
	sessions_set_journaled(w->sessions, late, NOW - 20 * SECOND);
	sessions_set_state(w->sessions, late, SESSION_DEAD, HOLDER_PID_GONE, NOW - 18 * SECOND);
	answer = leaks(&s);
	record = find_record(answer, "sites up to 42s old");
	assert_int_equal(number(record, "journal_age_ms"), 42 * 1000);
	assert_int_equal(json_array_size(at(record, "holders")), 3);
	json_decref(answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(test_leaks),
		IN_WORLD(test_objects),
		IN_WORLD(test_evidence),
		IN_WORLD(test_one_scan),
		IN_WORLD(test_many_holders),
		IN_WORLD(test_same_bytes),
		IN_WORLD(test_unresolved_frames),
		IN_WORLD(test_inlined_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
