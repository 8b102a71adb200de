/* SPDX-License-Identifier: BSD-3-Clause */
/* The report of history: every key of docs/ADMIN.md and no other, what each says, and how many lines there are. */
#include "tests/support/stage.h"

#include "server/ledger/history.h"

#define HISTORY "history"
#define TOP_KEYS "schema report server lines_total unacknowledged lines"
#define LINE_KEYS \
	"id acknowledged taken_ns taken_ago_ms birth_min_ns blocks bytes block_bytes exe pid uid " \
	"host job session_serial session_state evidence state_ms site stack"

static struct history *open_history(struct world *w)
{
	struct history *h;

	assert_int_equal(history_open(&h, w->dir, HISTORY), 0);
	return h;
}

static void remove_history(struct world *w, struct history *h)
{
	history_close(h);
	unlinkat(w->dir, HISTORY, 0);
}

/* A site whose innermost frames have names; the second one has none, but the reason. */
static uint32_t add_named_site(struct world *w)
{
	struct site_names_request names;
	struct site_request frames;
	uint32_t site;

	memset(&frames, 0, sizeof(frames));
	frames.nmodules = 1;
	frames.nframes = 2;
	frames.frames[1].offset = 0x1234;
	assert_int_equal(sites_intern(w->sites, &w->holder, &frames, &site), 0);
	memset(&names, 0, sizeof(names));
	names.site = site;
	names.nnames = 2;
	strcpy(names.names[0].function, "ingest_batch");
	strcpy(names.names[0].file, "loader.c");
	names.names[0].line = 211;
	strcpy(names.names[1].file, "/usr/bin/a: No such file or directory");
	assert_int_equal(sites_set_names(w->sites, &w->holder, &names), 0);
	return site;
}

static void take(struct world *w, struct history *h, uint32_t session, uint32_t site,
	uint64_t bytes, uint64_t birth_ns, uint64_t now_ns)
{
	struct allocation a;

	memset(&a, 0, sizeof(a));
	a.state = ALLOCATION_LIVE;
	a.bytes = bytes;
	a.birth_ns = birth_ns;
	history_note(h, sessions_get(w->sessions, session), sites_get(w->sites, site), &a, now_ns);
}

static json_t *report(struct stage *s, const struct history *h, uint64_t limit)
{
	json_t *answer;

	s->view.history = h;
	answer = whole(s, report_reclaimed(view_of(s), limit));
	assert_non_null(answer);
	check_keys(answer, TOP_KEYS);
	assert_int_equal(number(answer, "schema"), 1);
	assert_string_equal(text(answer, "report"), "reclaimed");
	check_keys(at(answer, "server"), SERVER_KEYS);
	return answer;
}

static void check_counts(const json_t *answer, json_int_t total, json_int_t news, size_t listed)
{
	assert_int_equal(number(answer, "lines_total"), total);
	assert_int_equal(number(answer, "unacknowledged"), news);
	assert_int_equal(json_array_size(at(answer, "lines")), listed);
}

static void test_line(void **state)
{
	struct world *w = *state;
	struct history *h = open_history(w);
	uint32_t session = add_session(w), site = add_named_site(w);
	const struct session_record *r = person(w, session, 4411, "/usr/bin/ingestd");
	struct stage s = make_stage(w);
	const json_t *line, *frame;
	char hash[24];
	json_t *answer;

	sessions_set_state(w->sessions, session, SESSION_DEAD, HOLDER_PID_GONE, NOW + 10 * SECOND);
	take(w, h, session, site, 5000, NOW, NOW + 70 * SECOND);
	take(w, h, session, site, 4096, NOW - 5 * SECOND, NOW + 130 * SECOND);
	answer = report(&s, h, 10);
	check_counts(answer, 1, 1, 1);
	line = item(answer, "lines", 0);
	check_keys(line, LINE_KEYS);
	assert_int_equal(number(line, "id"), 1);
	assert_true(json_is_false(at(line, "acknowledged")));
	/* the stage's wall clock tells server time */
	assert_int_equal(number(line, "taken_ns"), NOW + 130 * SECOND);
	assert_int_equal(number(line, "taken_ago_ms"), (3600 - 130) * 1000);
	assert_int_equal(number(line, "birth_min_ns"), NOW - 5 * SECOND);
	assert_int_equal(number(line, "blocks"), 2);
	assert_int_equal(number(line, "bytes"), 9096);
	assert_int_equal(number(line, "block_bytes"), 8192 + 4096);
	assert_string_equal(text(line, "exe"), "/usr/bin/ingestd");
	assert_int_equal(number(line, "pid"), 4411);
	assert_int_equal(number(line, "uid"), 1001);
	assert_string_equal(text(line, "host"), "n12");
	assert_string_equal(text(line, "job"), "etl-992");
	assert_int_equal(number(line, "session_serial"), (json_int_t)r->serial);
	assert_string_equal(text(line, "session_state"), "dead");
	assert_string_equal(text(line, "evidence"), "pid gone, boot id same");
	assert_int_equal(number(line, "state_ms"), 120 * 1000);
	snprintf(
		hash, sizeof(hash), "%016llx", (unsigned long long)sites_get(w->sites, site)->hash);
	assert_string_equal(text(line, "site"), hash);
	assert_int_equal(json_array_size(at(line, "stack")), 2);
	frame = item(line, "stack", 0);
	check_keys(frame, "function file line");
	assert_string_equal(text(frame, "function"), "ingest_batch");
	assert_string_equal(text(frame, "file"), "loader.c");
	assert_int_equal(number(frame, "line"), 211);
	frame = item(line, "stack", 1);
	assert_string_equal(text(frame, "function"), "");
	assert_string_equal(text(frame, "file"), "/usr/bin/a: No such file or directory");
	assert_int_equal(number(frame, "line"), 0);
	json_decref(answer);
	remove_history(w, h);
}

/* The wall clock was set an hour forward: the time moves, and the durations do not. */
static void test_wall_clock(void **state)
{
	struct world *w = *state;
	struct history *h = open_history(w);
	struct stage s = make_stage(w);
	const json_t *line;
	json_t *answer;

	take(w, h, add_session(w), add_named_site(w), 100, NOW, NOW + MINUTE);
	s.view.now_real_ns = LATER + 60 * MINUTE;
	answer = report(&s, h, 1);
	line = item(answer, "lines", 0);
	assert_int_equal(number(line, "taken_ns"), NOW + 61 * MINUTE);
	assert_int_equal(number(line, "birth_min_ns"), NOW + 60 * MINUTE);
	assert_int_equal(number(line, "taken_ago_ms"), 59 * 60 * 1000);
	json_decref(answer);
	remove_history(w, h);
}

/* Without a site, without evidence, and with a state from the future: texts and zeros, never null. */
static void test_little_known(void **state)
{
	struct world *w = *state;
	struct history *h = open_history(w);
	uint32_t session = add_session(w);
	struct session_record *r = person(w, session, 0, "\xff\xfe");
	struct stage s = make_stage(w);
	const json_t *line;
	json_t *answer;

	r->state_since_ns = LATER + MINUTE;
	take(w, h, session, UINT32_MAX, 1, LATER + MINUTE, LATER + SECOND);
	answer = report(&s, h, 10);
	line = item(answer, "lines", 0);
	check_keys(line, LINE_KEYS);
	assert_string_equal(text(line, "exe"), "??");
	assert_string_equal(text(line, "site"), "");
	assert_int_equal(json_array_size(at(line, "stack")), 0);
	assert_string_equal(text(line, "session_state"), "connected");
	assert_string_equal(text(line, "evidence"), "lease over, may still exist");
	assert_int_equal(number(line, "state_ms"), 0);
	assert_int_equal(number(line, "taken_ago_ms"), 0);
	json_decref(answer);
	remove_history(w, h);
}

/* The newest first; limit leaves lines out, but of no number. */
static void test_limit_and_acknowledge(void **state)
{
	struct world *w = *state;
	struct history *h = open_history(w);
	uint32_t site = add_named_site(w);
	struct stage s = make_stage(w);
	json_t *answer;

	for (unsigned i = 0; i < 5; i++)
		take(w, h, add_session(w), site, 100, NOW, NOW + i * SECOND);
	assert_int_equal(history_acknowledge(h, 4), 0);
	answer = report(&s, h, UINT64_MAX);
	check_counts(answer, 5, 4, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(number(item(answer, "lines", i), "id"), 5 - i);
		assert_int_equal(
			json_is_true(at(item(answer, "lines", i), "acknowledged")), i == 1);
	}
	json_decref(answer);
	answer = report(&s, h, 2);
	check_counts(answer, 5, 4, 2);
	assert_int_equal(number(item(answer, "lines", 1), "id"), 4);
	json_decref(answer);
	assert_int_equal(history_acknowledge(h, HISTORY_ALL), 0);
	/* as acknowledge is answered */
	answer = report(&s, h, 0);
	check_counts(answer, 5, 0, 0);
	json_decref(answer);
	remove_history(w, h);
}

/* Before there is any history, and what the report of leaks counts. */
static void test_none_and_leaks(void **state)
{
	struct world *w = *state;
	struct history *h = open_history(w);
	struct stage s = make_stage(w);
	json_t *answer = report(&s, NULL, 10);

	check_counts(answer, 0, 0, 0);
	json_decref(answer);
	answer = report(&s, h, 10);
	check_counts(answer, 0, 0, 0);
	json_decref(answer);
	for (unsigned i = 0; i < 3; i++)
		take(w, h, add_session(w), 0, 100, NOW, NOW);
	assert_int_equal(history_acknowledge(h, 1), 0);
	answer = leaks(&s);
	assert_int_equal(number(at(answer, "coverage"), "unacknowledged"), 2);
	json_decref(answer);
	remove_history(w, h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_WORLD(test_line),
		IN_WORLD(test_wall_clock),
		IN_WORLD(test_little_known),
		IN_WORLD(test_limit_and_acknowledge),
		IN_WORLD(test_none_and_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
