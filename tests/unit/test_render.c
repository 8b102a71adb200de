/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Golden tests: tests/golden/NAME.json in, tests/golden/NAME.txt out, byte by byte, and the verdict
 * that the exit status is made from. With RMEM_GOLDEN_UPDATE=1 the expected texts are written anew:
 * read the difference before you commit it.
 *
 * Then the same answers cut short, with bytes changed and with every value replaced by one of another
 * type: whatever comes, the renderer says 0 or -EBADMSG and nothing else happens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/menu.h"
#include "ctl/render.h"
#include "ctl/reply.h"
#include "ctl/select.h"
#include "ctl/verdict.h"
#include "tests/support/random.h"

#define GOLDEN TESTS_DIR "/golden/"
#define BYTE_MUTATIONS 50 /* per answer; tests/fuzz/fuzz_reply.c does more */

struct golden {
	const char *input, *expected;
	enum report report;
	int verdict; /* 0 clean, 1 leaks, negative: refused */
	struct view view;
};

/* VIEW_INIT with other values. */
#define VIEW(...) \
	{ \
		.kinds = KINDS_DEFAULT, .node = -1, __VA_ARGS__ \
	}

static const struct golden goldens[] = {
	{ "leaks-kinds", "leaks-kinds", REPORT_LEAKS, 1, VIEW_INIT },
	{ "leaks-kinds", "leaks-kinds-all", REPORT_LEAKS, 1, { .kinds = KINDS_ALL, .node = -1 } },
	{ "leaks-kinds", "leaks-kinds-limbo", REPORT_LEAKS, 1,
		{ .kinds = KIND_BIT(KIND_LIMBO), .node = -1 } },
	{ "leaks-kinds", "leaks-kinds-top", REPORT_LEAKS, 1, VIEW(.limit = 1) },
	{ "leaks-kinds", "leaks-kinds-older", REPORT_LEAKS, 1, VIEW(.older_ms = 400000) },
	{ "leaks-kinds", "leaks-kinds-large", REPORT_LEAKS, 1, VIEW(.min_bytes = 1048576) },
	{ "leaks-kinds", "leaks-kinds-host", REPORT_LEAKS, 1, VIEW(.host = "n13") },
	{ "leaks-kinds", "leaks-kinds-session", REPORT_LEAKS, 1, VIEW(.session = "ab") },
	{ "leaks-kinds", "leaks-kinds-nothing", REPORT_LEAKS, 1, VIEW(.site = "nobody") },
	{ "leaks-kinds", "leaks-kinds-sorted", REPORT_LEAKS, 1, VIEW(.sort = "blocks") },
	{ "leaks-clean", "leaks-clean", REPORT_LEAKS, 0, VIEW_INIT },
	{ "leaks-unaccounted", "leaks-unaccounted", REPORT_LEAKS, 1, VIEW_INIT },
	{ "leaks-miscounted", "leaks-miscounted", REPORT_LEAKS, 1, VIEW_INIT },
	{ "leaks-unresolved", "leaks-unresolved", REPORT_LEAKS, 1, VIEW_INIT },
	{ "leaks-empty-pool", "leaks-empty-pool", REPORT_LEAKS, 0, VIEW_INIT },
	{ "leaks-two-nodes", "leaks-two-nodes", REPORT_LEAKS, 1, VIEW_INIT },
	{ "leaks-last", "leaks-last", REPORT_LEAKS, 1, VIEW_INIT },
	{ "leaks-first", "leaks-first", REPORT_LEAKS, 0, VIEW_INIT },
	{ "leaks-first", "leaks-first-asked", REPORT_LEAKS, 0, VIEW(.audit = true) },
	{ "leaks-hostile-names", "leaks-hostile-names", REPORT_LEAKS, 1, VIEW_INIT },
	{ "leaks-objects", "leaks-objects", REPORT_LEAKS, 1, { .kinds = KINDS_ALL, .node = -1 } },
	{ "status", "status", REPORT_STATUS, 0, VIEW_INIT },
	{ "status-growing", "status-growing", REPORT_STATUS, 0, VIEW_INIT },
	{ "status-not-grown", "status-not-grown", REPORT_STATUS, 0, VIEW_INIT },
	{ "status-quotas", "status-quotas", REPORT_STATUS, 0, VIEW_INIT },
	{ "status-new", "status-new", REPORT_STATUS, 0, VIEW_INIT },
	{ "sessions", "sessions", REPORT_SESSIONS, 0, VIEW_INIT },
	{ "sessions", "sessions-wide", REPORT_SESSIONS, 0, VIEW(.columns = "wide") },
	{ "sessions", "sessions-columns", REPORT_SESSIONS, 0,
		VIEW(.columns = "id,opened,evidence,command,uid") },
	{ "sessions", "sessions-job", REPORT_SESSIONS, 0, VIEW(.job = "etl-992") },
	{ "sessions", "sessions-session", REPORT_SESSIONS, 0, VIEW(.session = "ABab") },
	{ "sessions", "sessions-sorted", REPORT_SESSIONS, 0, VIEW(.sort = "host", .limit = 2) },
	{ "sessions", "sessions-older", REPORT_SESSIONS, 0, VIEW(.older_ms = 8001) },
	{ "sessions", "sessions-large", REPORT_SESSIONS, 0, VIEW(.min_bytes = 6000) },
	{ "sessions", "sessions-nobody", REPORT_SESSIONS, 0, VIEW(.has_uid = true, .uid = 7) },
	{ "sessions-quotas", "sessions-quotas", REPORT_SESSIONS, 0,
		VIEW(.columns = "pid,job,quota,job-quota") },
	{ "sessions", "sessions-no-quotas", REPORT_SESSIONS, 0,
		VIEW(.columns = "pid,quota,job-quota") },
	{ "sessions-none", "sessions-none", REPORT_SESSIONS, 0, VIEW_INIT },
	{ "map", "map", REPORT_MAP, 0, VIEW_INIT },
	{ "map", "map-blocks", REPORT_MAP, 0, VIEW(.blocks = true) },
	{ "map", "map-node1", REPORT_MAP, 0,
		{ .kinds = KINDS_DEFAULT, .node = 1, .blocks = true } },
	{ "map", "map-session", REPORT_MAP, 0, VIEW(.blocks = true, .session = "1a2b") },
	{ "map", "map-sorted", REPORT_MAP, 0, VIEW(.blocks = true, .sort = "bytes", .limit = 1) },
	{ "map", "map-large", REPORT_MAP, 0, VIEW(.blocks = true, .min_bytes = 12289) },
	{ "map", "map-older", REPORT_MAP, 0, VIEW(.blocks = true, .older_ms = 240001) },
	{ "map-cut", "map-cut", REPORT_MAP, 0, VIEW(.blocks = true) },
	{ "map-empty", "map-empty", REPORT_MAP, 0, VIEW(.blocks = true) },
	{ "numastat", "numastat", REPORT_NUMASTAT, 0, VIEW_INIT },
	{ "buddyinfo", "buddyinfo", REPORT_BUDDYINFO, 0, VIEW_INIT },
	{ "slabinfo", "slabinfo", REPORT_SLABINFO, 0, VIEW_INIT },
	{ "slabinfo-none", "slabinfo-none", REPORT_SLABINFO, 0, VIEW_INIT },
	{ "who-holds", "who-holds", REPORT_WHO_HOLDS, 0, VIEW_INIT },
	{ "who-holds-object", "who-holds-object", REPORT_WHO_HOLDS, 0, VIEW_INIT },
	{ "audit", "audit", REPORT_AUDIT, 0, VIEW_INIT },
	{ "evict", "evict", REPORT_EVICT, 0, VIEW_INIT },
	{ "evict-preview", "evict-preview", REPORT_EVICT, 0, VIEW_INIT },
	{ "evict-hostile-names", "evict-hostile-names", REPORT_EVICT, 0, VIEW_INIT },
	{ "evict-two", NULL, REPORT_EVICT, -EBADMSG, VIEW_INIT },
	{ "evict", NULL, REPORT_REVOKE, -EBADMSG, VIEW_INIT },
	{ "revoke", "revoke", REPORT_REVOKE, 0, VIEW_INIT },
	{ "revoke-preview", "revoke-preview", REPORT_REVOKE, 0, VIEW_INIT },
	{ "reclaim", "reclaim", REPORT_RECLAIM, 0, VIEW_INIT },
	{ "reclaim-preview", "reclaim-preview", REPORT_RECLAIM, 0, VIEW_INIT },
	{ "reclaim-none", "reclaim-none", REPORT_RECLAIM, 0, VIEW_INIT },
	{ "resize", "resize", REPORT_RESIZE, 0, VIEW_INIT },
	{ "resize-smaller", "resize-smaller", REPORT_RESIZE, 0, VIEW_INIT },
	{ "quota", "quota", REPORT_QUOTA, 0, VIEW_INIT },
	{ "quota-none", "quota-none", REPORT_QUOTA, 0, VIEW_INIT },
	{ "log-level", "log-level", REPORT_LOG_LEVEL, 0, VIEW_INIT },
	{ "error-not-owner", NULL, REPORT_LOG_LEVEL, -EREMOTEIO, VIEW_INIT },
	{ "leaks-unacknowledged", "leaks-unacknowledged", REPORT_LEAKS, 1, VIEW_INIT },
	{ "leaks-acknowledged", "leaks-acknowledged", REPORT_LEAKS, 0, VIEW_INIT },
	{ "reclaimed", "reclaimed", REPORT_RECLAIMED, 0, VIEW_INIT },
	{ "reclaimed", "reclaimed-host", REPORT_RECLAIMED, 0, VIEW(.host = "n12") },
	{ "reclaimed", "reclaimed-uid", REPORT_RECLAIMED, 0, VIEW(.has_uid = true) },
	{ "reclaimed", "reclaimed-site", REPORT_RECLAIMED, 0, VIEW(.site = "load_all") },
	{ "reclaimed", "reclaimed-job", REPORT_RECLAIMED, 0, VIEW(.job = "etl-991") },
	{ "reclaimed", "reclaimed-large", REPORT_RECLAIMED, 0, VIEW(.min_bytes = 12288) },
	{ "reclaimed", "reclaimed-sorted", REPORT_RECLAIMED, 0, VIEW(.sort = "bytes", .limit = 2) },
	{ "reclaimed-cut", "reclaimed-cut", REPORT_RECLAIMED, 0, VIEW_INIT },
	{ "reclaimed-none", "reclaimed-none", REPORT_RECLAIMED, 0, VIEW_INIT },
	{ "reclaimed-acknowledged", "reclaimed-acknowledged", REPORT_RECLAIMED, 0, VIEW_INIT },
	{ "reclaimed-hostile-names", "reclaimed-hostile-names", REPORT_RECLAIMED, 0, VIEW_INIT },
	{ "reclaimed-too-many", NULL, REPORT_RECLAIMED, -EBADMSG, VIEW_INIT },
	{ "reclaimed-too-new", NULL, REPORT_RECLAIMED, -EBADMSG, VIEW_INIT },
	{ "acknowledged-one", "acknowledged-one", REPORT_ACKNOWLEDGE, 0, VIEW(.line = 17) },
	{ "acknowledged-one", NULL, REPORT_ACKNOWLEDGE, -EBADMSG, VIEW_INIT }, /* not all */
	{ "acknowledged-all", "acknowledged-all", REPORT_ACKNOWLEDGE, 0, VIEW_INIT },
	{ "acknowledged-all", "acknowledged-last", REPORT_ACKNOWLEDGE, 0, VIEW(.line = 17) },
	{ "error-no-line", NULL, REPORT_ACKNOWLEDGE, -EREMOTEIO, VIEW(.line = 17) },
	{ "error-acknowledge-remote", NULL, REPORT_ACKNOWLEDGE, -EREMOTEIO, VIEW_INIT },
	{ "leaks-clean", NULL, REPORT_RECLAIMED, -EBADMSG, VIEW_INIT },
	{ "error", NULL, REPORT_WHO_HOLDS, -EREMOTEIO, VIEW_INIT },
	{ "status", NULL, REPORT_LEAKS, -EBADMSG, VIEW_INIT },
};

static const struct gate usual = { .kinds = KINDS_FAIL };

#define NGOLDENS (sizeof(goldens) / sizeof(goldens[0]))

static char *load(const char *name, const char *suffix, size_t *out_size)
{
	char path[512], *text = NULL;
	FILE *file;
	long size;

	snprintf(path, sizeof(path), GOLDEN "%s%s", name, suffix);
	file = fopen(path, "r");
	if (!file)
		fail_msg("%s: %s", path, strerror(errno));
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	assert_true(size >= 0);
	rewind(file);
	text = malloc((size_t)size + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, (size_t)size, file), size);
	text[size] = '\0';
	fclose(file);
	*out_size = (size_t)size;
	return text;
}

static void update(const struct golden *g, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), GOLDEN "%s.txt", g->expected);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* Several texts may come from one answer; damaging it once is enough. */
static bool seen_before(size_t i)
{
	return i > 0 && strcmp(goldens[i].input, goldens[i - 1].input) == 0;
}

/* As rmemctl does: 0, 1 or the error; *out is what was printed. */
static int judge_by(
	const struct gate *gate, const struct golden *g, const json_t *given, char **out)
{
	struct errinfo errinfo = { "" };
	json_t *answer = json_deep_copy(given); /* records are taken out of it */
	bool leaks = false;
	size_t size;
	FILE *stream;
	int err = reply_check(answer, g->report, &errinfo);

	*out = NULL;
	if (err == 0 && g->report == REPORT_LEAKS)
		err = verdict_leaks(answer, gate, &g->view, &leaks, &errinfo);
	if (err == 0)
		err = select_items(g->report, answer, &g->view, &errinfo);
	if (err == 0) {
		stream = open_memstream(out, &size);
		assert_non_null(stream);
		err = render_report(g->report, answer, &g->view, stream, &errinfo);
		assert_int_equal(fclose(stream), 0);
		/* all or nothing */
		assert_int_equal(size > 0, err == 0);
	}
	assert_int_equal(errinfo.text[0] != '\0', err != 0);
	json_decref(answer);
	return err ? err : leaks;
}

static int judge(const struct golden *g, const json_t *given, char **out)
{
	return judge_by(&usual, g, given, out);
}

static void test_golden(void **state)
{
	(void)state;
	for (size_t i = 0; i < NGOLDENS; i++) {
		const struct golden *g = &goldens[i];
		size_t size;
		char *text = load(g->input, ".json", &size), *printed, *expected;
		json_t *answer;
		int verdict;

		assert_int_equal(reply_parse(text, size, &answer, NULL), 0);
		verdict = judge(g, answer, &printed);
		if (verdict != g->verdict)
			fail_msg("%s: verdict %d, expected %d", g->input, verdict, g->verdict);
		if (g->expected && getenv("RMEM_GOLDEN_UPDATE"))
			update(g, printed);
		if (g->expected) {
			expected = load(g->expected, ".txt", &size);
			assert_string_equal(printed, expected);
			free(expected);
		}
		free(printed);
		json_decref(answer);
		free(text);
	}
}

static void assert_survives(const struct golden *g, const json_t *answer)
{
	char *printed;
	int verdict = judge(g, answer, &printed);

	assert_true(verdict >= 0 || verdict == -EBADMSG || verdict == -EREMOTEIO);
	free(printed);
}

static void test_truncated(void **state)
{
	(void)state;
	for (size_t i = 0; i < NGOLDENS; i++) {
		size_t size;
		char *text;

		if (seen_before(i))
			continue;
		text = load(goldens[i].input, ".json", &size);
		/* the last byte is a newline: without it the answer is still whole */
		for (size_t cut = 0; cut + 1 < size; cut += 1 + cut / 16) {
			json_t *answer;
			struct errinfo errinfo = { "" };

			/* a copy of its own, so that a read past the end is seen */
			char *part = malloc(cut + 1);

			assert_non_null(part);
			memcpy(part, text, cut);
			assert_int_equal(reply_parse(part, cut, &answer, &errinfo), -EBADMSG);
			assert_true(errinfo.text[0] != '\0');
			free(part);
		}
		free(text);
	}
}

static void test_mutated_bytes(void **state)
{
	static const char telling[] = "\"{}[]:,-0123456789eE.\\utfn \x1b\xc2";
	const int mutations = getenv("RMEM_TEST_VALGRIND") ? BYTE_MUTATIONS / 10 : BYTE_MUTATIONS;
	uint64_t seed = 20260101;

	(void)state;
	for (size_t i = 0; i < NGOLDENS; i++) {
		size_t size;
		char *text = load(goldens[i].input, ".json", &size);

		for (int n = 0; n < mutations; n++) {
			size_t at = random_below(&seed, size);
			char was = text[at];
			json_t *answer;

			text[at] = telling[random_below(&seed, sizeof(telling))];
			if (reply_parse(text, size, &answer, NULL) == 0) {
				assert_survives(&goldens[i], answer);
				json_decref(answer);
			}
			text[at] = was;
		}
		free(text);
	}
}

/* Is this the one of n that is tried? Under valgrind each value has the next one, elsewhere all. */
static bool has_its_turn(size_t k, size_t n)
{
	static size_t turn;

	if (!getenv("RMEM_TEST_VALGRIND"))
		return true;
	if (k == 0)
		turn++;
	return turn % n == k;
}

/* Put each of these in the place of every value below container, one at a time, and judge. */
static void replace_each(const struct golden *g, json_t *container, const json_t *answer,
	json_t *const odd[], size_t nodd)
{
	json_t *value;
	const char *key;
	size_t i;

	json_object_foreach(container, key, value)
	{
		json_incref(value);
		for (size_t k = 0; k < nodd; k++) {
			if (!has_its_turn(k, nodd))
				continue;
			assert_int_equal(json_object_set(container, key, odd[k]), 0);
			assert_survives(g, answer);
		}
		assert_int_equal(json_object_set_new(container, key, value), 0);
		replace_each(g, value, answer, odd, nodd);
	}
	json_array_foreach(container, i, value)
	{
		json_incref(value);
		for (size_t k = 0; k < nodd; k++) {
			if (!has_its_turn(k, nodd))
				continue;
			assert_int_equal(json_array_set(container, i, odd[k]), 0);
			assert_survives(g, answer);
		}
		assert_int_equal(json_array_set_new(container, i, value), 0);
		replace_each(g, value, answer, odd, nodd);
	}
}

static void test_every_value_replaced(void **state)
{
	static const char *const texts[] = { "null", "-1", "9223372036854775807", "\"\"", "[null]",
		"{}" };
	json_t *odd[sizeof(texts) / sizeof(texts[0])];

	(void)state;
	for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++) {
		odd[k] = json_loads(texts[k], JSON_DECODE_ANY, NULL);
		assert_non_null(odd[k]);
	}
	for (size_t i = 0; i < NGOLDENS; i++) {
		size_t size;
		char *text = seen_before(i) ? NULL : load(goldens[i].input, ".json", &size);
		json_t *answer = text ? json_loadb(text, size, 0, NULL) : NULL;

		replace_each(&goldens[i], answer, answer, odd, sizeof(odd) / sizeof(odd[0]));
		json_decref(answer);
		free(text);
	}
	for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++)
		json_decref(odd[k]);
}

static void test_missing_field_is_named(void **state)
{
	struct errinfo errinfo = { "" };
	struct golden g = { "leaks-kinds", NULL, REPORT_LEAKS, 0, VIEW_INIT };
	size_t size;
	char *text = load(g.input, ".json", &size), *printed = NULL;
	json_t *answer, *record;
	bool leaks = true;
	FILE *out;

	(void)state;
	assert_int_equal(reply_parse(text, size, &answer, NULL), 0);
	record = json_array_get(json_object_get(answer, "records"), 0);
	assert_int_equal(json_object_del(record, "birth_min_ns"), 0); /* nobody prints it */
	out = open_memstream(&printed, &size);
	assert_non_null(out);
	assert_int_equal(render_report(g.report, answer, &g.view, out, &errinfo), 0);
	assert_int_equal(json_object_del(record, "waste_bytes"), 0);
	assert_int_equal(render_report(g.report, answer, &g.view, out, &errinfo), -EBADMSG);
	fclose(out);
	free(printed);
	assert_non_null(strstr(errinfo.text, "\"waste_bytes\""));
	assert_int_equal(json_object_del(answer, "summary"), 0);
	assert_int_equal(verdict_leaks(answer, &usual, &g.view, &leaks, &errinfo), -EBADMSG);
	assert_true(leaks); /* untouched */
	json_decref(answer);
	free(text);
}

/* The next number in a line and its unit, which it must have. */
static long long next_bytes(char **at)
{
	static const char *const units[] = { " B", " KiB", " MiB", " GiB", " TiB" };
	char *text = strpbrk(*at, "-0123456789");
	long long bytes;

	assert_non_null(text);
	bytes = strtoll(text, at, 10);
	for (int i = 0; i < 5; i++, bytes *= 1024) {
		size_t n = strlen(units[i]);

		if (strncmp(*at, units[i], n) == 0 && ((*at)[n] == ' ' || (*at)[n] == '\0')) {
			*at += n;
			return bytes;
		}
	}
	fail_msg("no unit: %s", text);
	return 0;
}

/* "node0 64.0 GiB: whole = live … + … UNACCOUNTED …", as it is printed. Returns whole. */
static long long check_conservation(char *line)
{
	char *at = strchr(line, ':');
	long long whole, sum = 0;

	assert_non_null(at);
	whole = next_bytes(&at);
	while (*at)
		sum += next_bytes(&at);
	if (whole != sum)
		fail_msg("%lld bytes in all, but %s", sum, line);
	return whole;
}

static size_t check_lines(char *printed, long long whole)
{
	char *save = NULL;
	size_t n = 0;

	for (char *line = strtok_r(printed, "\n", &save); line;
		line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "node", 4) != 0)
			continue;
		n++;
		if (check_conservation(line) != whole && whole)
			fail_msg("not %lld bytes: %s", whole, line);
	}
	return n;
}

static void test_conservation_adds_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < NGOLDENS; i++) {
		size_t size;
		char *text = load(goldens[i].input, ".json", &size), *printed = NULL;
		json_t *answer = json_loadb(text, size, 0, NULL);
		const json_t *nodes = json_object_get(answer, "nodes");

		if (goldens[i].report == REPORT_LEAKS && goldens[i].verdict >= 0) {
			assert_true(judge(&goldens[i], answer, &printed) >= 0);
			assert_int_equal(check_lines(printed, 0), json_array_size(nodes));
		}
		free(printed);
		json_decref(answer);
		free(text);
	}
}

/* Registered, live, free, unaccounted; the others are 0. */
static const long long terms[][4] = {
	{ 0, 0, 0, 0 },
	{ 1, 0, 0, 1 },
	{ 1023, 1023, 0, 0 },
	{ 1000003, 1, 1000001, 1 },
	{ 4096, 4097, 0, -1 },
	{ 1LL << 42, 4096, (1LL << 42) - 4096, 0 },
	{ 3LL << 42, 1LL << 42, 2LL << 42, 0 },
	{ INT64_MAX, INT64_MAX - 5, 5, 0 },
	{ 5, 0, INT64_MAX, 5 - INT64_MAX },
};

static void test_conservation_of_odd_sizes(void **state)
{
	static const char *const fields[] = { "registered_bytes", "live_bytes", "free_bytes",
		"unaccounted_bytes" };
	const struct golden g = { "leaks-empty-pool", NULL, REPORT_LEAKS, 0, VIEW_INIT };
	size_t size;
	char *text = load(g.input, ".json", &size), *printed;
	json_t *answer = json_loadb(text, size, 0, NULL);
	json_t *node = json_array_get(json_object_get(answer, "nodes"), 0);

	(void)state;
	for (size_t i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
		for (size_t k = 0; k < 4; k++)
			json_object_set_new(node, fields[k], json_integer(terms[i][k]));
		assert_true(judge(&g, answer, &printed) >= 0);
		assert_int_equal(check_lines(printed, terms[i][0]), 1);
		free(printed);
	}
	json_decref(answer);
	free(text);
}

/* The records that a view shows, by their ids. */
static void check_shown(const json_t *whole, const struct view *view, const char *ids)
{
	json_t *answer = json_deep_copy(whole), *record;
	char shown[128] = "";
	size_t i, n = 0;

	assert_int_equal(select_items(REPORT_LEAKS, answer, view, NULL), 0);
	json_array_foreach(json_object_get(answer, "records"), i, record) n +=
		(size_t)snprintf(shown + n, sizeof(shown) - n, "%s%s", i ? " " : "",
			json_string_value(json_object_get(record, "id")));
	assert_string_equal(shown, ids);
	json_decref(answer);
}

#define EVERY(...) \
	&(const struct view) \
	{ \
		.kinds = KINDS_ALL, __VA_ARGS__ \
	}

static void test_filters(void **state)
{
	static const char all[] = "9f3a1c02 0badf00d 51c0ffee 77aa0011";
	size_t size;
	char *text = load("leaks-kinds", ".json", &size);
	json_t *whole = json_loadb(text, size, 0, NULL);
	json_t *first = json_array_get(json_object_get(whole, "records"), 0);

	(void)state;
	json_object_set_new(first, "site", json_string("0123456789abcdef"));
	check_shown(whole, EVERY(.node = -1), all);
	check_shown(whole, EVERY(.node = 1), "");
	check_shown(whole, EVERY(.node = -1, .site = "0123456789ABC"), "9f3a1c02");
	check_shown(whole, EVERY(.node = -1, .site = "123"), "");
	check_shown(whole, EVERY(.node = -1, .site = "ingest_batch"), all);
	check_shown(whole, EVERY(.node = -1, .site = "ingest"), "");
	check_shown(whole, EVERY(.node = -1, .site = "loader.c"), all);
	check_shown(whole, EVERY(.node = -1, .site = "loader.c:211"), all);
	check_shown(whole, EVERY(.node = -1, .site = "loader.c:21"), "");
	check_shown(whole, EVERY(.node = -1, .job = "etl-992", .host = "n12"), "9f3a1c02 77aa0011");
	check_shown(whole, EVERY(.node = -1, .job = "etl"), "");
	check_shown(whole, EVERY(.node = -1, .has_uid = true, .uid = 0), "");
	check_shown(
		whole, EVERY(.node = -1, .sort = "blocks"), "77aa0011 9f3a1c02 51c0ffee 0badf00d");
	check_shown(whole, EVERY(.node = -1, .sort = "age", .limit = 1), "9f3a1c02");
	/* not all holders are listed: it may be anybody */
	json_object_set_new(first, "holders_total", json_integer(2));
	check_shown(whole, EVERY(.node = -1, .job = "etl"), "9f3a1c02");
	json_decref(whole);
	free(text);
}

/* What makes the exit status 1. */
static void test_gates(void **state)
{
	static const struct {
		const char *input;
		int verdict;
		struct gate gate;
		struct view view;
	} all[] = {
		{ "leaks-kinds", 1, { .kinds = KINDS_FAIL, .older_ms = 660000 }, VIEW_INIT },
		{ "leaks-kinds", 0, { .kinds = KINDS_FAIL, .older_ms = 660001 }, VIEW_INIT },
		{ "leaks-kinds", 1, { .kinds = KINDS_FAIL, .shown = true }, VIEW(.host = "n12") },
		{ "leaks-kinds", 0, { .kinds = KINDS_FAIL, .shown = true }, VIEW(.host = "n13") },
		{ "leaks-kinds", 1, { .kinds = KIND_BIT(KIND_LIMBO), .shown = true },
			VIEW(.host = "n13") },
		/* a limit hides nothing from the verdict */
		{ "leaks-kinds", 1, { .kinds = KIND_BIT(KIND_LIMBO), .shown = true },
			VIEW(.limit = 1) },
		/* always */
		{ "leaks-unaccounted", 1, { .kinds = KINDS_FAIL, .shown = true },
			VIEW(.host = "n99") },
		{ "leaks-unacknowledged", 0, { .kinds = KINDS_FAIL, .shown = true }, VIEW_INIT },
		{ "leaks-unacknowledged", 1, { .kinds = KINDS_FAIL, .older_ms = 1 }, VIEW_INIT },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct golden g = { all[i].input, NULL, REPORT_LEAKS, 0, all[i].view };
		size_t size;
		char *text = load(g.input, ".json", &size), *printed;
		json_t *answer = json_loadb(text, size, 0, NULL);
		const int verdict = judge_by(&all[i].gate, &g, answer, &printed);

		if (verdict != all[i].verdict)
			fail_msg("%zu: %s: %d", i, g.input, verdict);
		free(printed);
		json_decref(answer);
		free(text);
	}
}

/* What was left out must be counted, or a gate would pass for want of a record. */
static void test_records_and_summary_differ(void **state)
{
	struct golden g = { "leaks-kinds", NULL, REPORT_LEAKS, 0, VIEW_INIT };
	const struct gate old = { .kinds = KINDS_FAIL, .older_ms = 1 };
	size_t size;
	char *text = load(g.input, ".json", &size), *printed;
	json_t *answer = json_loadb(text, size, 0, NULL);

	(void)state;
	json_array_remove(json_object_get(answer, "records"), 0);
	assert_int_equal(judge_by(&old, &g, answer, &printed), -EBADMSG);
	free(printed);
	assert_int_equal(judge(&g, answer, &printed), 1);
	free(printed);
	json_decref(answer);
	free(text);
}

static void test_columns(void **state)
{
	static const char *const bad[] = { "", ",", "session,", ",session", "wide,pid", "sessions",
		"pid,,pid", "Pid" };
	const struct menu_option *o = menu_find("output", 0, REPORT_SESSIONS);
	const char *at = o->words;
	char word[32];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(render_knows_columns(bad[i]));
	assert_true(render_knows_columns("pid,pid"));
	assert_true(render_knows_columns(NULL));
	/* those that the menu names are those that there are */
	while (*at) {
		const size_t n = strcspn(at, " ");

		snprintf(word, sizeof(word), "%.*s", (int)n, at);
		assert_true(render_knows_columns(word));
		at += n + strspn(at + n, " ");
	}
	for (size_t i = 0; i < menu_noptions; i++) {
		if (menu_options[i].id != OPTION_SORT)
			continue;
		for (at = menu_options[i].words; *at; at += strspn(at, " ")) {
			const size_t n = strcspn(at, " ");

			snprintf(word, sizeof(word), "%.*s", (int)n, at);
			for (unsigned r = 0; r < REPORTS; r++)
				assert_true(!(menu_options[i].reports & REPORT_BIT(r)) ||
					    select_can_sort((enum report)r, word));
			at += n;
		}
	}
	assert_false(select_can_sort(REPORT_STATUS, "bytes"));
}

static void test_unknown_kind(void **state)
{
	struct golden g = { "leaks-clean", NULL, REPORT_LEAKS, 0, VIEW_INIT };
	size_t size;
	char *text = load(g.input, ".json", &size), *printed = NULL;
	json_t *answer, *record;

	(void)state;
	assert_int_equal(reply_parse(text, size, &answer, NULL), 0);
	record = json_array_get(json_object_get(answer, "records"), 0);
	assert_int_equal(json_object_set_new(record, "kind", json_string("vanished")), 0);
	assert_int_equal(judge(&g, answer, &printed), -EBADMSG);
	free(printed);
	json_decref(answer);
	free(text);
}

/* An rmemd without history is clean without a count of it; what is no count is no answer. */
static void test_unacknowledged(void **state)
{
	static const struct {
		const char *value;
		int verdict;
	} all[] = { { NULL, 0 }, { "0", 0 }, { "1", 1 }, { "9223372036854775807", 1 },
		{ "-1", -EBADMSG }, { "null", -EBADMSG }, { "\"1\"", -EBADMSG },
		{ "true", -EBADMSG } };
	const struct golden g = { "leaks-clean", NULL, REPORT_LEAKS, 0, VIEW_INIT };
	size_t size;
	char *text = load(g.input, ".json", &size), *printed;
	json_t *answer = json_loadb(text, size, 0, NULL);
	json_t *coverage = json_object_get(answer, "coverage");

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		json_object_del(coverage, "unacknowledged");
		if (all[i].value)
			json_object_set_new(coverage, "unacknowledged",
				json_loads(all[i].value, JSON_DECODE_ANY, NULL));
		assert_int_equal(judge(&g, answer, &printed), all[i].verdict);
		free(printed);
	}
	json_decref(answer);
	free(text);
}

static void test_other_schema(void **state)
{
	static const char newer[] = "{\"schema\":2,\"report\":\"leaks\"}";
	static const char *const others[] = { "", "HTTP/1.0 400 Bad Request", "[]", "1", "{}",
		"{\"schema\":\"1\"}", "{\"schema\":1}{}", "{\"schema\":1,\"schema\":1}" };
	struct errinfo errinfo = { "" };
	json_t *answer;

	(void)state;
	assert_int_equal(reply_parse(newer, strlen(newer), &answer, &errinfo), -EBADMSG);
	assert_non_null(strstr(errinfo.text, "schema 2"));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(
			reply_parse(others[i], strlen(others[i]), &answer, &errinfo), -EBADMSG);
}

static void test_kinds(void **state)
{
	unsigned bits = 77;

	(void)state;
	assert_int_equal(kind_parse_list("definite,limbo,zombie", &bits), 0);
	assert_int_equal(bits, KINDS_DEFAULT);
	assert_int_equal(kind_parse_list("all", &bits), 0);
	assert_int_equal(bits, KINDS_ALL);
	assert_int_equal(kind_parse_list("", &bits), -EINVAL);
	assert_int_equal(kind_parse_list("limbo,", &bits), -EINVAL);
	assert_int_equal(kind_parse_list("lim", &bits), -EINVAL);
	assert_int_equal(kind_parse_list("limbos", &bits), -EINVAL);
	assert_int_equal(bits, KINDS_ALL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_mutated_bytes),
		cmocka_unit_test(test_every_value_replaced),
		cmocka_unit_test(test_missing_field_is_named),
		cmocka_unit_test(test_conservation_adds_up),
		cmocka_unit_test(test_conservation_of_odd_sizes),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_gates),
		cmocka_unit_test(test_records_and_summary_differ),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_unknown_kind),
		cmocka_unit_test(test_unacknowledged),
		cmocka_unit_test(test_other_schema),
		cmocka_unit_test(test_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
