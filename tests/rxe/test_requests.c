/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that are well formed and ask for what cannot be: reports that do not exist, sites that make no
 * sense, memory of others, impossible memory, sessions of others, texts that are none. Each is refused with a
 * reason; nothing of it is kept, and every byte is accounted for.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/addr.h"
#include "tests/rxe/client.h"
#include "tests/rxe/outside.h"
#include "tests/rxe/speech.h"

#define SITES 2000

/* ---- reports ---- */

static int ask(struct raw *r, const char *request, uint64_t *out_bytes)
{
	struct report_request q;
	struct report_reply a;
	int err;

	snprintf(q.request, sizeof(q.request), "%s", request);
	err = RAW_ASK(r, MESSAGE_REPORT, report, &q, report, &a);
	if (!err)
		*out_bytes = a.total_bytes;
	return err;
}

static int read_chunk(struct raw *r, uint64_t offset, struct report_read_reply *out)
{
	const struct report_read_request q = { offset };

	return RAW_ASK(r, MESSAGE_REPORT_READ, report_read, &q, report_read, out);
}

static void reports_out_of_range(void **state)
{
	static struct report_read_reply chunk;
	struct rig *r = *state;
	uint64_t bytes = 0;
	struct raw *raw;

	rig_start(r, NULL);
	raw = speech_connect(r, MESSAGE_REPORT);
	assert_int_equal(read_chunk(raw, 0, &chunk), -EINVAL);
	assert_int_equal(ask(raw, "{\"cmd\":\"status\"}", &bytes), 0);
	assert_true(bytes > 100);
	assert_int_equal(read_chunk(raw, 0, &chunk), 0);
	assert_int_equal(read_chunk(raw, bytes, &chunk), 0);
	assert_int_equal(chunk.chunk_bytes, 0);
	assert_int_equal(read_chunk(raw, bytes + 1, &chunk), -EINVAL);
	assert_int_equal(read_chunk(raw, UINT64_MAX, &chunk), -EINVAL);
	raw_close(raw);
	speech_end(r);
}

/* The answer to nonsense is an error in JSON, or a refusal, on a connection that stays. */
static void reports_that_do_not_exist(void **state)
{
	static const char *const requests[] = { "", " ", "{", "}", "null", "[]", "{}", "\"status\"",
		"{\"cmd\":1}", "{\"cmd\":null}", "{\"cmd\":\"\"}", "{\"cmd\":\"nonsense\"}",
		"{\"cmd\":\"status\"", "{\"cmd\":\"who-holds\"}", "{\"cmd\":\"status\"}}",
		"{\"cmd\":\"who-holds\",\"addr\":17}", "{\"cmd\":\"who-holds\",\"addr\":\"\"}",
		"{\"cmd\":\"who-holds\",\"addr\":\"0xzz\"}",
		"{\"cmd\":\"who-holds\",\"addr\":\"0xffffffffffffffffff\"}",
		"{\"cmd\":\"who-holds\",\"addr\":\"-1\"}", "{\"cmd\":\"map\",\"limit\":-1}",
		"{\"cmd\":\"map\",\"limit\":\"x\"}", "\xff\xfe{\"cmd\":\"status\"}",
		"{\"cmd\":\"\xff\xfe\"}", "{\"cmd\":\"st\\u0000atus\"}" };
	static struct report_read_reply chunk;
	char deep[REPORT_REQUEST_SIZE];
	struct rig *r = *state;
	struct raw *raw;

	rig_start(r, NULL);
	raw = speech_connect(r, MESSAGE_REPORT);
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	for (unsigned i = 0; i <= sizeof(requests) / sizeof(requests[0]); i++) {
		const char *request =
			i < sizeof(requests) / sizeof(requests[0]) ? requests[i] : deep;
		uint64_t bytes = 0;
		int err = ask(raw, request, &bytes);

		if (err == -ECONNRESET || err == -ETIMEDOUT || err == -EPROTO)
			fail_msg("'%.40s': %s", request, strerror(-err));
		if (err)
			continue;
		assert_int_equal(read_chunk(raw, 0, &chunk), 0);
		if (!memmem(chunk.chunk, chunk.chunk_bytes, "\"error\"", 7))
			fail_msg("'%.40s' has an answer: %.*s", request, (int)chunk.chunk_bytes,
				(char *)chunk.chunk);
	}
	raw_close(raw);
	speech_end(r);
}

/* ---- sites ---- */

static int send_site(struct raw *r, const struct site_request *q, struct site_reply *out)
{
	return RAW_ASK(r, MESSAGE_SITE, site, q, site, out);
}

static int send_names(struct raw *r, uint32_t site, uint8_t n)
{
	uint8_t buffer[MESSAGE_MAX];
	struct wire body = wire_over(buffer, sizeof(buffer));

	speech_put_names(&body, site, n);
	return raw_call(r, MESSAGE_SITE_NAMES, &body, NULL);
}

static void sites_that_make_no_sense(void **state)
{
	static struct site_request q;
	struct rig *r = *state;
	struct site_reply a = { 0 };
	struct raw *raw;

	rig_start(r, NULL);
	raw = speech_connect(r, MESSAGE_SITE);
	memset(&q, 0, sizeof(q));
	assert_int_equal(send_site(raw, &q, &a), -EINVAL); /* no frames */
	q.nframes = 1;
	assert_int_equal(send_site(raw, &q, &a), -EINVAL); /* of no module */
	q.nmodules = 2;
	q.frames[0].module = 2;
	assert_int_equal(send_site(raw, &q, &a), -EINVAL);
	q.frames[0].module = 255;
	assert_int_equal(send_site(raw, &q, &a), -EINVAL);
	q.frames[0].module = 1;
	assert_int_equal(send_site(raw, &q, &a), 0);
	assert_int_equal(a.named, 0);
	assert_int_equal(send_names(raw, 0, 1), -ENOENT);
	assert_int_equal(send_names(raw, a.site + 1, 1), -ENOENT);
	assert_int_equal(send_names(raw, UINT32_MAX, 1), -ENOENT);
	assert_int_equal(send_names(raw, a.site, 0), -EINVAL);
	assert_int_equal(send_names(raw, a.site, 2), -EINVAL);
	assert_int_equal(send_names(raw, a.site, SITE_DEPTH_MAX), -EINVAL);
	assert_int_equal(send_names(raw, a.site, 1), 0);
	/* So the next process need not look them up. */
	assert_int_equal(send_site(raw, &q, &a), 0);
	assert_int_equal(a.named, 1);
	raw_close(raw);
	speech_end(r);
}

/* Thousands from one client: all are kept, once each. (That there is an end is a unit test.) */
static void many_sites(void **state)
{
	static struct site_request q;
	struct rig *r = *state;
	struct raw *raw;
	struct site_reply a;

	rig_start(r, NULL);
	raw = speech_connect(r, MESSAGE_SITE);
	memset(&q, 0, sizeof(q));
	q.nframes = q.nmodules = 1;
	for (unsigned i = 0; i < 2 * SITES; i++) {
		q.frames[0].offset = i % SITES;
		assert_int_equal(send_site(raw, &q, &a), 0);
	}
	assert_int_equal(rig_ask_number(r, "status", "sites"), SITES);
	raw_close(raw);
	speech_end(r);
}

/* Only who sends the frames of a site may say what they are called. */
static void names_of_strangers(void **state)
{
	static struct site_request q;
	struct rig *r = *state;
	struct site_reply site, told;
	struct raw *raw, *stranger;

	rig_start(r, NULL);
	raw = speech_connect(r, MESSAGE_SITE);
	stranger = speech_connect(r, MESSAGE_SITE);
	memset(&q, 0, sizeof(q));
	q.nframes = q.nmodules = 1;
	assert_int_equal(send_site(raw, &q, &site), 0);
	assert_int_equal(send_names(stranger, site.site, 1), -ENOENT);
	assert_int_equal(send_site(raw, &q, &told), 0);
	assert_int_equal(told.named, 0);
	assert_int_equal(send_site(stranger, &q, &told), 0);
	assert_int_equal(told.site, site.site);
	assert_int_equal(send_names(stranger, told.site, 1), 0);
	raw_close(stranger);
	raw_close(raw);
	speech_end(r);
}

/* ---- the goodbye ---- */

static bool is_wiping(struct rig *r)
{
	json_t *status = rig_ask(r, "status");
	const json_t *node;
	bool wiping = false;
	size_t i;

	json_array_foreach(json_object_get(status, "nodes"), i, node) wiping =
		wiping || rig_number(node, "quarantine_bytes") > 0;
	json_decref(status);
	return wiping;
}

/* What it gave back just before is still being wiped: the session is forgotten when that is over. */
static void goodbye_while_wiping(void **state)
{
	struct rig *r = *state;
	bool seen = false;

	rig_start(r, (const char *const[]){ "--size", "0:256M", NULL });
	for (int round = 0; !seen && round < 20; round++) {
		struct grant_reply g;
		struct raw *raw = speech_connect(r, MESSAGE_ALLOC);

		assert_int_equal(raw_alloc(raw, 256UL << 20, &g), 0);
		assert_int_equal(raw_free(raw, g.addr), 0);
		assert_int_equal(raw_bye(raw), 0);
		raw_close(raw);
		seen = is_wiping(r);
		rig_await_no_session(r);
	}
	assert_true(seen);
	speech_end(r);
}

/* ---- other people's memory, impossible memory ---- */

static void addresses_of_others(void **state)
{
	struct grant_reply theirs, mine, got;
	uint8_t key[SHARE_KEY_SIZE];
	struct raw *owner, *thief;
	struct rig *r = *state;

	rig_start(r, NULL);
	owner = speech_connect(r, MESSAGE_ALLOC);
	thief = speech_connect(r, MESSAGE_ALLOC);
	assert_int_equal(raw_alloc(owner, 8192, &theirs), 0);
	assert_int_equal(raw_alloc(thief, 8192, &mine), 0);
	const uint64_t wrong[] = { 0, 1, UINT64_MAX, theirs.addr, theirs.addr + 4096, mine.addr + 1,
		mine.addr + 4096, mine.addr - 1, mine.addr + mine.bytes, mine.addr ^ 1ULL << 63 };
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(raw_free(thief, wrong[i]), -EINVAL);
		assert_int_equal(raw_attach(thief, wrong[i], &got), -ESTALE);
	}
	/* The right address, and another allocation than is there. */
	for (int64_t off = -1; off <= 1; off += 2) {
		raw_remember(mine.addr, mine.serial + (uint64_t)off);
		assert_int_equal(raw_free(thief, mine.addr), -EINVAL);
		assert_int_equal(raw_attach(thief, mine.addr, &got), -ESTALE);
		assert_int_equal(raw_share(thief, mine.addr, key), -ESTALE);
	}
	raw_remember(mine.addr, mine.serial);
	assert_int_equal(raw_free(thief, mine.addr), 0);
	assert_int_equal(raw_attach(thief, mine.addr, &got), -ESTALE);
	rig_await_wiped(r); /* until then a repeated FREE has what it asks for */
	assert_int_equal(raw_free(thief, mine.addr), -EINVAL);
	assert_int_equal(raw_attach(thief, mine.addr, &got), -ESTALE);
	assert_int_equal(raw_free(owner, theirs.addr), 0);
	raw_close(owner);
	raw_close(thief);
	speech_end(r);
}

/* COPY and FILL of what is not one's own, or not there, or for reading only. Nothing of it is written. */
static void copies_of_others(void **state)
{
	struct grant_reply theirs, mine, got;
	uint8_t key[SHARE_KEY_SIZE], to_read[SHARE_KEY_SIZE];
	struct raw *owner, *thief;
	struct rig *r = *state;

	rig_start(r, NULL);
	owner = speech_connect(r, MESSAGE_ALLOC);
	thief = speech_connect(r, MESSAGE_ALLOC);
	assert_int_equal(raw_alloc(owner, 8192, &theirs), 0);
	assert_int_equal(raw_alloc(thief, 8000, &mine), 0);
	assert_int_equal(raw_fill(owner, raw_place(theirs.addr, 0, NULL), 1, 8192), 0);
	assert_int_equal(raw_fill(thief, raw_place(mine.addr, 0, NULL), 2, 8000), 0);
	const struct place own = raw_place(mine.addr, 0, NULL);
	const struct place foreign = raw_place(theirs.addr, 0, NULL);
	assert_int_equal(raw_fill(thief, foreign, 3, 1), -ESTALE);
	assert_int_equal(raw_copy(thief, foreign, own, 8), -ESTALE);
	assert_int_equal(raw_copy(thief, own, foreign, 8), -ESTALE);
	/* Of its own: inside, at an end, and beyond it. */
	assert_int_equal(raw_fill(thief, raw_place(mine.addr, 7999, NULL), 3, 1), 0);
	assert_int_equal(raw_fill(thief, raw_place(mine.addr, 8000, NULL), 3, 0), 0);
	assert_int_equal(raw_fill(thief, raw_place(mine.addr, 8000, NULL), 3, 1), -EINVAL);
	assert_int_equal(raw_fill(thief, raw_place(mine.addr, 8001, NULL), 3, 0), -EINVAL);
	assert_int_equal(raw_fill(thief, raw_place(mine.addr, 1, NULL), 3, 8000), -EINVAL);
	assert_int_equal(raw_fill(thief, raw_place(mine.addr, 1, NULL), 3, UINT64_MAX), -EINVAL);
	assert_int_equal(raw_fill(thief, raw_place(mine.addr, UINT64_MAX, NULL), 3, 2), -EINVAL);
	assert_int_equal(raw_fill(thief, raw_place(mine.addr + 4096, 0, NULL), 3, 1), -ESTALE);
	assert_int_equal(raw_copy(thief, own, raw_place(mine.addr, 8, NULL), 9), -EINVAL);
	assert_int_equal(raw_copy(thief, raw_place(mine.addr, 8, NULL), own, 9), -EINVAL);
	assert_int_equal(raw_copy(thief, raw_place(mine.addr, 8, NULL), own, 8), 0);
	/* With a key to read, it is read, and not written. */
	assert_int_equal(raw_share(owner, theirs.addr, key), 0);
	assert_int_equal(raw_share_to_read(owner, theirs.addr, to_read), 0);
	assert_int_equal(raw_fill(thief, raw_place(theirs.addr, 0, to_read), 3, 1), -EACCES);
	assert_int_equal(raw_copy(thief, raw_place(theirs.addr, 0, to_read), own, 1), -EACCES);
	assert_int_equal(raw_copy(thief, own, raw_place(theirs.addr, 4096, to_read), 4000), 0);
	assert_int_equal(raw_fill(thief, raw_place(theirs.addr, 100, key), 4, 1), 0);
	assert_int_equal(raw_unshare(owner, theirs.addr), 0);
	assert_int_equal(raw_fill(thief, raw_place(theirs.addr, 0, key), 3, 1), -ESTALE);
	assert_int_equal(raw_attach(owner, theirs.addr, &got), 0);
	assert_int_equal(
		raw_access(owner, IBV_WR_RDMA_READ, theirs.addr, 8192, got.rkey), IBV_WC_SUCCESS);
	for (unsigned i = 0; i < 8192; i++)
		assert_int_equal(raw_data(owner)[i], i == 100 ? 4 : 1);
	assert_int_equal(
		raw_access(thief, IBV_WR_RDMA_READ, mine.addr, 8000, mine.rkey), IBV_WC_SUCCESS);
	for (unsigned i = 0; i < 8000; i++)
		assert_int_equal(raw_data(thief)[i], i < 4000 ? 1 : i == 7999 ? 3 : 2);
	assert_int_equal(raw_free(thief, mine.addr), 0);
	assert_int_equal(raw_fill(thief, own, 3, 1), -ESTALE);
	assert_int_equal(raw_free(owner, theirs.addr), 0);
	raw_close(owner);
	raw_close(thief);
	speech_end(r);
}

static int alloc_on(struct raw *r, uint64_t bytes, uint64_t nodes, uint32_t site)
{
	const struct alloc_request q = { .bytes = bytes, .placement.nodes = nodes, .site = site };
	struct alloc_reply got;
	int err = RAW_ASK(r, MESSAGE_ALLOC, alloc, &q, alloc, &got);

	if (err)
		return err;
	raw_remember(got.addr, got.serial);
	return raw_free(r, got.addr);
}

static void impossible_memory(void **state)
{
	static const struct {
		struct placement placement;
		int err;
	} nowhere[] = {
		{ { .policy = PLACEMENT_POLICIES }, -EINVAL },
		{ { .policy = 0x7f | PLACEMENT_STRICT }, -EINVAL },
		{ { .policy = PLACEMENT_BEST, .attribute = 255 }, -EINVAL },
		{ { .policy = PLACEMENT_BEST }, -EINVAL },
		{ { .policy = PLACEMENT_BIND }, -EINVAL },
		{ { .policy = PLACEMENT_LOCAL, .nodes = 1 }, -EINVAL },
		{ { .policy = PLACEMENT_NEAR, .near = 4096 }, -EINVAL },
		{ { .policy = PLACEMENT_NEAR, .near = ADDR_TAG << ADDR_TAG_SHIFT | 1ULL << 40 },
			-EINVAL },
		{ { .policy = PLACEMENT_NEAR, .near = UINT64_MAX }, -EINVAL },
		{ { .near = ADDR_TAG << ADDR_TAG_SHIFT }, -EINVAL },
		{ { .policy = PLACEMENT_LOCAL | PLACEMENT_STRICT }, -ENODEV },
	};
	struct rig *r = *state;
	struct alloc_reply reply;
	struct raw *raw;

	rig_start(r, NULL);
	raw = speech_connect(r, MESSAGE_ALLOC);
	assert_int_equal(alloc_on(raw, 0, 0, 0), -EINVAL);
	assert_int_equal(alloc_on(raw, UINT64_MAX, 0, 0), -EFBIG);
	assert_int_equal(alloc_on(raw, 1ULL << 63, 0, 0), -EFBIG);
	assert_int_equal(alloc_on(raw, (1ULL << 31) + 1, 0, 0), -EFBIG);
	assert_int_equal(alloc_on(raw, 1ULL << 31, 0, 0), -EFBIG); /* more than a node has */
	assert_int_equal(alloc_on(raw, 4096, 1ULL << 63, 0), -EINVAL);
	assert_int_equal(alloc_on(raw, 4096, UINT64_MAX, 0), -EINVAL);
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		const struct alloc_request q = { .bytes = 4096, .placement = nowhere[i].placement };

		assert_int_equal(
			RAW_ASK(raw, MESSAGE_ALLOC, alloc, &q, alloc, &reply), nowhere[i].err);
	}
	assert_int_equal(alloc_on(raw, 4096, 0, UINT32_MAX), 0); /* a site that nobody told of */
	raw_close(raw);
	speech_end(r);
}

/* ---- sessions that are not one's own ---- */

static int hello_once(const struct rig *rig, struct raw_session *s)
{
	struct raw *r = NULL;
	int err = raw_open(rig->port, s, &r);

	raw_close(r);
	return err;
}

static void sessions_of_others(void **state)
{
	struct raw_session owner, thief, stranger;
	struct raw *first = NULL, *second = NULL;
	struct rig *r = *state;
	struct grant_reply g;

	rig_start(r, NULL);
	raw_session_init(&owner);
	assert_int_equal(raw_open(r->port, &owner, &first), 0);
	assert_int_equal(raw_alloc(first, 4096, &g), 0);

	thief = owner;
	thief.hello.secret[ID_SIZE - 1] ^= 1;
	assert_int_equal(hello_once(r, &thief), -EACCES);
	memset(thief.hello.secret, 0, ID_SIZE);
	assert_int_equal(hello_once(r, &thief), -EACCES);
	thief.hello.resume = 0;
	assert_int_equal(hello_once(r, &thief), -EEXIST);
	raw_session_init(&stranger);
	stranger.hello.resume = 1;
	assert_int_equal(hello_once(r, &stranger), -ESTALE);
	/* Nothing of that has touched the owner. */
	assert_int_equal(raw_call(first, MESSAGE_RENEW, NULL, NULL), 0);

	/* The owner itself, from another connection: the old one ends. */
	assert_int_equal(raw_open(r->port, &owner, &second), 0);
	assert_int_equal(raw_wait_gone(first, RAW_LIMIT_NS), 0);
	assert_int_equal(raw_attach(second, g.addr, &g), 0);
	assert_int_equal(raw_free(second, g.addr), 0);
	assert_int_equal(raw_bye(second), 0);
	assert_int_equal(hello_once(r, &owner), -ESTALE);
	raw_close(first);
	raw_close(second);
	speech_end(r);
}

/* It says that it is a process which does not exist, and comes back while it is connected. */
static void a_process_that_never_was(void **state)
{
	struct raw *first, *second;
	struct rig *r = *state;
	struct raw_session s;

	rig_start(r, NULL);
	for (unsigned i = 0; i < 5; i++) {
		first = second = NULL;
		raw_session_init(&s);
		s.hello.identity.pid = 0x3fffffff;
		assert_int_equal(raw_open(r->port, &s, &first), 0);
		/* The first connection must go before it is answered, and then nobody is left. */
		assert_int_equal(raw_open(r->port, &s, &second), -ESTALE);
		raw_close(first);
		raw_close(second);
		assert_int_equal(rig_ask_number(r, "status", "schema"), 1);
	}
	speech_end(r);
}

/* ---- texts ---- */

/* What is in a name is a client's business; that every report can be made is ours. */
static void texts_that_are_none(void **state)
{
	static const char *const texts[] = { "\xff\xfe", "\xc3", "\xed\xa0\x80", "\x1b[2J\x07",
		"a\nb\rc", "\"},{\"", "%s%n%s%n", "\xf8\x88\x80\x80\x80", "\xe2\x80\xae", "" };
	static const char *const reports[] = { "status", "leaks", "sessions", "map" };
	static struct site_names_request names;
	static struct site_request q;
	struct rig *r = *state;

	rig_start(r, NULL);
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		static struct rig_output out;
		const char *const leaks[] = { "leaks", "--audit", NULL };
		struct raw *raw = NULL;
		struct raw_session s;
		struct alloc_request a = { .bytes = 64 };
		struct site_reply site;
		struct alloc_reply g;

		raw_session_init(&s);
		snprintf(s.hello.identity.exe, sizeof(s.hello.identity.exe), "%s", texts[i]);
		snprintf(
			s.hello.identity.cmdline, sizeof(s.hello.identity.cmdline), "%s", texts[i]);
		snprintf(s.hello.identity.host, sizeof(s.hello.identity.host), "%s", texts[i]);
		snprintf(s.hello.identity.job, sizeof(s.hello.identity.job), "%s", texts[i]);
		assert_int_equal(raw_open(r->port, &s, &raw), 0);
		memset(&q, 0, sizeof(q));
		q.nframes = q.nmodules = 1;
		q.frames[0].offset = i + 1;
		snprintf(q.modules[0].path, sizeof(q.modules[0].path), "%s", texts[i]);
		assert_int_equal(send_site(raw, &q, &site), 0);
		memset(&names, 0, sizeof(names));
		names.site = a.site = site.site;
		names.nnames = 1;
		snprintf(names.names[0].function, sizeof(names.names[0].function), "%s", texts[i]);
		snprintf(names.names[0].file, sizeof(names.names[0].file), "%s", texts[i]);
		assert_int_equal(RAW_TELL(raw, MESSAGE_SITE_NAMES, site_names, &names), 0);
		assert_int_equal(RAW_ASK(raw, MESSAGE_ALLOC, alloc, &a, alloc, &g), 0);
		raw_remember(g.addr, g.serial);
		for (unsigned k = 0; k < sizeof(reports) / sizeof(reports[0]); k++)
			json_decref(rig_ask(r, reports[k]));
		rig_ctl(r, leaks, &out);
		assert_true(out.status == 0 || out.status == 1);
		/* What a terminal would obey does not reach it. */
		assert_null(strchr(out.out, '\x1b'));
		assert_int_equal(raw_free(raw, g.addr), 0);
		raw_close(raw);
	}
	speech_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(reports_out_of_range),
		RIG_TEST(reports_that_do_not_exist),
		RIG_TEST(sites_that_make_no_sense),
		RIG_TEST(many_sites),
		RIG_TEST(names_of_strangers),
		RIG_TEST(goodbye_while_wiping),
		RIG_TEST(addresses_of_others),
		RIG_TEST(copies_of_others),
		RIG_TEST(impossible_memory),
		RIG_TEST(sessions_of_others),
		RIG_TEST(a_process_that_never_was),
		RIG_TEST(texts_that_are_none),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_REQUESTS, tests, sizeof(tests) / sizeof(tests[0]));
}
