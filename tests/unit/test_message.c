/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every message of the protocol, by the lists it is made from: it comes back as it went, and no
 * byte too few, too many or too long is taken. Decoders get exact-size heap copies, so that ASan
 * and valgrind see a read past the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/messages.h"
#include "tests/support/rounds.h"

#define ROUNDS 200
#define BUFFER_SIZE (256 * 1024)

static uint8_t buffer[BUFFER_SIZE];
static union any_message before, after;

static const struct message_kind *kind_named(const char *name)
{
	for (size_t i = 0; i < MESSAGE_KINDS; i++) {
		if (strcmp(message_kinds[i].name, name) == 0)
			return &message_kinds[i];
	}
	fail_msg("no message is called %s", name);
	return NULL;
}

static size_t encode(const struct message_kind *kind, const union any_message *m)
{
	struct wire w = wire_over(buffer, sizeof(buffer));

	kind->put(&w, m);
	assert_false(w.failed);
	return w.pos;
}

/* Decode the first n bytes of the buffer from memory that ends with them. */
static int decode(const struct message_kind *kind, size_t n, union any_message *m)
{
	uint8_t *copy = malloc(n ? n : 1);
	struct wire w;
	int ret;

	assert_non_null(copy);
	memcpy(copy, buffer, n);
	w = wire_over(copy, n);
	memset(m, 0xa5, sizeof(*m));
	kind->get(&w, m);
	ret = wire_finish(&w);
	free(copy);
	return ret;
}

static void expect_same(const struct message_kind *kind)
{
	if (!kind->same(&before, &after))
		fail_msg("%s came back different", kind->name);
}

/* A message of each kind, in before, and its n bytes, in buffer, for a check. */
static void with_each_kind(
	uint64_t seed, enum fullness full, void (*check)(const struct message_kind *kind, size_t n))
{
	for (size_t i = 0; i < MESSAGE_KINDS; i++) {
		message_kinds[i].fill(&before, &seed, full);
		check(&message_kinds[i], encode(&message_kinds[i], &before));
	}
}

static void comes_back_as_it_went(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (size_t i = 0; i < MESSAGE_KINDS; i++) {
		const struct message_kind *kind = &message_kinds[i];

		for (unsigned round = 0; round < rounds(ROUNDS); round++) {
			kind->fill(&before, &seed, round ? FULL_RANDOMLY : FULL_TO_THE_BRIM);
			assert_int_equal(decode(kind, encode(kind, &before), &after), 0);
			expect_same(kind);
		}
	}
}

/* Proves that same() can say no: a flipped bit anywhere is either refused or seen. */
static void flip_bits(const struct message_kind *kind, size_t n)
{
	for (size_t at = 0; at < n; at++) {
		buffer[at] ^= (uint8_t)(1U << at % 8);
		if (decode(kind, n, &after) == 0)
			assert_false(kind->same(&before, &after));
		buffer[at] ^= (uint8_t)(1U << at % 8);
	}
}

static void every_bit_matters(void **state)
{
	(void)state;
	with_each_kind(2, FULL_RANDOMLY, flip_bits);
}

static void fits_into_a_receive_buffer(void **state)
{
	uint64_t seed = 3;
	size_t header_bytes;

	(void)state;
	kind_named("header")->fill(&before, &seed, FULL_TO_THE_BRIM);
	header_bytes = encode(kind_named("header"), &before);
	for (size_t i = 0; i < MESSAGE_KINDS; i++) {
		/* Its texts are bounded together: common/site_names.h, tests/unit/test_site.c. */
		if (strcmp(message_kinds[i].name, "site_names_request") == 0)
			continue;
		message_kinds[i].fill(&before, &seed, FULL_TO_THE_BRIM);
		assert_in_range(header_bytes + encode(&message_kinds[i], &before), 1, MESSAGE_MAX);
	}
}

static void truncate_it(const struct message_kind *kind, size_t n)
{
	for (size_t cut = 0; cut < n; cut++) {
		if (decode(kind, cut, &after) != -EBADMSG)
			fail_msg("%s: took %zu bytes of %zu", kind->name, cut, n);
	}
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	with_each_kind(4, FULL_TO_THE_BRIM, truncate_it);
}

static void add_a_byte(const struct message_kind *kind, size_t n)
{
	for (unsigned value = 0; value < 256; value++) {
		buffer[n] = (uint8_t)value;
		assert_int_equal(decode(kind, n + 1, &after), -EBADMSG);
	}
}

static void every_extra_byte_is_refused(void **state)
{
	(void)state;
	with_each_kind(5, FULL_RANDOMLY, add_a_byte);
}

static void encode_into_less(const struct message_kind *kind, size_t n)
{
	for (size_t room = n > 300 ? n - 300 : 0; room < n; room++) {
		uint8_t *tight = malloc(room ? room : 1);
		struct wire w = wire_over(tight, room);

		assert_non_null(tight);
		kind->put(&w, &before);
		assert_true(w.failed);
		free(tight);
	}
}

static void encoder_stops_at_the_end_of_its_buffer(void **state)
{
	(void)state;
	with_each_kind(6, FULL_TO_THE_BRIM, encode_into_less);
}

/*
 * An encoder that breaks the rules in one place: the *at-th field (counted from 1) that has a
 * length is written with the smallest length that is too much, and all its contents. With nul set,
 * a text gets a zero byte inside instead.
 */
struct sabotage {
	int at;
	bool nul;
};

static bool is_the_one(struct sabotage *s)
{
	return --s->at == 0;
}

static void put_bad_text(struct wire *w, const char *text, size_t size, bool nul)
{
	size_t n = nul ? size - 1 : size;

	(void)text;
	wire_put_u16(w, (uint16_t)n);
	for (size_t i = 0; i < n; i++)
		wire_put_u8(w, nul && i == n / 2 ? 0 : 'x');
}

static void put_bad_blob(struct wire *w, size_t max)
{
	wire_put_u16(w, (uint16_t)(max + 1));
	for (size_t i = 0; i < max + 1; i++)
		wire_put_u8(w, 0xbb);
}

#define SPOIL_FIELD(kind, name, ...) SPOIL_##kind(name, __VA_ARGS__)
#define SPOIL_u8(name, ...) wire_put_u8(w, m->name);
#define SPOIL_u16(name, ...) wire_put_u16(w, m->name);
#define SPOIL_u32(name, ...) wire_put_u32(w, m->name);
#define SPOIL_u64(name, ...) wire_put_u64(w, m->name);
#define SPOIL_i32(name, ...) wire_put_u32(w, (uint32_t)m->name);
#define SPOIL_bytes(name, size) wire_put_bytes(w, m->name, size);
#define SPOIL_text(name, size) \
	if (is_the_one(s)) \
		put_bad_text(w, m->name, size, s->nul); \
	else \
		wire_put_text(w, m->name);
#define SPOIL_blob(name, max) \
	if (!s->nul && is_the_one(s)) { \
		put_bad_blob(w, max); \
	} else { \
		wire_put_u16(w, m->name##_bytes); \
		wire_put_bytes(w, m->name, m->name##_bytes); \
	}
#define SPOIL_message(name, type) type##_spoil(w, &m->name, s);
#define SPOIL_list(name, type, max) \
	{ \
		bool here = !s->nul && is_the_one(s); \
		unsigned n = here ? (max) + 1 : m->n##name; \
\
		wire_put_u8(w, (uint8_t)n); \
		for (unsigned i = 0; i < n; i++) \
			type##_spoil(w, &m->name[i % (max)], s); \
	}

#define DEFINE_SPOIL(type, FIELDS) \
	static void type##_spoil(struct wire *w, const struct type *m, struct sabotage *s) \
	{ \
		(void)s; \
		FIELDS(SPOIL_FIELD) \
	} \
	static void type##_spoil_any(struct wire *w, const void *m, struct sabotage *s) \
	{ \
		type##_spoil(w, (const struct type *)m, s); \
	}
MESSAGES(DEFINE_SPOIL)

#define LIST_SPOIL(type, FIELDS) type##_spoil_any,
static void (*const spoilers[])(
	struct wire *w, const void *m, struct sabotage *s) = { MESSAGES(LIST_SPOIL) };

/* Returns how many places there were to break. */
static int break_everywhere(size_t i, bool nul)
{
	for (int place = 1;; place++) {
		struct sabotage s = { .at = place, .nul = nul };
		struct wire w = wire_over(buffer, sizeof(buffer));

		spoilers[i](&w, &before, &s);
		assert_false(w.failed);
		if (s.at > 0) { /* there are fewer places: nothing was broken */
			assert_int_equal(decode(&message_kinds[i], w.pos, &after), 0);
			expect_same(&message_kinds[i]);
			return place - 1;
		}
		if (decode(&message_kinds[i], w.pos, &after) != -EBADMSG)
			fail_msg("%s: took a bad length or text in place %d", message_kinds[i].name,
				place);
	}
}

static int break_all(uint64_t seed, bool nul)
{
	int places = 0;

	for (size_t i = 0; i < MESSAGE_KINDS; i++) {
		message_kinds[i].fill(&before, &seed, FULL_TO_THE_BRIM);
		places += break_everywhere(i, nul);
	}
	return places;
}

static void every_overlong_field_is_refused(void **state)
{
	(void)state;
	/* 16 frames and 16 modules and 32 names, and more */
	assert_true(break_all(7, false) > 60);
}

static void every_text_with_a_nul_inside_is_refused(void **state)
{
	(void)state;
	assert_true(break_all(8, true) > 50);
}

static void encoder_refuses_lengths_that_no_decoder_takes(void **state)
{
	static struct site_request site = { .nmodules = SITE_DEPTH_MAX + 1 };
	static struct report_read_reply chunk = { .chunk_bytes = REPORT_CHUNK_MAX + 1 };
	struct wire w = wire_over(buffer, sizeof(buffer));

	(void)state;
	site_request_put(&w, &site);
	assert_true(w.failed);

	w = wire_over(buffer, sizeof(buffer));
	report_read_reply_put(&w, &chunk);
	assert_true(w.failed);
}

static void preamble_has_its_size(void **state)
{
	uint64_t seed = 9;

	(void)state;
	kind_named("preamble")->fill(&before, &seed, FULL_RANDOMLY);
	assert_int_equal(encode(kind_named("preamble"), &before), PREAMBLE_SIZE);
}

static void the_wire_is_big_endian_and_in_the_listed_order(void **state)
{
	static const uint8_t expected[] = { 3, 0, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xea };
	struct header header = { .type = MESSAGE_ALLOC, .seq = 7, .status = -EINVAL };
	struct wire w = wire_over(buffer, sizeof(buffer));

	(void)state;
	header_put(&w, &header);
	assert_int_equal(w.pos, sizeof(expected));
	assert_memory_equal(buffer, expected, sizeof(expected));
}

/* What peers of PROTOCOL_VERSION expect. To change a number here is to change the protocol. */
static void empty_messages_have_their_sizes(void **state)
{
	static const struct {
		const char *name;
		size_t bytes;
	} sizes[] = {
		{ "preamble", 12 },
		{ "header", 10 },
		{ "refusal", 2 },
		{ "identity", 64 },
		{ "hello_request", 98 },
		{ "hello_reply", 71 },
		{ "join_request", 36 },
		{ "range", 16 },
		{ "placement", 18 },
		{ "alloc_request", 32 },
		{ "alloc_reply", 25 },
		{ "grant_reply", 28 },
		{ "free_request", 16 },
		{ "attach_request", 40 },
		{ "share_request", 17 },
		{ "share_reply", 16 },
		{ "lookup_request", 24 },
		{ "lookup_reply", 43 },
		{ "detach_request", 16 },
		{ "unshare_request", 16 },
		{ "place", 40 },
		{ "offer_request", 16 },
		{ "offer_reply", 16 },
		{ "accept_request", 24 },
		{ "accept_reply", 25 },
		{ "release_request", 36 },
		{ "revise_request", 36 },
		{ "revise_reply", 10 },
		{ "tell_request", 32 },
		{ "tell_reply", 4 },
		{ "copy_request", 88 },
		{ "fill_request", 49 },
		{ "fence_request", 8 },
		{ "fence_reply", 1 },
		{ "renew_reply", 4 },
		{ "site_module", 22 },
		{ "site_frame", 9 },
		{ "site_request", 2 },
		{ "site_reply", 5 },
		{ "site_name", 9 },
		{ "site_names_request", 5 },
		{ "report_request", 2 },
		{ "report_reply", 8 },
		{ "report_read_request", 8 },
		{ "report_read_reply", 2 },
	};

	(void)state;
	assert_int_equal(sizeof(sizes) / sizeof(sizes[0]), MESSAGE_KINDS);
	memset(&before, 0, sizeof(before));
	for (size_t i = 0; i < MESSAGE_KINDS; i++) {
		size_t n = encode(kind_named(sizes[i].name), &before);

		if (n != sizes[i].bytes)
			fail_msg("%s: %zu bytes instead of %zu", sizes[i].name, n, sizes[i].bytes);
	}
}

static void types_have_names(void **state)
{
	(void)state;
	assert_string_equal(message_name(MESSAGE_HELLO), "hello");
	assert_string_equal(message_name(MESSAGE_REPORT_READ), "report-read");
	assert_string_equal(message_name(0), "unknown");
	assert_string_equal(message_name(MESSAGE_JOIN), "join");
	assert_string_equal(message_name(MESSAGE_FENCE), "fence");
	assert_string_equal(message_name(MESSAGE_UNSHARE), "unshare");
	assert_string_equal(message_name(MESSAGE_COPY), "copy");
	assert_string_equal(message_name(MESSAGE_FILL), "fill");
	assert_string_equal(message_name(MESSAGE_OFFER), "offer");
	assert_string_equal(message_name(MESSAGE_ACCEPT), "accept");
	assert_string_equal(message_name(MESSAGE_RELEASE), "release");
	assert_string_equal(message_name(MESSAGE_REVISE), "revise");
	assert_string_equal(message_name(MESSAGE_TELL), "tell");
	assert_string_equal(message_name(MESSAGE_TELL + 1), "unknown");
	assert_string_equal(message_name(255), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back_as_it_went),
		cmocka_unit_test(every_bit_matters),
		cmocka_unit_test(fits_into_a_receive_buffer),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(every_extra_byte_is_refused),
		cmocka_unit_test(encoder_stops_at_the_end_of_its_buffer),
		cmocka_unit_test(every_overlong_field_is_refused),
		cmocka_unit_test(every_text_with_a_nul_inside_is_refused),
		cmocka_unit_test(encoder_refuses_lengths_that_no_decoder_takes),
		cmocka_unit_test(preamble_has_its_size),
		cmocka_unit_test(the_wire_is_big_endian_and_in_the_listed_order),
		cmocka_unit_test(empty_messages_have_their_sizes),
		cmocka_unit_test(types_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
