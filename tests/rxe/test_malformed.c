/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes that are no message, and preambles that are none. Each ends the connection it came on; rmemd goes on,
 * serves others, keeps nothing of it, and accounts for every byte.
 */
#include <errno.h>
#include <string.h>

#include "tests/rxe/client.h"
#include "tests/rxe/outside.h"
#include "tests/rxe/speech.h"
#include "tests/support/random.h"

/* ---- messages ---- */

static void cut_short_and_too_long(void **state)
{
	static const size_t extra[] = { 1, 2, 9, 100 };
	struct rig *r = *state;
	unsigned long said = 0;
	struct speech m;
	struct rig_health before;

	rig_start(r, NULL);
	before = rig_look(r);
	for (unsigned type = MESSAGE_HELLO; type <= MESSAGE_ACCEPT; type++) {
		speech_make(&m, type, 1000);
		for (size_t n = 0; n < m.n; n++, said++)
			speech_assert_cut_off(r, type, m.bytes, n);
		for (unsigned i = 0; i < sizeof(extra) / sizeof(extra[0]); i++, said++)
			speech_assert_cut_off(r, type, m.bytes, m.n + extra[i]);
	}
	print_message("%lu messages\n", said);
	assert_int_equal(rig_look(r).refused - before.refused, said);
	speech_end(r);
}

static void garbage_of_every_size(void **state)
{
	struct rig *r = *state;
	uint64_t seed = 1;
	struct speech m;

	rig_start(r, NULL);
	for (size_t n = 0; n <= MESSAGE_MAX + 1; n += n < 64 || n > MESSAGE_MAX - 8 ? 1 : 67) {
		unsigned type = 1 + (unsigned)random_below(&seed, MESSAGE_ACCEPT);
		struct raw *raw = speech_connect(r, type);

		speech_make(&m, type, 1000);
		/* Half of them get as far as a decoder. */
		if (n % 2)
			random_bytes(&seed, m.bytes + 10, sizeof(m.bytes) - 10);
		else
			random_bytes(&seed, m.bytes, sizeof(m.bytes));
		if (speech_say(raw, m.bytes, n) == 0)
			fail_msg("a %s of %zu random bytes was answered",
				message_name((uint8_t)type), n);
		raw_close(raw);
	}
	speech_end(r);
}

static void headers_that_mean_nothing(void **state)
{
	static const uint8_t types[] = { 0, 16, 17, 63, 127, 128, 200, 254, 255 };
	static const int32_t statuses[] = { -1, 1, INT32_MIN, INT32_MAX };
	struct rig *r = *state;
	struct speech m;

	rig_start(r, NULL);
	for (unsigned i = 0; i < sizeof(types); i++) {
		speech_make(&m, MESSAGE_RENEW, 7);
		m.bytes[0] = types[i];
		speech_assert_cut_off(r, MESSAGE_RENEW, m.bytes, m.n);
	}
	for (unsigned i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		const struct header h = { .type = MESSAGE_RENEW, .status = statuses[i] };
		struct wire w = wire_over(m.bytes, sizeof(m.bytes));

		header_put(&w, &h);
		speech_assert_cut_off(r, MESSAGE_RENEW, m.bytes, w.pos);
	}
	speech_end(r);
}

/* ---- preambles ---- */

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
		assert_int_equal(raw_connect(r->port, &attr, &raw), -ECONNREFUSED);
		assert_true(raw->has_answer);
		assert_int_equal(raw->answer.magic, PROTOCOL_MAGIC);
		assert_int_equal(raw->answer.version, PROTOCOL_VERSION);
		assert_int_equal(raw->answer.status, wrong[i].status);
		raw_close(raw);
	}
	speech_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(cut_short_and_too_long),
		RIG_TEST(garbage_of_every_size),
		RIG_TEST(headers_that_mean_nothing),
		RIG_TEST(preambles_that_are_wrong),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_MALFORMED, tests, sizeof(tests) / sizeof(tests[0]));
}
