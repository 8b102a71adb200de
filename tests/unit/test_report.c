/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reports: every key of docs/ADMIN.md and no other, what the evidence says, hostile texts, and no
 * memory at any moment.
 */
#include "tests/support/world.h"

#include <errno.h>

#include "server/report.h"

#define SECOND NSEC_PER_SEC
#define MINUTE (60 * SECOND)
#define LATER (NOW + 60 * MINUTE)

/* What the callbacks say. */
struct stage {
	struct world *world;
	struct report_view view;
	struct report_node nodes[NODES];
	struct report_device device;
	uint32_t late_slot; /* the one session whose lease is late */
	unsigned page_calls;
};

static bool stage_lease(void *arg, uint32_t slot, enum lease_state *out, uint64_t *out_for_ms)
{
	const struct stage *s = arg;

	*out = slot == s->late_slot ? LEASE_LATE : LEASE_LIVE;
	*out_for_ms = 3000;
	return true;
}

static unsigned stage_channels(void *arg, uint32_t slot)
{
	(void)arg;
	return 10 + slot;
}

static void stage_pages(void *arg, uint64_t addr, uint64_t bytes, struct report_pages *out)
{
	struct stage *s = arg;

	s->page_calls++;
	assert_true(addr_is_remote(addr) && bytes % 4096 == 0);
	out->checked = bytes / 4096;
	out->on_node = out->checked - 1;
	out->elsewhere = 1;
}

static struct stage make_stage(struct world *w)
{
	struct stage s;

	memset(&s, 0, sizeof(s));
	s.world = w;
	s.late_slot = UINT32_MAX;
	s.device = (struct report_device){ "rxe0", "10.77.0.1", "region", "refused", "refused",
		"allowed" };
	input(w);
	for (unsigned i = 0; i < NODES; i++)
		s.nodes[i] = (struct report_node){ .given = w->nodes[i],
			.size_bytes = ARENA,
			.page_bytes = 4096,
			.largest_free_bytes = buddy_largest_free_bytes(w->buddies[i]) };
	s.view = (struct report_view){
		.ledger = w->ledger,
		.sessions = w->sessions,
		.sites = w->sites,
		.now_real_ns = LATER,
		.server = { .version = "0.1.0",
			.host = "n12",
			.data_dir = "/d",
			.admin_socket = "/a",
			.pid = 812,
			.port = 7471,
			.number = 1,
			.started_ns = NOW,
			.uptime_ms = 5000 },
		.nnodes = NODES,
		.ndevices = 1,
		.terms = { 10000, 86400000, 60000, BUDDY_MAX_BYTES, "pressure" },
		.counters = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 },
		.audits = { 8841, LATER, 1840 },
		.lease = stage_lease,
		.channels = stage_channels,
		.pages = stage_pages,
	};
	return s;
}

/* The stage's own addresses are only right where it stands in the end. */
static const struct report_view *view_of(struct stage *s)
{
	s->view.nodes = s->nodes;
	s->view.devices = &s->device;
	s->view.arg = s;
	return &s->view;
}

/* Exactly these keys, in this order. */
static void check_keys(const json_t *object, const char *keys)
{
	char have[1024] = "";
	const char *key;
	json_t *value;
	size_t n = 0;

	assert_true(json_is_object(object));
	json_object_foreach((json_t *)object, key, value)
	{
		n += (size_t)snprintf(have + n, sizeof(have) - n, "%s%s", n ? " " : "", key);
		assert_true(n < sizeof(have));
	}
	assert_string_equal(have, keys);
}

static const json_t *at(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!value)
		fail_msg("no %s", key);
	return value;
}

static const json_t *item(const json_t *object, const char *key, size_t i)
{
	const json_t *value = json_array_get(at(object, key), i);

	if (!value)
		fail_msg("no %s[%zu]", key, i);
	return value;
}

static json_int_t number(const json_t *object, const char *key)
{
	assert_true(json_is_integer(at(object, key)));
	return json_integer_value(at(object, key));
}

static const char *text(const json_t *object, const char *key)
{
	assert_true(json_is_string(at(object, key)));
	return json_string_value(at(object, key));
}

static const char *evidence(const json_t *record, size_t i)
{
	return json_string_value(item(record, "evidence", i));
}

#define SERVER_KEYS "version pid host port started_ns uptime_ms"
#define NODE_KEYS \
	"node registered_bytes live_bytes courtesy_bytes quarantine_bytes zombie_bytes " \
	"free_bytes " \
	"metadata_bytes unaccounted_bytes"
#define HOLDER_KEYS \
	"session state lease lease_since_ms pid host uid exe cmdline job evidence evidence_text " \
	"state_since_ns state_for_ms opened_ns seen_ns seen_ago_ms blocks bytes block_bytes"

static struct session_record *person(struct world *w, uint32_t slot, uint32_t pid, const char *exe)
{
	struct session_record *r = sessions_get(w->sessions, slot);

	r->identity.pid = pid;
	r->identity.uid = 1001;
	strcpy(r->identity.host, "n12");
	strcpy(r->identity.job, "etl-992");
	snprintf(r->identity.exe, sizeof(r->identity.exe), "%s", exe);
	return r;
}

static json_t *leaks(struct stage *s)
{
	const struct report_view *view = view_of(s);
	struct audit_input in = input(s->world);
	struct audit_result *result;
	json_t *answer;

	in.now_real_ns = view->now_real_ns;
	result = audit_twice(&in);
	answer = report_leaks(view, result);
	audit_result_destroy(result);
	assert_non_null(answer);
	return answer;
}

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
		"counters");
	check_keys(at(answer, "server"), SERVER_KEYS " data_dir admin_socket");
	check_keys(item(answer, "devices", 0),
		"name address protection other_queue_pair revoked_key outside_window");
	check_keys(item(answer, "nodes", 1), NODE_KEYS " page_bytes largest_free_bytes");
	check_keys(at(answer, "sessions"), "connected detached closed dead");
	check_keys(at(answer, "allocations"), "blocks bytes block_bytes");
	check_keys(at(answer, "counters"),
		"allocs frees attaches resumes expiries reclaimed_blocks reclaimed_bytes "
		"refused_requests");
	assert_int_equal(number(answer, "schema"), 1);
	assert_string_equal(text(answer, "report"), "status");
	assert_int_equal(number(item(answer, "nodes", 1), "live_bytes"), 8192);
	assert_int_equal(number(item(answer, "nodes", 1), "unaccounted_bytes"), 0);
	assert_int_equal(number(item(answer, "nodes", 1), "largest_free_bytes"), ARENA / 2);
	assert_int_equal(number(at(answer, "sessions"), "connected"), 1);
	assert_int_equal(number(at(answer, "sessions"), "dead"), 1);
	assert_int_equal(number(answer, "channels"), 10 + a + 10 + b);
	assert_int_equal(number(at(answer, "allocations"), "bytes"), 5000);
	assert_int_equal(number(at(answer, "counters"), "refused_requests"), 8);
	assert_int_equal(number(answer, "stalled_ms"), 10);
	assert_string_equal(text(item(answer, "devices", 0), "outside_window"), "allowed");
	json_decref(answer);
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
	assert_int_equal(sites_set_names(w->sites, &names), 0);
	add_block(w, session, site, 5000, 0, 0);
	add_block(w, session, site, 4096, 1, 0);
	sessions_set_state(
		w->sessions, session, SESSION_DEAD, HOLDER_PID_GONE, LATER - 11 * MINUTE);
	r->expired_ns = LATER - 650 * SECOND;
	s = make_stage(w);
	answer = leaks(&s);
	check_keys(answer, "schema report server audit coverage records summary nodes");
	check_keys(at(answer, "server"), SERVER_KEYS);
	check_keys(at(answer, "audit"), "serial time_ns scans_agreeing scans_needed duration_us");
	check_keys(at(answer, "coverage"),
		"allocations_total allocations_audited allocations_without_site orphans "
		"sessions_total sessions_not_scanned");
	check_keys(at(answer, "summary"),
		"definite indirect possible idle reachable limbo zombie suppressed");
	check_keys(item(answer, "nodes", 0), NODE_KEYS);
	assert_int_equal(json_array_size(at(answer, "records")), 1);
	record = item(answer, "records", 0);
	check_keys(record,
		"id kind blocks bytes block_bytes waste_bytes birth_min_ns birth_max_ns age_min_ms "
		"age_avg_ms age_max_ms nodes unconfirmed_blocks holders holders_total stack "
		"evidence");
	assert_int_equal(strlen(text(record, "id")), 8);
	assert_string_equal(text(record, "kind"), "definite");
	assert_int_equal(number(record, "waste_bytes"), 8192 + 4096 - 9096);
	assert_int_equal(number(record, "age_avg_ms"), 3600 * 1000);
	assert_int_equal(json_array_size(at(record, "nodes")), 2);
	holder = item(record, "holders", 0);
	check_keys(holder, HOLDER_KEYS);
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
	check_keys(item(record, "holders", 0), HOLDER_KEYS);
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
	in.now_real_ns = LATER;
	assert_int_equal(audit_run(&in, NULL, &result), 0);
	s.view.now_real_ns = LATER + MINUTE; /* when it is asked for has no influence */
	answer = report_leaks(view_of(&s), result);
	audit_result_destroy(result);
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
	assert_int_equal(sites_intern(w->sites, &f, &site), 0);
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
	assert_int_equal(sites_set_names(w->sites, &names), 0);
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

static void test_sessions(void **state)
{
	struct world *w = *state;
	struct stage s = make_stage(w);
	uint32_t slots[4];
	json_t *answer = report_sessions(view_of(&s));

	assert_int_equal(json_array_size(at(answer, "sessions")), 0);
	json_decref(answer);
	for (unsigned i = 0; i < 4; i++)
		slots[i] = add_session(w);
	person(w, slots[2], 7, "/bin/\xff\xfe\xc3[bad\x1b[31m");
	add_block(w, slots[2], 0, 9000, 0, 0);
	add_block(w, slots[1], 0, 100, 0, 0);
	add_block(w, slots[1], 0, 100, 0, 0);
	answer = report_sessions(view_of(&s));
	check_keys(answer, "schema report server sessions");
	check_keys(item(answer, "sessions", 0), HOLDER_KEYS " channels");
	assert_int_equal(number(item(answer, "sessions", 0), "block_bytes"), 16384);
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
	sessions_get(w->sessions, slots[0])->expired_ns = LATER - SECOND;
	answer = report_sessions(view_of(&s));
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
	answer = report_map(view_of(&s), 8, -1);
	check_keys(answer, "schema report server nodes blocks blocks_total");
	check_keys(item(answer, "nodes", 0),
		NODE_KEYS " size_bytes page_bytes largest_free_bytes pages_checked pages_on_node "
			  "pages_elsewhere pages_absent");
	assert_int_equal(json_array_size(at(answer, "blocks")), 8);
	assert_int_equal(number(answer, "blocks_total"), 11);
	assert_int_equal(s.page_calls, 8 + NODES);
	assert_int_equal(number(item(answer, "nodes", 1), "pages_checked"), ARENA / 4096);
	block = item(answer, "blocks", 0);
	check_keys(block, "addr node bytes block_bytes state session pid exe birth_ns age_ms "
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
	answer = report_map(view_of(&s), REPORT_MAP_LIMIT, 1);
	assert_int_equal(json_array_size(at(answer, "blocks")), 5);
	assert_int_equal(number(answer, "blocks_total"), 5);
	assert_int_equal(json_array_size(at(answer, "nodes")), NODES);
	assert_int_equal(number(item(answer, "blocks", 0), "node"), 1);
	assert_int_equal(number(item(answer, "blocks", 0), "pages_checked"), 0);
	json_decref(answer);
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

static void test_who_holds(void **state)
{
	struct world *w = *state;
	uint32_t session = add_session(w);
	const struct allocation *a;
	struct audit_input in;
	struct audit_scan *scan;
	struct stage s;
	json_t *answer;

	add_block(w, session, 0, 4096, 0, 0);
	a = add_block(w, session, add_site(w, 5), 5000, 0, 0);
	sessions_set_state(w->sessions, session, SESSION_CLOSED, HOLDER_CLOSED, NOW);
	s = make_stage(w);
	answer = report_who_holds(view_of(&s), a->addr + 4999);
	check_keys(answer, "schema report server addr allocation holder stack");
	check_keys(at(answer, "allocation"),
		"id addr offset_bytes node bytes block_bytes state kind birth_ns age_ms "
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
	assert_int_equal(audit_scan_create(&in, &scan), 0);
	s.view.scan = scan;
	answer = report_who_holds(view_of(&s), a->addr);
	assert_string_equal(text(at(answer, "allocation"), "kind"), "definite");
	json_decref(answer);
	audit_scan_destroy(scan);
	s.view.scan = NULL;

	check_refused(view_of(&s), 0x1000, "EINVAL",
		"0x1000 is no remote address: those begin with 0x9e");
	check_refused(view_of(&s), addr_make(2, 0, 0), "ENOENT",
		"0x9e02000000000000 is of server 2, and this is server 1: ask that one");
	check_refused(view_of(&s), addr_make(1, 0, ARENA), "ENOENT",
		"0x9e01000004000000 is outside of the pool: see rmemctl map");
	check_refused(view_of(&s), addr_make(1, 9, 0), "ENOENT",
		"0x9e01240000000000 is outside of the pool: see rmemctl map");
	check_refused(view_of(&s), addr_make(1, 1, 4096), "ENOENT",
		"nobody holds 0x9e01040000001000: it is free");
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

enum { STATUS, LEAKS, SESSIONS, MAP, WHO_HOLDS, ERROR, REPORTS };

static json_t *make(const struct report_view *view, const struct audit_result *result, int report)
{
	switch (report) {
	case STATUS:
		return report_status(view);
	case LEAKS:
		return report_leaks(view, result);
	case SESSIONS:
		return report_sessions(view);
	case MAP:
		return report_map(view, 10, -1);
	case WHO_HOLDS:
		return report_who_holds(view, addr_make(1, 0, 0));
	default:
		return report_error(-EINVAL, "\xff");
	}
}

/* The Nth allocation fails, for every N: never half an answer, never a crash, never a leak (asan). */
static void test_no_memory(void **state)
{
	struct world *w = *state;
	struct audit_result *result;
	struct audit_input in;
	struct stage s;

	for (unsigned i = 0; i < 3; i++)
		add_block(w, add_session(w), add_site(w, i), 100, 0, 0);
	s = make_stage(w);
	in = input(w);
	result = audit_twice(&in);
	json_set_alloc_funcs(limited_malloc, free);
	for (int report = 0; report < REPORTS; report++) {
		json_t *answer = NULL;
		unsigned long n;

		for (n = 0; !answer; n++) {
			allowance = n;
			answer = make(view_of(&s), result, report);
			assert_true(n < 10000);
			if (answer)
				assert_int_equal(allowance, 0);
		}
		assert_true(n > 5);
		json_decref(answer);
	}
	json_set_alloc_funcs(malloc, free);
	audit_result_destroy(result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(test_status),
		IN_WORLD(test_leaks),
		IN_WORLD(test_evidence),
		IN_WORLD(test_one_scan),
		IN_WORLD(test_many_holders),
		IN_WORLD(test_same_bytes),
		IN_WORLD(test_unresolved_frames),
		IN_WORLD(test_sessions),
		IN_WORLD(test_map),
		IN_WORLD(test_who_holds),
		cmocka_unit_test(test_error),
		IN_WORLD(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
