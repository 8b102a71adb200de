/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A world (tests/support/world.h) with all that a report asks for besides: devices, terms, counters, and callbacks
 * that say something known. And what its JSON must look like. Each test program includes this once.
 */
#ifndef RMEM_TESTS_STAGE_H
#define RMEM_TESTS_STAGE_H

#include "tests/support/world.h"

#include "server/admin/report.h"

#define SECOND NSEC_PER_SEC
#define MINUTE (60 * SECOND)
#define LATER (NOW + 60 * MINUTE)

/* What the callbacks say. */
struct stage {
	struct world *world;
	struct report_view view;
	struct report_node nodes[NODES];
	struct report_segment segments[NODES];
	struct report_device device;
	uint32_t late_slot; /* the one session whose lease is late */
	unsigned page_calls;
	audit_words_fn *words; /* of slabs; or NULL */
};

static inline bool stage_lease(
	void *arg, uint32_t slot, enum lease_state *out, uint64_t *out_for_ms)
{
	const struct stage *s = arg;

	*out = slot == s->late_slot ? LEASE_LATE : LEASE_LIVE;
	*out_for_ms = 3000;
	return true;
}

static inline unsigned stage_channels(void *arg, uint32_t slot)
{
	(void)arg;
	return 10 + slot;
}

static inline void stage_pages(void *arg, uint64_t addr, uint64_t bytes, struct report_pages *out)
{
	struct stage *s = arg;

	s->page_calls++;
	assert_true(addr_is_remote(addr) && bytes % 4096 == 0);
	out->checked = bytes / 4096;
	out->on_node = out->checked - 1;
	out->elsewhere = 1;
}

static inline struct stage make_stage(struct world *w)
{
	struct stage s;

	memset(&s, 0, sizeof(s));
	s.world = w;
	s.late_slot = UINT32_MAX;
	s.device = (struct report_device){ "rxe0", "10.77.0.1", "region", "refused", "refused",
		"allowed", "not for data that matters", 1 };
	input(w);
	for (unsigned i = 0; i < NODES; i++)
		s.nodes[i] = (struct report_node){ .given = w->nodes[i],
			.size_bytes = ARENA,
			.page_bytes = 4096,
			.largest_free_bytes = buddy_largest_free_bytes(w->buddies[i]),
			.cpus = 2 - i,
			.memory_bytes = 4 * ARENA,
			.latency_ns = i ? 90 : 0,
			.best_in = i ? 1 << PLACEMENT_CAPACITY | 1 << PLACEMENT_LATENCY : 0,
			.numastat = { 1 + i, 2, 3, 4, 5, 6 } };
	for (unsigned i = 0; i < NODES; i++)
		s.segments[i] = (struct report_segment){
			.number = 64 + i, .node = i, .size_bytes = ARENA, .blocks = w->buddies[i]
		};
	s.view = (struct report_view){
		.ledger = w->ledger,
		.sessions = w->sessions,
		.sites = w->sites,
		.now_ns = LATER,
		.now_real_ns = LATER,
		.server = { .version = "0.1.0",
			.host = "n12",
			.data_dir = "/d",
			.admin_socket = "/a",
			.pid = 812,
			.port = 7471,
			.started_ns = NOW,
			.uptime_ms = 5000 },
		.nnodes = NODES,
		.nsegments = NODES,
		.ndevices = 1,
		.terms = { 10000, 86400000, 60000, BLOCK_MAX_BYTES, "pressure" },
		.counters = { .allocs = 1,
			.frees = 2,
			.attaches = 3,
			.keys_given = 11,
			.resumes = 4,
			.expiries = 5,
			.reclaimed_blocks = 6,
			.reclaimed_bytes = 7,
			.refused_requests = 8,
			.stalls = 9,
			.stalled_ms = 10,
			.channels = 77 },
		.audits = { 8841, LATER, 1840 },
		.lease = stage_lease,
		.channels = stage_channels,
		.pages = stage_pages,
	};
	return s;
}

/* The stage's own addresses are only right where it stands in the end. */
static inline const struct report_view *view_of(struct stage *s)
{
	s->view.nodes = s->nodes;
	s->view.segments = s->segments;
	s->view.devices = &s->device;
	s->view.arg = s;
	return &s->view;
}

static inline struct session_record *person(
	struct world *w, uint32_t slot, uint32_t pid, const char *exe)
{
	struct session_record *r = plant(w->sessions, slot);

	r->identity.pid = pid;
	r->identity.uid = 1001;
	strcpy(r->identity.host, "n12");
	strcpy(r->identity.job, "etl-992");
	snprintf(r->identity.exe, sizeof(r->identity.exe), "%s", exe);
	return r;
}

/* All pieces of a report. */
static inline json_t *whole(struct stage *s, struct report *report)
{
	struct text text = { .at = NULL };
	json_t *answer;
	int more;

	assert_non_null(report);
	do
		more = report_write(report, view_of(s), &text);
	while (more == 1);
	assert_int_equal(more, 0);
	report_end(report);
	assert_int_equal(strlen(text.at), text.bytes);
	answer = json_loads(text.at, JSON_REJECT_DUPLICATES, NULL);
	free(text.at);
	assert_non_null(answer);
	return answer;
}

static inline json_t *leaks(struct stage *s)
{
	const struct report_view *view = view_of(s);
	struct audit_input in = input(s->world);
	struct audit_scan *first, *second;
	struct audit_result *result;
	json_t *answer;

	in.now_ns = view->now_ns;
	first = scan(s->world, &in);
	assert_int_equal(audit_whole_with(s->world->ledger, &in, first, AUDIT_FULL, s->words,
				 &second, &result),
		0);
	audit_scan_destroy(first);
	audit_scan_destroy(second);
	answer = whole(s, report_leaks(view, result, true));
	audit_result_release(result);
	assert_non_null(answer);
	return answer;
}

/* ---- JSON ---- */

/* Exactly these keys, in this order. */
static inline void check_keys(const json_t *object, const char *keys)
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

static inline const json_t *at(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!value)
		fail_msg("no %s", key);
	return value;
}

static inline const json_t *item(const json_t *object, const char *key, size_t i)
{
	const json_t *value = json_array_get(at(object, key), i);

	if (!value)
		fail_msg("no %s[%zu]", key, i);
	return value;
}

static inline json_int_t number(const json_t *object, const char *key)
{
	assert_true(json_is_integer(at(object, key)));
	return json_integer_value(at(object, key));
}

static inline const char *text(const json_t *object, const char *key)
{
	assert_true(json_is_string(at(object, key)));
	return json_string_value(at(object, key));
}

static inline const char *evidence(const json_t *record, size_t i)
{
	return json_string_value(item(record, "evidence", i));
}

#define SERVER_KEYS "version pid host port started_ns uptime_ms"
#define NODE_KEYS \
	"node registered_bytes live_bytes courtesy_bytes quarantine_bytes zombie_bytes " \
	"free_bytes cached_bytes " \
	"metadata_bytes unaccounted_bytes"
#define HOLDER_KEYS \
	"session state lease lease_since_ms pid host uid exe cmdline job evidence evidence_text " \
	"state_since_ns state_for_ms opened_ns seen_ns seen_ago_ms journal " \
	"journal_age_ms blocks bytes block_bytes"

#endif
