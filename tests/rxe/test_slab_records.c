/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slabs without librmem: what is refused, and what rmemd reports of the objects in one by the records that its session
 * writes there, one-sided; true ones, late ones, and some that cannot be.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/object_record.h"
#include "common/size_class.h"
#include "tests/rxe/raw_session.h"
#include "tests/rxe/rig.h"

#define CLASS 8 /* slots of 64 bytes, of which 56 fit a page with their records */
#define SLOT 64
#define SLOTS 56
#define SLAB_BYTES 4096

static int alloc_slab(struct raw *r, uint64_t bytes, unsigned size_class, struct alloc_reply *out)
{
	const struct alloc_request q = { .bytes = bytes, .size_class = (uint8_t)size_class };

	return RAW_ASK(r, MESSAGE_ALLOC, alloc, &q, alloc, out);
}

static uint32_t tell_site(struct raw *r)
{
	struct site_request q = { .nmodules = 1, .nframes = 1 };
	struct site_reply a;

	q.modules[0].build_id[0] = 7;
	q.frames[0].offset = 0x1234;
	assert_int_equal(RAW_ASK(r, MESSAGE_SITE, site, &q, site, &a), 0);
	return a.site;
}

static void write_words(
	struct raw *r, uint64_t addr, uint32_t rkey, const uint64_t *words, size_t n)
{
	memcpy(raw_data(r), words, n * sizeof(*words));
	assert_int_equal(
		raw_access(r, IBV_WR_RDMA_WRITE, addr, n * sizeof(*words), rkey), IBV_WC_SUCCESS);
}

static uint64_t live(uint32_t slack, uint32_t site)
{
	const struct object_record o = {
		.state = OBJECT_LIVE, .generation = 1, .slack = slack, .site = site
	};

	return object_record_pack(&o);
}

static struct raw *open_session(struct rig *r, enum journal_mode mode, struct raw_session *s)
{
	struct raw *raw;

	raw_session_init(s);
	s->hello.journal = (uint8_t)mode;
	assert_int_equal(raw_open(r->port, s, &raw), 0);
	return raw;
}

/* A slab with access to it. */
static void lend(struct raw *raw, struct grant_reply *out)
{
	struct alloc_reply a;

	assert_int_equal(alloc_slab(raw, SLAB_BYTES, CLASS, &a), 0);
	assert_int_equal(a.bytes, SLAB_BYTES);
	raw_remember(a.addr, a.serial);
	assert_int_equal(raw_attach(raw, a.addr, out), 0);
}

static void what_cannot_be(void **state)
{
	struct rig *r = *state;
	struct raw_session s;
	struct alloc_reply a;
	struct raw *raw;

	rig_start(r, NULL);
	assert_int_equal(raw_connect(r->port, NULL, &raw), 0);
	raw_session_init(&s);
	s.hello.journal = JOURNAL_EXACT + 1;
	assert_int_equal(raw_hello(raw, &s), -EINVAL);
	s.hello.journal = JOURNAL_EXACT;
	assert_int_equal(raw_hello(raw, &s), 0);
	assert_int_equal(alloc_slab(raw, 5000, CLASS, &a), -EINVAL);
	assert_int_equal(alloc_slab(raw, 0, CLASS, &a), -EINVAL);
	assert_int_equal(alloc_slab(raw, SLAB_BYTES_MAX + 4096, CLASS, &a), -EINVAL);
	assert_int_equal(alloc_slab(raw, 4096, SIZE_CLASSES, &a), -EINVAL);
	assert_int_equal(alloc_slab(raw, 4096, 255, &a), -EINVAL);
	assert_int_equal(alloc_slab(raw, 4096, SIZE_CLASSES - 1, &a), -EINVAL); /* no slot fits */
	assert_int_equal(raw_bye(raw), 0);
	raw_close(raw);
	rig_await_no_session(r);
	rig_end(r);
}

/* Does a record of a report have such evidence? */
static bool has_evidence(const json_t *leaks, const char *begins)
{
	json_t *record, *text;
	size_t i, j;

	json_array_foreach(json_object_get(leaks, "records"), i, record)
	{
		json_array_foreach(json_object_get(record, "evidence"), j, text)
		{
			if (strncmp(json_string_value(text), begins, strlen(begins)) == 0)
				return true;
		}
	}
	return false;
}

/* What a session left when it closed: by its records, each with its call site. */
static void what_is_held(void **state)
{
	struct rig *r = *state;
	struct raw_session s;
	struct grant_reply g;
	struct raw *raw;
	uint64_t words[SLOTS] = { 0 };
	char request[80];
	json_t *answer;

	rig_start(r, (const char *const[]){ "--reclaim", "never", NULL });
	raw = open_session(r, JOURNAL_LAZY, &s);
	lend(raw, &g);
	words[0] = live(4, tell_site(raw));
	words[1] = object_record_with_state(words[0], OBJECT_FREED);
	words[2] = words[0];
	words[SLOTS - 1] = live(0, 0);
	write_words(raw, g.addr + SLOTS * SLOT, g.rkey, words, SLOTS);
	answer = rig_ask(r, "leaks");
	rig_assert_accounted(answer);
	assert_int_equal(rig_number(answer, "summary.reachable.blocks"), 3);
	assert_int_equal(rig_number(answer, "summary.reachable.objects"), 3);
	assert_int_equal(rig_number(answer, "summary.reachable.bytes"), 60 + 60 + 64);
	assert_int_equal(rig_number(answer, "coverage.corrupt_records"), 0);
	assert_true(has_evidence(answer, "sites up to "));
	json_decref(answer);

	snprintf(request, sizeof(request), "{\"cmd\":\"who-holds\",\"addr\":\"0x%llx\"}",
		(unsigned long long)g.addr + 2 * SLOT + 5);
	answer = rig_ask(r, request);
	assert_string_equal(rig_text(answer, "object.state"), "live");
	assert_int_equal(rig_number(answer, "object.offset_bytes"), 5);
	assert_int_equal(rig_number(answer, "object.bytes"), 60);
	json_decref(answer);

	assert_int_equal(raw_bye(raw), 0);
	raw_close(raw);
	answer = rig_ask(r, "leaks");
	rig_assert_accounted(answer);
	assert_int_equal(rig_number(answer, "summary.definite.objects"), 3);
	assert_int_equal(rig_number(answer, "coverage.allocations_without_site"), 1);
	assert_int_equal(rig_number(answer, "nodes.0.courtesy_bytes"), 3 * SLOT);
	assert_int_equal(rig_number(answer, "nodes.0.cached_bytes"), (SLOTS - 3) * SLOT);
	assert_int_equal(rig_number(answer, "nodes.0.metadata_bytes"), SLAB_BYTES - SLOTS * SLOT);
	json_decref(answer);
	json_decref(rig_ask(r, "{\"cmd\":\"reclaim\"}"));
	rig_await_no_session(r);
	/* What was taken has its call sites, too. */
	answer = rig_ask(r, "reclaimed");
	assert_int_equal(rig_number(answer, "lines_total"), 2);
	for (unsigned i = 0; i < 2; i++) {
		const json_t *line = json_array_get(json_object_get(answer, "lines"), i);
		const bool known = rig_text(line, "site")[0] != '\0';

		assert_int_equal(rig_number(line, "blocks"), known ? 2 : 1);
		assert_int_equal(rig_number(line, "bytes"), known ? 120 : 64);
		assert_int_equal(rig_number(line, "block_bytes"), known ? 2 * SLOT : SLOT);
	}
	json_decref(answer);
	rig_end(r);
}

/* Bit 0 of the heartbeat says that the records are complete; without it they stay as old as they were. */
static bool is_journaled(const json_t *sessions, void *arg)
{
	(void)arg;
	return rig_number(sessions, "sessions.0.journal_age_ms") < 2000;
}

static void how_old_it_is(void **state)
{
	const uint64_t silent = 2, complete = 5;
	struct rig *r = *state;
	struct raw_session s;
	struct raw *raw;

	rig_start(r, NULL);
	raw = open_session(r, JOURNAL_LAZY, &s);
	rig_elapse(3000);
	write_words(raw, s.reply.heartbeat_addr, s.reply.heartbeat_rkey, &silent, 1);
	rig_elapse(1000);
	assert_in_range(rig_ask_number(r, "sessions", "sessions.0.journal_age_ms"), 4000, 1000000);
	write_words(raw, s.reply.heartbeat_addr, s.reply.heartbeat_rkey, &complete, 1);
	json_decref(rig_await(r, "sessions", is_journaled, NULL, "the heartbeat is seen"));
	assert_int_equal(raw_bye(raw), 0);
	raw_close(raw);
	rig_await_no_session(r);
	rig_end(r);
}

/* Nonsense in the records: each byte is accounted for, and the operator is told. */
static void nonsense(void **state)
{
	struct rig *r = *state;
	struct raw_session s, other;
	struct raw *raw, *foreign;
	struct grant_reply g;
	uint64_t words[SLOTS];
	json_t *answer;

	rig_start(r, NULL);
	foreign = open_session(r, JOURNAL_LAZY, &other);
	raw = open_session(r, JOURNAL_EXACT, &s);
	lend(raw, &g);
	memset(words, 0xff, sizeof(words));
	words[0] = live(0, tell_site(foreign)); /* that site was never told to this session */
	words[1] = live(0, 0);
	write_words(raw, g.addr + SLOTS * SLOT, g.rkey, words, SLOTS);
	answer = rig_ask(r, "leaks");
	rig_assert_accounted(answer);
	assert_int_equal(rig_number(answer, "coverage.corrupt_records"), SLOTS - 1);
	assert_int_equal(rig_number(answer, "summary.reachable.objects"), SLOTS);
	assert_int_equal(rig_number(answer, "nodes.0.live_bytes"), SLOTS * SLOT);
	assert_true(has_evidence(answer, "journal-corrupt (55 records in 1 slab"));
	assert_true(has_evidence(answer, "journal exact"));
	json_decref(answer);
	/* It is given back like any allocation. */
	assert_int_equal(raw_free(raw, g.addr), 0);
	assert_int_equal(raw_bye(raw), 0);
	assert_int_equal(raw_bye(foreign), 0);
	raw_close(raw);
	raw_close(foreign);
	rig_await_no_session(r);
	rig_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(what_cannot_be),
		RIG_TEST(what_is_held),
		RIG_TEST(how_old_it_is),
		RIG_TEST(nonsense),
	};

	return rig_main(RIG_PORT_SLAB_RECORDS, tests, sizeof(tests) / sizeof(tests[0]));
}
