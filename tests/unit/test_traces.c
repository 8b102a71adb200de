/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The recorded traces in bench/traces/: each can be read and is what it was; a prefix of each is replayed with glibc's
 * allocator and with librmem's depot, each object full of bytes of its own, which must still be there at its end. And
 * what trace_read() refuses.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "bench/allocator.h"
#include "bench/slabs.h"
#include "bench/trace.h"

#define TRACES TESTS_DIR "/../bench/traces/"
#define PREFIX 100000U /* events */

static const struct known {
	const char *path;
	uint32_t threads, objects, events;
	uint64_t peak_bytes, all_bytes; /* all that were ever asked for */
	uint64_t utilisation;           /* of slabs, in 1/1000: at least this */
	uint64_t slabs;                 /* at most so many are asked for */
} known[] = {
	{ TRACES "compiler.xz", 1, 801771, 1603291, 11650313, 123446108, 860, 1500 },
	{ TRACES "database.xz", 1, 948948, 1776519, 36020443, 220463130, 860, 2600 },
	{ TRACES "interpreter.xz", 5, 945602, 1938553, 20295078, 295019096, 825, 2200 },
};
#define KNOWN (sizeof(known) / sizeof(*known))

static void read_known(const struct known *k, struct trace *t)
{
	char command[4096];
	FILE *f;

	assert_in_range(snprintf(command, sizeof(command), "exec xz -dc '%s'", k->path), 1,
		sizeof(command) - 1);
	f = popen(command, "re"); /* NOLINT(cert-env33-c): a path of ours */
	assert_non_null(f);
	assert_int_equal(trace_read(t, f), 0);
	assert_int_equal(pclose(f), 0);
}

static void traces_are_what_they_were(void **state)
{
	(void)state;
	for (size_t i = 0; i < KNOWN; i++) {
		uint64_t all_bytes = 0;
		struct trace t;

		read_known(&known[i], &t);
		for (uint32_t e = 0; e < t.events; e++)
			all_bytes += t.event[e].bytes;
		assert_int_equal(t.threads, known[i].threads);
		assert_int_equal(t.objects, known[i].objects);
		assert_int_equal(t.events, known[i].events);
		assert_int_equal(t.peak_bytes, known[i].peak_bytes);
		assert_int_equal(all_bytes, known[i].all_bytes);
		trace_release(&t);
	}
}

/* ---- replaying ---- */

struct object {
	unsigned char *p;
	uint32_t bytes;
};

static void check_bytes(const struct object *o, uint32_t number, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		if (o->p[i] != (unsigned char)number)
			fail_msg("object %u: byte %u of %u is another object's", number, i,
				o->bytes);
}

/* How many bytes live afterwards. */
static uint64_t replay_prefix(
	const struct allocator *with, const struct trace *t, struct object *objects)
{
	uint64_t live = 0;

	for (const struct trace_event *e = t->event; e < t->event + PREFIX; e++) {
		struct object *o = &objects[e->object];
		const uint32_t kept = e->bytes < o->bytes ? e->bytes : o->bytes;

		live += (uint64_t)e->bytes - o->bytes;
		if (e->kind == TRACE_FREE) {
			check_bytes(o, e->object, o->bytes);
			with->free(o->p, o->bytes);
		} else if (e->kind == TRACE_REALLOC) {
			o->p = with->resize(o->p, o->bytes, e->bytes);
			assert_non_null(o->p);
			check_bytes(o, e->object, kept);
		} else {
			o->p = with->alloc(e->bytes, (size_t)1 << e->align_log2);
			assert_non_null(o->p);
			assert_int_equal(
				(uintptr_t)o->p & (((uintptr_t)1 << e->align_log2) - 1), 0);
		}
		o->bytes = e->bytes;
		memset(o->p, (int)e->object, e->bytes); /* none if it is freed */
		if (with->footprint)
			assert_true(with->footprint() >= live);
	}
	return live;
}

static void replay(const struct allocator *with, const struct trace *t)
{
	struct object *objects = calloc(t->objects, sizeof(*objects));
	uint64_t live, found = 0;

	assert_non_null(objects);
	assert_true(t->events >= PREFIX);
	live = replay_prefix(with, t, objects);
	for (uint32_t i = 0; i < t->objects; i++) {
		found += objects[i].bytes;
		check_bytes(&objects[i], i, objects[i].bytes);
		if (objects[i].bytes)
			with->free(objects[i].p, objects[i].bytes);
	}
	assert_int_equal(found, live);
	free(objects);
}

static void objects_keep_their_bytes(const struct allocator *with)
{
	assert_int_equal(with->open(), 0);
	for (size_t i = 0; i < KNOWN; i++) {
		struct trace t;

		read_known(&known[i], &t);
		replay(with, &t);
		trace_release(&t);
		if (with->footprint) {
			slabs_drain();
			assert_int_equal(with->footprint(), 0);
		}
	}
}

static void glibc_keeps_bytes(void **state)
{
	(void)state;
	objects_keep_their_bytes(&allocator_glibc);
}

static void slabs_keep_bytes(void **state)
{
	(void)state;
	objects_keep_their_bytes(&allocator_rmem);
}

/* Of a whole trace, in one thread, with objects that are not written: live / footprint, both at their largest. */
static uint64_t utilisation_of(const struct trace *t)
{
	struct object *objects = calloc(t->objects, sizeof(*objects));
	uint64_t footprint = 0;

	assert_non_null(objects);
	for (const struct trace_event *e = t->event; e < t->event + t->events; e++) {
		struct object *o = &objects[e->object];

		if (e->kind == TRACE_FREE)
			slabs_free(o->p, o->bytes);
		else if (e->kind == TRACE_REALLOC)
			o->p = slabs_resize(o->p, o->bytes, e->bytes);
		else
			o->p = slabs_alloc(e->bytes, (size_t)1 << e->align_log2);
		o->bytes = e->bytes;
		footprint = slabs_footprint() > footprint ? slabs_footprint() : footprint;
	}
	for (uint32_t i = 0; i < t->objects; i++)
		if (objects[i].bytes)
			slabs_free(objects[i].p, objects[i].bytes);
	slabs_drain();
	free(objects);
	return t->peak_bytes * 1000 / footprint;
}

static void slabs_are_used_well(void **state)
{
	(void)state;
	assert_int_equal(slabs_open(), 0);
	for (size_t i = 0; i < KNOWN; i++) {
		const uint64_t lent = slabs_lent();
		struct trace t;

		read_known(&known[i], &t);
		assert_in_range(utilisation_of(&t), known[i].utilisation, 1000);
		assert_in_range(slabs_lent() - lent, 1, known[i].slabs);
		trace_release(&t);
	}
}

/* ---- what is no trace ---- */

static int read_bytes(const void *bytes, size_t n)
{
	struct trace t = { 0 };
	FILE *f = fmemopen((void *)(uintptr_t)bytes, n, "r");
	int rc;

	assert_non_null(f);
	rc = trace_read(&t, f);
	fclose(f);
	if (rc == 0)
		trace_release(&t);
	else
		assert_null(t.event);
	return rc;
}

#define HEAD "rmemtrc1"

static void only_traces_are_read(void **state)
{
	/* Two threads, two objects: 16 bytes, then 300 of thread 1; the first grows; both go. */
	static const char good[] = HEAD "\2\2\5\0\20\12\1\254\2\6\3\1\40\4\0\14\0\1";
	static const struct {
		const char *bytes;
		size_t n;
	} bad[] = {
#define BAD(text) { text, sizeof(text) - 1 }
		BAD("rmemtrc2\1\1\1\0\20"), BAD(HEAD "\0\1\1\0\20"), /* no thread */
		BAD(HEAD "\101\1\1\0\20"),                           /* too many */
		BAD(HEAD "\1\0\1\4\0"),                              /* no object */
		BAD(HEAD "\1\2\1\0\20"),                             /* more objects than events */
		BAD(HEAD "\1\1\377\377\377\377\17\0\20"),            /* too many events */
		BAD(HEAD "\1\1\1\5\20"),                             /* no such kind */
		BAD(HEAD "\1\1\1\10\1\20"),                          /* no such thread */
		BAD(HEAD "\1\1\1\0\0"),                              /* no bytes */
		BAD(HEAD "\1\1\1\0\377\377\377\377\17"),             /* too many */
		BAD(HEAD "\1\1\1\0\377\377\377\377\377\1"),          /* no number of this length */
		BAD(HEAD "\1\1\1\2\20\26"),                          /* aligned to 4 MiB */
		BAD(HEAD "\1\1\2\0\20\0\20"),                        /* an object too many */
		BAD(HEAD "\1\2\2\0\20\4\0"),                         /* one too few */
		BAD(HEAD "\1\1\2\0\20\4\1"),                         /* free what was never there */
		BAD(HEAD "\1\1\3\0\20\4\0\4\0"),                     /* twice */
		BAD(HEAD "\1\1\3\0\20\4\0\3\0\40"),                  /* grow what is free */
		BAD(HEAD "\1\1\1\0\20\4\0"),                         /* more than it says */
#undef BAD
	};

	(void)state;
	assert_int_equal(read_bytes(good, sizeof(good) - 1), 0);
	for (size_t n = 1; n < sizeof(good) - 1; n++)
		assert_int_equal(read_bytes(good, n), -EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (read_bytes(bad[i].bytes, bad[i].n) != -EINVAL)
			fail_msg("no. %zu is taken for a trace", i);
}

static void what_is_written_is_read(void **state)
{
	struct trace_event events[] = {
		{ .object = 0, .bytes = 1, .kind = TRACE_ALLOC },
		{ .object = 1, .bytes = TRACE_BYTES_MAX, .kind = TRACE_CALLOC, .thread = 63 },
		{ .object = 2,
			.bytes = 4096,
			.kind = TRACE_ALIGNED,
			.thread = 63,
			.align_log2 = 21 },
		{ .object = 1, .bytes = 128, .kind = TRACE_REALLOC },
		{ .object = 0, .kind = TRACE_FREE },
		{ .object = 2, .kind = TRACE_FREE, .thread = 1 },
	};
	const struct trace t = { .threads = 64, .objects = 3, .events = 6, .event = events };
	struct trace again;
	char *bytes;
	size_t n;
	FILE *f = open_memstream(&bytes, &n);

	(void)state;
	assert_non_null(f);
	assert_int_equal(trace_write(&t, f), 0);
	fclose(f);
	f = fmemopen(bytes, n, "r");
	assert_non_null(f);
	assert_int_equal(trace_read(&again, f), 0);
	fclose(f);
	free(bytes);
	assert_int_equal(again.threads, 64);
	assert_int_equal(again.objects, 3);
	assert_int_equal(again.events, 6);
	assert_int_equal(again.peak, 2);
	assert_int_equal(again.peak_bytes, 1 + TRACE_BYTES_MAX + 4096ULL);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(again.event[i].object, events[i].object);
		assert_int_equal(again.event[i].bytes, events[i].bytes);
		assert_int_equal(again.event[i].thread, events[i].thread);
		assert_int_equal(again.event[i].kind, events[i].kind);
		assert_int_equal(again.event[i].align_log2, events[i].align_log2);
	}
	trace_release(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(traces_are_what_they_were),
		cmocka_unit_test(glibc_keeps_bytes),
		cmocka_unit_test(slabs_keep_bytes),
		cmocka_unit_test(slabs_are_used_well),
		cmocka_unit_test(only_traces_are_read),
		cmocka_unit_test(what_is_written_is_read),
	};

	return cmocka_run_group_tests_name("traces", tests, NULL, NULL);
}
