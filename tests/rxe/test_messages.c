/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Control messages that no honest client sends, and connections that no honest client makes. Each is
 * refused with a reason or ends the connection it came on; rmemd goes on, serves others meanwhile,
 * keeps nothing of it, and accounts for every byte.
 */
#include "tests/rxe/rig.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/rxe/client.h"
#include "tests/rxe/raw.h"
#include "tests/support/random.h"

#define PORT 7492
#define SILENT 200
#define SITES 2000
#define HELLO_LIMIT_MS 5000 /* what rmemd allows */

/* ---- messages that are right, to be spoiled ---- */

struct message {
	uint8_t bytes[MESSAGE_MAX + 8];
	size_t n;
};

static void put_hello(struct wire *w)
{
	struct raw_session s;

	raw_session_init(&s);
	snprintf(s.hello.identity.exe, sizeof(s.hello.identity.exe), "x");
	snprintf(s.hello.identity.cmdline, sizeof(s.hello.identity.cmdline), "x y");
	hello_request_put(w, &s.hello);
}

static void put_site(struct wire *w, uint64_t offset)
{
	static struct site_request q;

	memset(&q, 0, sizeof(q));
	q.nmodules = q.nframes = 2;
	snprintf(q.modules[0].path, sizeof(q.modules[0].path), "/bin/a");
	snprintf(q.modules[1].path, sizeof(q.modules[1].path), "/lib/b");
	q.frames[0] = (struct site_frame){ 0, offset };
	q.frames[1] = (struct site_frame){ 1, 4711 };
	site_request_put(w, &q);
}

static void put_names(struct wire *w, uint32_t site, uint8_t n)
{
	static struct site_names_request q;

	memset(&q, 0, sizeof(q));
	q.site = site;
	q.nnames = n;
	for (unsigned i = 0; i < n; i++) {
		snprintf(q.names[i].function, sizeof(q.names[i].function), "f%u", i);
		snprintf(q.names[i].file, sizeof(q.names[i].file), "f.c");
	}
	site_names_request_put(w, &q);
}

static void put_body(struct wire *w, enum message_type type)
{
	switch (type) {
	case MESSAGE_HELLO:
		put_hello(w);
		break;
	case MESSAGE_ALLOC:
		alloc_request_put(w, &(struct alloc_request){ .bytes = 4096, .node = -1 });
		break;
	case MESSAGE_FREE:
		free_request_put(w, &(struct free_request){ .addr = 4096 });
		break;
	case MESSAGE_ATTACH:
		attach_request_put(w, &(struct attach_request){ .addr = 4096 });
		break;
	case MESSAGE_SITE:
		put_site(w, 1);
		break;
	case MESSAGE_SITE_NAMES:
		put_names(w, 1, 2);
		break;
	case MESSAGE_JOIN: /* of a session that does not exist */
		join_request_put(w, &(struct join_request){ .session_id = { 1 } });
		break;
	case MESSAGE_SHARE:
		share_request_put(w, &(struct share_request){ .addr = 4096 });
		break;
	case MESSAGE_LOOKUP:
		lookup_request_put(w, &(struct lookup_request){ .addr = 4096 });
		break;
	case MESSAGE_DETACH:
		detach_request_put(w, &(struct detach_request){ .addr = 4096 });
		break;
	case MESSAGE_FENCE:
		fence_request_put(w, &(struct fence_request){ .ticket = 1 });
		break;
	case MESSAGE_REPORT:
		report_request_put(w, &(struct report_request){ "{\"cmd\":\"status\"}" });
		break;
	case MESSAGE_REPORT_READ:
		report_read_request_put(w, &(struct report_read_request){ 0 });
		break;
	default: /* BYE and RENEW have none */
		break;
	}
}

static void make(struct message *m, enum message_type type, uint32_t seq)
{
	const struct header h = { .type = (uint8_t)type, .seq = seq };
	struct wire w = wire_over(m->bytes, MESSAGE_MAX);

	memset(m, 0, sizeof(*m));
	header_put(&w, &h);
	put_body(&w, type);
	assert_false(w.failed);
	m->n = w.pos;
}

/* ---- saying them ---- */

static bool is_for_observers(unsigned type)
{
	return type == MESSAGE_REPORT || type == MESSAGE_REPORT_READ;
}

/* A connection on which a message of that type would be in order. */
static struct raw *connect_for(unsigned type)
{
	const struct raw_attr attr = { .purpose = type == MESSAGE_HELLO  ? PURPOSE_SESSION
						  : type == MESSAGE_JOIN ? PURPOSE_CHANNEL
									 : PURPOSE_OBSERVER };
	struct raw_session s;
	struct raw *r = NULL;

	if (type == MESSAGE_HELLO || type == MESSAGE_JOIN || is_for_observers(type)) {
		assert_int_equal(raw_connect(PORT, &attr, &r), 0);
		return r;
	}
	raw_session_init(&s);
	assert_int_equal(raw_open(PORT, &s, &r), 0);
	return r;
}

/* Its status, or -ECONNRESET when the connection was ended instead. */
static int say(struct raw *r, const void *bytes, size_t n)
{
	struct header h;
	struct wire reply;
	int err = raw_send(r, bytes, n);

	if (!err)
		err = raw_receive(r, &reply);
	if (err)
		return err;
	header_get(&reply, &h);
	assert_false(reply.failed);
	assert_in_range(-h.status, 0, 4095);
	return h.status;
}

/* The message ends a connection on which it comes alone. */
static void assert_cut_off(unsigned type, const void *bytes, size_t n)
{
	struct raw *r = connect_for(type);
	int err = say(r, bytes, n);

	if (err != -ECONNRESET)
		fail_msg("a %s of %zu bytes: %s", message_name((uint8_t)type), n,
			err ? strerror(-err) : "answered");
	raw_close(r);
}

/* ---- rmemd's health ---- */

struct health {
	long long refused, rss_kb;
	unsigned fds;
};

static struct health look(struct rig *r)
{
	struct health h = { .refused = rig_ask_number(r, "status", "counters.refused_requests") };
	char path[64], line[128];
	DIR *dir;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)r->daemon.pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		(void)sscanf(line, "VmRSS: %lld", &h.rss_kb);
	fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)r->daemon.pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		h.fds++;
	closedir(dir);
	return h;
}

/* An honest client is served. */
static void assert_serves(struct rig *r)
{
	struct client *c = client_start_puppet(r->server, 10000);
	uint64_t addr;

	client_open(c);
	addr = client_alloc(c, 10000, -1);
	client_fill(c, addr, 10000, 42);
	client_check(c, addr, 10000, 42);
	client_free(c, addr);
	client_close(c);
	client_finish(c);
}

static void assert_well(struct rig *r)
{
	json_t *leaks = rig_ask(r, "leaks");

	rig_assert_accounted(leaks);
	assert_int_equal(rig_number(leaks, "summary.zombie.blocks"), 0);
	json_decref(leaks);
	assert_serves(r);
}

/* Nobody holds anything in the end, so nothing stays behind either. */
static void end(struct rig *r)
{
	assert_well(r);
	rig_stop(r, false);
}

/* ---- malformed ---- */

static void cut_short_and_too_long(void **state)
{
	static const size_t extra[] = { 1, 2, 9, 100 };
	struct rig *r = *state;
	unsigned long said = 0;
	struct message m;
	struct health before;

	rig_start(r, NULL);
	before = look(r);
	for (unsigned type = MESSAGE_HELLO; type <= MESSAGE_FENCE; type++) {
		make(&m, type, 1000);
		for (size_t n = 0; n < m.n; n++, said++)
			assert_cut_off(type, m.bytes, n);
		for (unsigned i = 0; i < sizeof(extra) / sizeof(extra[0]); i++, said++)
			assert_cut_off(type, m.bytes, m.n + extra[i]);
	}
	print_message("%lu messages\n", said);
	assert_int_equal(look(r).refused - before.refused, said);
	end(r);
}

static void garbage_of_every_size(void **state)
{
	struct rig *r = *state;
	uint64_t seed = 1;
	struct message m;

	rig_start(r, NULL);
	for (size_t n = 0; n <= MESSAGE_MAX + 1; n += n < 64 || n > MESSAGE_MAX - 8 ? 1 : 67) {
		unsigned type = 1 + (unsigned)random_below(&seed, MESSAGE_FENCE);
		struct raw *raw = connect_for(type);

		make(&m, type, 1000);
		/* Half of them get as far as a decoder. */
		if (n % 2)
			random_bytes(&seed, m.bytes + 10, sizeof(m.bytes) - 10);
		else
			random_bytes(&seed, m.bytes, sizeof(m.bytes));
		if (say(raw, m.bytes, n) == 0)
			fail_msg("a %s of %zu random bytes was answered",
				message_name((uint8_t)type), n);
		raw_close(raw);
	}
	end(r);
}

static void headers_that_mean_nothing(void **state)
{
	static const uint8_t types[] = { 0, 16, 17, 63, 127, 128, 200, 254, 255 };
	static const int32_t statuses[] = { -1, 1, INT32_MIN, INT32_MAX };
	struct rig *r = *state;
	struct message m;

	rig_start(r, NULL);
	for (unsigned i = 0; i < sizeof(types); i++) {
		make(&m, MESSAGE_RENEW, 7);
		m.bytes[0] = types[i];
		assert_cut_off(MESSAGE_RENEW, m.bytes, m.n);
	}
	for (unsigned i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		const struct header h = { .type = MESSAGE_RENEW, .status = statuses[i] };
		struct wire w = wire_over(m.bytes, sizeof(m.bytes));

		header_put(&w, &h);
		assert_cut_off(MESSAGE_RENEW, m.bytes, w.pos);
	}
	end(r);
}

/* ---- out of order ---- */

static void requests_out_of_order(void **state)
{
	struct rig *r = *state;
	struct message m;

	rig_start(r, NULL);
	/* HELLO twice. */
	make(&m, MESSAGE_HELLO, 1000);
	assert_cut_off(MESSAGE_RENEW, m.bytes, m.n);
	for (unsigned type = MESSAGE_BYE; type <= MESSAGE_FENCE; type++) {
		struct raw *raw;

		make(&m, type, 1000);
		if (!is_for_observers(type)) {
			assert_cut_off(MESSAGE_HELLO, m.bytes, m.n);  /* before HELLO */
			assert_cut_off(MESSAGE_REPORT, m.bytes, m.n); /* from an observer */
		}
		/* After BYE. */
		raw = connect_for(MESSAGE_RENEW);
		assert_int_equal(raw_bye(raw), 0);
		assert_int_equal(say(raw, m.bytes, m.n), -ECONNRESET);
		raw_close(raw);
	}
	make(&m, MESSAGE_HELLO, 1000);
	assert_cut_off(MESSAGE_REPORT, m.bytes, m.n);
	end(r);
}

static void requests_without_waiting(void **state)
{
	struct rig *r = *state;
	struct wire reply;
	struct message m;

	rig_start(r, NULL);
	for (unsigned i = 0; i < 50; i++) {
		struct raw *raw = connect_for(MESSAGE_RENEW);

		make(&m, i % 2 ? MESSAGE_RENEW : MESSAGE_SITE, 1000);
		for (unsigned k = 0; k < 2; k++)
			assert_int_equal(raw_send_nowait(raw, m.bytes, m.n), 0);
		/* Answered, or cut off: not left without either. */
		for (unsigned k = 0; k < 2; k++) {
			int err = raw_receive(raw, &reply);

			assert_true(err == 0 || err == -ECONNRESET);
		}
		raw_close(raw);
	}
	end(r);
}

static void never_says_hello(void **state)
{
	struct rig *r = *state;
	struct raw *raw = NULL;
	uint64_t began_ns, took_ms;

	rig_start(r, NULL);
	assert_int_equal(raw_connect(PORT, NULL, &raw), 0);
	began_ns = clock_boot_ns();
	assert_int_equal(raw_wait_gone(raw, RAW_LIMIT_NS), 0);
	took_ms = (clock_boot_ns() - began_ns) / NSEC_PER_MSEC;
	assert_in_range(took_ms, HELLO_LIMIT_MS - 500, 3 * HELLO_LIMIT_MS);
	raw_close(raw);
	end(r);
}

/* ---- reports ---- */

static int ask(struct raw *r, const char *request, uint64_t *out_bytes)
{
	uint8_t buffer[MESSAGE_MAX];
	struct wire body = wire_over(buffer, sizeof(buffer)), reply;
	struct report_request q;
	struct report_reply a;
	int err;

	snprintf(q.request, sizeof(q.request), "%s", request);
	report_request_put(&body, &q);
	err = raw_call(r, MESSAGE_REPORT, &body, &reply);
	if (err)
		return err;
	report_reply_get(&reply, &a);
	assert_int_equal(wire_finish(&reply), 0);
	*out_bytes = a.total_bytes;
	return 0;
}

static int read_chunk(struct raw *r, uint64_t offset, struct report_read_reply *out)
{
	uint8_t buffer[16];
	struct wire body = wire_over(buffer, sizeof(buffer)), reply;
	int err;

	report_read_request_put(&body, &(struct report_read_request){ offset });
	err = raw_call(r, MESSAGE_REPORT_READ, &body, &reply);
	if (err)
		return err;
	report_read_reply_get(&reply, out);
	return wire_finish(&reply);
}

static void reports_out_of_range(void **state)
{
	static struct report_read_reply chunk;
	struct rig *r = *state;
	uint64_t bytes = 0;
	struct raw *raw;

	rig_start(r, NULL);
	raw = connect_for(MESSAGE_REPORT);
	assert_int_equal(read_chunk(raw, 0, &chunk), -EINVAL);
	assert_int_equal(ask(raw, "{\"cmd\":\"status\"}", &bytes), 0);
	assert_true(bytes > 100);
	assert_int_equal(read_chunk(raw, 0, &chunk), 0);
	assert_int_equal(read_chunk(raw, bytes, &chunk), 0);
	assert_int_equal(chunk.chunk_bytes, 0);
	assert_int_equal(read_chunk(raw, bytes + 1, &chunk), -EINVAL);
	assert_int_equal(read_chunk(raw, UINT64_MAX, &chunk), -EINVAL);
	raw_close(raw);
	end(r);
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
	raw = connect_for(MESSAGE_REPORT);
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	for (unsigned i = 0; i <= sizeof(requests) / sizeof(requests[0]); i++) {
		const char *request =
			i < sizeof(requests) / sizeof(requests[0]) ? requests[i] : deep;
		uint64_t bytes = 0;
		int err = ask(raw, request, &bytes);

		if (err == -ECONNRESET || err == -ETIMEDOUT)
			fail_msg("'%.40s': %s", request, strerror(-err));
		if (err)
			continue;
		assert_int_equal(read_chunk(raw, 0, &chunk), 0);
		if (!memmem(chunk.chunk, chunk.chunk_bytes, "\"error\"", 7))
			fail_msg("'%.40s' has an answer: %.*s", request, (int)chunk.chunk_bytes,
				(char *)chunk.chunk);
	}
	raw_close(raw);
	end(r);
}

/* ---- sites ---- */

static int send_site(struct raw *r, const struct site_request *q, uint32_t *out)
{
	uint8_t buffer[MESSAGE_MAX];
	struct wire body = wire_over(buffer, sizeof(buffer)), reply;
	struct site_reply a;
	int err;

	site_request_put(&body, q);
	err = raw_call(r, MESSAGE_SITE, &body, &reply);
	if (err)
		return err;
	site_reply_get(&reply, &a);
	assert_int_equal(wire_finish(&reply), 0);
	*out = a.site;
	return 0;
}

static int send_names(struct raw *r, uint32_t site, uint8_t n)
{
	uint8_t buffer[MESSAGE_MAX];
	struct wire body = wire_over(buffer, sizeof(buffer));

	put_names(&body, site, n);
	return raw_call(r, MESSAGE_SITE_NAMES, &body, NULL);
}

static void sites_that_make_no_sense(void **state)
{
	static struct site_request q;
	struct rig *r = *state;
	uint32_t site = 0;
	struct raw *raw;

	rig_start(r, NULL);
	raw = connect_for(MESSAGE_SITE);
	memset(&q, 0, sizeof(q));
	assert_int_equal(send_site(raw, &q, &site), -EINVAL); /* no frames */
	q.nframes = 1;
	assert_int_equal(send_site(raw, &q, &site), -EINVAL); /* of no module */
	q.nmodules = 2;
	q.frames[0].module = 2;
	assert_int_equal(send_site(raw, &q, &site), -EINVAL);
	q.frames[0].module = 255;
	assert_int_equal(send_site(raw, &q, &site), -EINVAL);
	q.frames[0].module = 1;
	assert_int_equal(send_site(raw, &q, &site), 0);
	assert_int_equal(send_names(raw, 0, 1), -ENOENT);
	assert_int_equal(send_names(raw, site + 1, 1), -ENOENT);
	assert_int_equal(send_names(raw, UINT32_MAX, 1), -ENOENT);
	assert_int_equal(send_names(raw, site, 0), -EINVAL);
	assert_int_equal(send_names(raw, site, 2), -EINVAL);
	assert_int_equal(send_names(raw, site, SITE_DEPTH_MAX), -EINVAL);
	assert_int_equal(send_names(raw, site, 1), 0);
	raw_close(raw);
	end(r);
}

/* Thousands from one client: all are kept, once each. (That there is an end is a unit test.) */
static void many_sites(void **state)
{
	static struct site_request q;
	struct rig *r = *state;
	struct raw *raw;
	uint32_t site;

	rig_start(r, NULL);
	raw = connect_for(MESSAGE_SITE);
	memset(&q, 0, sizeof(q));
	q.nframes = q.nmodules = 1;
	for (unsigned i = 0; i < 2 * SITES; i++) {
		q.frames[0].offset = i % SITES;
		assert_int_equal(send_site(raw, &q, &site), 0);
	}
	assert_int_equal(rig_ask_number(r, "status", "sites"), SITES);
	raw_close(raw);
	end(r);
}

/* ---- other people's memory, impossible memory ---- */

static void addresses_of_others(void **state)
{
	struct grant_reply theirs, mine, got;
	struct raw *owner, *thief;
	struct rig *r = *state;

	rig_start(r, NULL);
	owner = connect_for(MESSAGE_ALLOC);
	thief = connect_for(MESSAGE_ALLOC);
	assert_int_equal(raw_alloc(owner, 8192, &theirs), 0);
	assert_int_equal(raw_alloc(thief, 8192, &mine), 0);
	const uint64_t wrong[] = { 0, 1, UINT64_MAX, theirs.addr, theirs.addr + 4096, mine.addr + 1,
		mine.addr + 4096, mine.addr - 1, mine.addr + mine.bytes, mine.addr ^ 1ULL << 63 };
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(raw_free(thief, wrong[i]), -EINVAL);
		assert_int_equal(raw_attach(thief, wrong[i], &got), -ESTALE);
	}
	assert_int_equal(raw_free(thief, mine.addr), 0);
	assert_int_equal(raw_free(thief, mine.addr), -EINVAL);
	assert_int_equal(raw_attach(thief, mine.addr, &got), -ESTALE);
	assert_int_equal(raw_free(owner, theirs.addr), 0);
	raw_close(owner);
	raw_close(thief);
	end(r);
}

static int alloc_on(struct raw *r, uint64_t bytes, int32_t node, uint32_t site)
{
	const struct alloc_request q = { .bytes = bytes, .node = node, .site = site };
	struct alloc_reply got;
	struct wire reply;
	uint8_t buffer[32];
	struct wire body = wire_over(buffer, sizeof(buffer));
	int err;

	alloc_request_put(&body, &q);
	err = raw_call(r, MESSAGE_ALLOC, &body, &reply);
	if (err)
		return err;
	alloc_reply_get(&reply, &got);
	assert_int_equal(wire_finish(&reply), 0);
	return raw_free(r, got.addr);
}

static void impossible_memory(void **state)
{
	struct rig *r = *state;
	struct raw *raw;

	rig_start(r, NULL);
	raw = connect_for(MESSAGE_ALLOC);
	assert_int_equal(alloc_on(raw, 0, -1, 0), -EINVAL);
	assert_int_equal(alloc_on(raw, UINT64_MAX, -1, 0), -EFBIG);
	assert_int_equal(alloc_on(raw, 1ULL << 63, -1, 0), -EFBIG);
	assert_int_equal(alloc_on(raw, (1ULL << 31) + 1, -1, 0), -EFBIG);
	assert_int_equal(alloc_on(raw, 1ULL << 31, -1, 0), -EFBIG); /* more than a node has */
	assert_int_equal(alloc_on(raw, 4096, -2, 0), -EINVAL);
	assert_int_equal(alloc_on(raw, 4096, 63, 0), -EINVAL);
	assert_int_equal(alloc_on(raw, 4096, 64, 0), -EINVAL);
	assert_int_equal(alloc_on(raw, 4096, INT32_MAX, 0), -EINVAL);
	assert_int_equal(alloc_on(raw, 4096, INT32_MIN, 0), -EINVAL);
	assert_int_equal(alloc_on(raw, 4096, -1, UINT32_MAX), 0); /* a site that nobody told of */
	raw_close(raw);
	end(r);
}

/* ---- sessions that are not one's own ---- */

static int hello_once(struct raw_session *s)
{
	struct raw *r = NULL;
	int err = raw_open(PORT, s, &r);

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
	assert_int_equal(raw_open(PORT, &owner, &first), 0);
	assert_int_equal(raw_alloc(first, 4096, &g), 0);

	thief = owner;
	thief.hello.secret[ID_SIZE - 1] ^= 1;
	assert_int_equal(hello_once(&thief), -EACCES);
	memset(thief.hello.secret, 0, ID_SIZE);
	assert_int_equal(hello_once(&thief), -EACCES);
	thief.hello.resume = 0;
	assert_int_equal(hello_once(&thief), -EEXIST);
	raw_session_init(&stranger);
	stranger.hello.resume = 1;
	assert_int_equal(hello_once(&stranger), -ESTALE);
	/* Nothing of that has touched the owner. */
	assert_int_equal(raw_call(first, MESSAGE_RENEW, NULL, NULL), 0);

	/* The owner itself, from another connection: the old one ends. */
	assert_int_equal(raw_open(PORT, &owner, &second), 0);
	assert_int_equal(raw_wait_gone(first, RAW_LIMIT_NS), 0);
	assert_int_equal(raw_attach(second, g.addr, &g), 0);
	assert_int_equal(raw_free(second, g.addr), 0);
	assert_int_equal(raw_bye(second), 0);
	assert_int_equal(hello_once(&owner), -ESTALE);
	raw_close(first);
	raw_close(second);
	end(r);
}

/* It says that it is a process which does not exist, and comes back while it is connected. */
static void a_process_that_never_was(void **state)
{
	struct raw *first, *second;
	struct rig *r = *state;
	struct raw_session s;

	rig_start(r, NULL);
	for (unsigned i = 0; i < 10; i++) {
		int err;

		first = second = NULL;
		raw_session_init(&s);
		s.hello.identity.pid = 0x3fffffff;
		assert_int_equal(raw_open(PORT, &s, &first), 0);
		err = raw_open(PORT, &s, &second);
		if (err)
			assert_int_equal(err, -ESTALE);
		raw_close(first);
		raw_close(second);
		assert_int_equal(rig_ask_number(r, "status", "schema"), 1);
	}
	end(r);
}

/* ---- texts ---- */

/* What is in a name is a client's business; that every report can be made is ours. */
static void texts_that_are_none(void **state)
{
	static const char *const texts[] = { "\xff\xfe", "\xc3", "\xed\xa0\x80", "\x1b[2J\x07",
		"a\nb\rc", "\"},{\"", "%s%n%s%n", "\xf8\x88\x80\x80\x80", "\xe2\x80\xae", "" };
	static const char *const reports[] = { "status", "leaks", "sessions", "map" };
	static struct site_request q;
	struct rig *r = *state;

	rig_start(r, NULL);
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		static struct rig_output out;
		const char *const leaks[] = { "leaks", NULL };
		struct raw *raw = NULL;
		struct raw_session s;
		struct alloc_reply g;
		uint32_t site = 0;

		raw_session_init(&s);
		snprintf(s.hello.identity.exe, sizeof(s.hello.identity.exe), "%s", texts[i]);
		snprintf(
			s.hello.identity.cmdline, sizeof(s.hello.identity.cmdline), "%s", texts[i]);
		snprintf(s.hello.identity.host, sizeof(s.hello.identity.host), "%s", texts[i]);
		snprintf(s.hello.identity.job, sizeof(s.hello.identity.job), "%s", texts[i]);
		assert_int_equal(raw_open(PORT, &s, &raw), 0);
		memset(&q, 0, sizeof(q));
		q.nframes = q.nmodules = 1;
		q.frames[0].offset = i + 1;
		snprintf(q.modules[0].path, sizeof(q.modules[0].path), "%s", texts[i]);
		assert_int_equal(send_site(raw, &q, &site), 0);
		{
			const struct alloc_request a = { .bytes = 64, .node = -1, .site = site };
			static struct site_names_request names;
			uint8_t buffer[MESSAGE_MAX];
			struct wire body = wire_over(buffer, sizeof(buffer)), reply;

			memset(&names, 0, sizeof(names));
			names.site = site;
			names.nnames = 1;
			snprintf(names.names[0].function, sizeof(names.names[0].function), "%s",
				texts[i]);
			snprintf(names.names[0].file, sizeof(names.names[0].file), "%s", texts[i]);
			site_names_request_put(&body, &names);
			assert_int_equal(raw_call(raw, MESSAGE_SITE_NAMES, &body, NULL), 0);
			body = wire_over(buffer, sizeof(buffer));
			alloc_request_put(&body, &a);
			assert_int_equal(raw_call(raw, MESSAGE_ALLOC, &body, &reply), 0);
			alloc_reply_get(&reply, &g);
		}
		for (unsigned k = 0; k < sizeof(reports) / sizeof(reports[0]); k++)
			json_decref(rig_ask(r, reports[k]));
		rig_ctl(r, leaks, &out);
		assert_true(out.status == 0 || out.status == 1);
		/* What a terminal would obey does not reach it. */
		assert_null(strchr(out.out, '\x1b'));
		assert_int_equal(raw_free(raw, g.addr), 0);
		raw_close(raw);
	}
	end(r);
}

/* ---- connections ---- */

struct bad_preamble {
	uint32_t magic;
	uint16_t version;
	uint8_t purpose;
	uint8_t bytes;
	int status;
};

static void preambles_that_are_wrong(void **state)
{
	static const struct bad_preamble wrong[] = {
		{ PROTOCOL_MAGIC, PROTOCOL_VERSION, 0, PREAMBLE_SIZE, -EPROTO },
		{ PROTOCOL_MAGIC, PROTOCOL_VERSION, PURPOSE_CHANNEL + 1, PREAMBLE_SIZE, -EPROTO },
		{ PROTOCOL_MAGIC, PROTOCOL_VERSION, 255, PREAMBLE_SIZE, -EPROTO },
		{ PROTOCOL_MAGIC + 1, PROTOCOL_VERSION, PURPOSE_SESSION, PREAMBLE_SIZE, -EPROTO },
		{ 0, PROTOCOL_VERSION, PURPOSE_SESSION, PREAMBLE_SIZE, -EPROTO },
		{ PROTOCOL_MAGIC, 0, PURPOSE_SESSION, PREAMBLE_SIZE, -EPROTONOSUPPORT },
		{ PROTOCOL_MAGIC, PROTOCOL_VERSION + 1, PURPOSE_SESSION, PREAMBLE_SIZE,
			-EPROTONOSUPPORT },
		{ PROTOCOL_MAGIC, 0xffff, PURPOSE_OBSERVER, PREAMBLE_SIZE, -EPROTONOSUPPORT },
		/* Cut short; the transport fills up with zeroes. */
		{ PROTOCOL_MAGIC, PROTOCOL_VERSION, PURPOSE_SESSION, 0, -EPROTO },
		{ PROTOCOL_MAGIC, PROTOCOL_VERSION, PURPOSE_SESSION, 3, -EPROTO },
		{ PROTOCOL_MAGIC, PROTOCOL_VERSION, PURPOSE_SESSION, 6, -EPROTO },
	};
	struct rig *r = *state;

	rig_start(r, NULL);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const struct preamble p = { .magic = wrong[i].magic,
			.version = wrong[i].version,
			.purpose = wrong[i].purpose };
		uint8_t data[PREAMBLE_SIZE];
		struct wire w = wire_over(data, sizeof(data));
		const struct raw_attr attr = { .private_data = data,
			.private_data_len = wrong[i].bytes };
		struct raw *raw = NULL;

		preamble_put(&w, &p);
		assert_int_equal(raw_connect(PORT, &attr, &raw), -ECONNREFUSED);
		assert_true(raw->has_answer);
		assert_int_equal(raw->answer.magic, PROTOCOL_MAGIC);
		assert_int_equal(raw->answer.version, PROTOCOL_VERSION);
		assert_int_equal(raw->answer.status, wrong[i].status);
		raw_close(raw);
	}
	end(r);
}

static void many_who_say_nothing(void **state)
{
	static struct raw *silent[SILENT];
	struct rig *r = *state;
	struct health before;

	rig_start(r, NULL);
	before = look(r);
	for (unsigned i = 0; i < SILENT; i++)
		assert_int_equal(raw_connect(PORT, NULL, &silent[i]), 0);
	assert_serves(r);
	for (unsigned i = 0; i < SILENT; i++) {
		assert_int_equal(raw_wait_gone(silent[i], RAW_LIMIT_NS), 0);
		raw_close(silent[i]);
	}
	assert_true(look(r).fds <= before.fds + 1); /* its end of our last question */
	end(r);
}

static void never_listens(void **state)
{
	const struct raw_attr attr = { .no_receives = true };
	struct raw *deaf[8] = { NULL };
	struct rig *r = *state;
	struct message m;

	rig_start(r, NULL);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(raw_connect(PORT, &attr, &deaf[i]), 0);
		make(&m, MESSAGE_HELLO, 1);
		assert_int_equal(raw_send(deaf[i], m.bytes, m.n), 0);
		make(&m, MESSAGE_ALLOC, 2);
		if (i % 2)
			(void)raw_send(deaf[i], m.bytes, m.n);
	}
	assert_serves(r);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(raw_wait_gone(deaf[i], 2 * RAW_LIMIT_NS), 0);
		raw_close(deaf[i]);
	}
	assert_well(r);
	rig_stop(r, true); /* what was allocated for the deaf stays until its courtesy is over */
}

static void leaves_in_the_middle(void **state)
{
	struct rig *r = *state;
	struct message m;

	rig_start(r, NULL);
	for (unsigned type = MESSAGE_HELLO; type <= MESSAGE_FENCE; type++) {
		for (unsigned i = 0; i < 10; i++) {
			struct raw *raw = connect_for(type);

			make(&m, type, 1000);
			assert_int_equal(raw_send_nowait(raw, m.bytes, m.n), 0);
			raw_close(raw);
		}
	}
	assert_well(r);
	rig_stop(r, rig_ask_number(r, "status", "allocations.blocks") > 0);
}

/* ---- nothing accumulates ---- */

static void misbehave(unsigned i)
{
	unsigned type = 1 + i % MESSAGE_FENCE;
	struct raw *raw = connect_for(type);
	struct message m;

	make(&m, type, 1000);
	if (i % 3 == 0)
		(void)raw_send_nowait(raw, m.bytes, m.n);
	else if (i % 3 == 1)
		(void)say(raw, m.bytes, m.n / 2);
	raw_close(raw);
}

static void nothing_accumulates(void **state)
{
	static const char *const options[] = { "--ttl", "2s", "--courtesy", "0", "--reclaim",
		"100ms", NULL };
	struct health before, after;
	struct rig *r = *state;

	rig_start(r, options);
	for (unsigned i = 0; i < 120; i++)
		misbehave(i);
	before = look(r);
	for (unsigned i = 0; i < 360; i++)
		misbehave(i);
	after = look(r);
	print_message("memory %lld → %lld KiB, %u → %u files\n", before.rss_kb, after.rss_kb,
		before.fds, after.fds);
	assert_true(after.fds <= before.fds + 1);
	assert_true(after.rss_kb - before.rss_kb < 1024);
	assert_well(r);
	rig_stop(r, rig_ask_number(r, "status", "allocations.blocks") > 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(cut_short_and_too_long),
		RIG_TEST(garbage_of_every_size),
		RIG_TEST(headers_that_mean_nothing),
		RIG_TEST(requests_out_of_order),
		RIG_TEST(requests_without_waiting),
		RIG_TEST(never_says_hello),
		RIG_TEST(reports_out_of_range),
		RIG_TEST(reports_that_do_not_exist),
		RIG_TEST(sites_that_make_no_sense),
		RIG_TEST(many_sites),
		RIG_TEST(addresses_of_others),
		RIG_TEST(impossible_memory),
		RIG_TEST(sessions_of_others),
		RIG_TEST(a_process_that_never_was),
		RIG_TEST(texts_that_are_none),
		RIG_TEST(preambles_that_are_wrong),
		RIG_TEST(many_who_say_nothing),
		RIG_TEST(never_listens),
		RIG_TEST(leaves_in_the_middle),
		RIG_TEST(nothing_accumulates),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(PORT, tests, sizeof(tests) / sizeof(tests[0]));
}
