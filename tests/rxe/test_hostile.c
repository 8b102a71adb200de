/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile client: bare verbs, any key, any address (test_old_keys.c: keys that were right once). Every access
 * that it is not entitled to must be refused by the device, no byte may change, and the honest clients beside it
 * may not notice. The last test says how many there were.
 *
 * What soft-RoCE cannot refuse (SECURITY.md): any queue pair may invalidate any window whose key it
 * knows. Here a client invalidates its own, once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "tests/rxe/scene.h"
#include "tests/support/random.h"

#define ATTEMPTS_MIN_ALL 1200
#define ATTEMPTS_MIN 550
#define RANDOM_KEYS_ALL 500
#define RANDOM_KEYS 100

/* ---- outside the window ---- */

struct key_range {
	uint64_t addr, bytes;
};

#define RANGES_MAX 64

struct ranges {
	struct key_range at[RANGES_MAX];
	unsigned n;
};

static void add(struct ranges *out, uint64_t addr, uint64_t bytes)
{
	assert_true(out->n < RANGES_MAX);
	out->at[out->n++] = (struct key_range){ addr, bytes };
}

static void add_around(struct ranges *out, const struct grant_reply *g)
{
	uint64_t end = g->addr + g->bytes;

	add(out, g->addr - 1, 1);
	add(out, g->addr - 1, 2);
	add(out, g->addr - 8, 8);
	add(out, g->addr - 8, 16);
	add(out, g->addr - 4096, 4096);
	add(out, g->addr - 4096, 8192);
	add(out, end, 1);
	add(out, end, 8);
	add(out, end - 1, 2);
	add(out, end - 8, 9);
	add(out, end - 8, 16);
	add(out, end, 4096);
	add(out, end + 4096, 4096);
	add(out, end + (1ULL << 30), 64);
	add(out, g->addr ^ 1ULL << ADDR_SEGMENT_SHIFT, 64);
	add(out, g->addr ^ 1ULL << (ADDR_SEGMENT_SHIFT + 6), 64);
	add(out, g->addr ^ 1ULL << 63, 64);
	if (g->bytes < RAW_DATA_BYTES)
		add(out, g->addr, g->bytes + 1);
}

static void add_absurd(struct ranges *out)
{
	add(out, 0, 1);
	add(out, 0, RAW_DATA_BYTES);
	add(out, 4096, 4096);
	add(out, UINT64_MAX, 1);
	add(out, UINT64_MAX, RAW_DATA_BYTES);
	add(out, UINT64_MAX - 7, 8);
	add(out, UINT64_MAX - 4095, 4096);
	add(out, UINT64_MAX - 100, RAW_DATA_BYTES); /* the sum is a small number */
	add(out, 1ULL << 63, 8);
	add(out, (1ULL << 63) - 8, 16);
	add(out, ADDR_TAG << ADDR_TAG_SHIFT, 8);
}

/* Where rmemd itself has its memory. */
static void add_mappings(struct ranges *out, pid_t pid, unsigned n)
{
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (n && fgets(line, sizeof(line), f)) {
		if (!strstr(line, " rw-"))
			continue;
		add(out, strtoull(line, NULL, 16), 64);
		n--;
	}
	fclose(f);
}

static void add_neighbours(struct ranges *out, struct scene *s, const struct grant_reply *mine)
{
	for (unsigned i = 0; i < SCENE_OTHERS; i++)
		add(out, s->other.grants[i].addr, scene_word_bytes(s->other.grants[i].bytes));
	for (unsigned i = 0; i < s->own.ngrants; i++) {
		if (s->own.grants[i].addr != mine->addr)
			add(out, s->own.grants[i].addr, 8);
	}
	client_listen(0);
	for (unsigned i = 0; i < SCENE_WORKERS; i++) {
		for (size_t k = 0; k < s->workers[i]->nheld && k < 4; k++)
			add(out, s->workers[i]->held[k].addr, 8);
	}
	add(out, s->own.session.reply.heartbeat_addr, 8);
	add(out, s->other.session.reply.heartbeat_addr, 8);
}

static void outside_the_window(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);

	for (unsigned own = 0; own < SCENE_OWN; own++) {
		struct ranges ranges = { .n = 0 };
		unsigned around;

		add_around(&ranges, &s->own.grants[own]);
		around = ranges.n;
		add_absurd(&ranges);
		add_mappings(&ranges, s->rig->daemon.pid, 4);
		add_neighbours(&ranges, s, &s->own.grants[own]);
		for (unsigned i = 0; i < ranges.n; i++) {
			const struct key_range *at = &ranges.at[i];

			/* What is not around its own: by each key, or by one of them. */
			if (i >= around && (i - around + own) % rig_rounds(1, SCENE_OWN) != 0)
				continue;
			for (unsigned k = 0; k < 2; k++) {
				struct raw *raw = party_take(&s->own, SCENE_OWN);

				scene_attempt(s, raw, scene_opcodes[k], at->addr, at->bytes,
					s->own.grants[own].rkey);
			}
		}
	}
	scene_end(s);
}

static void atomics_outside_the_window(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);

	for (unsigned own = 0; own < SCENE_OWN; own++) {
		const struct grant_reply *g = &s->own.grants[own];
		uint64_t end = g->addr + g->bytes;
		/* Aligned: the provider does not even send others. */
		const uint64_t at[] = { g->addr - 8, g->addr - 4096, end, end + 8, end + 4096, 0,
			UINT64_MAX - 7, 1ULL << 63, s->other.grants[3].addr,
			s->own.grants[(own + 1) % SCENE_OWN].addr };

		for (unsigned i = 0; i < 2 * sizeof(at) / sizeof(at[0]); i++) {
			struct raw *raw = party_take(&s->own, SCENE_OWN);

			scene_attempt(s, raw, scene_opcodes[2 + i % 2], at[i / 2], 8, g->rkey);
		}
	}
	scene_end(s);
}

/* ---- guessing ---- */

static void guessed_keys(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);

	/* Its own, but for the byte that it might think is not looked at. */
	for (uint32_t i = 1; i < 256; i += 3) {
		struct raw *raw = party_take(&s->own, 1);

		scene_attempt(s, raw, scene_opcodes[i % SCENE_OPCODES], s->own.grants[0].addr, 64,
			s->own.grants[0].rkey ^ i);
	}
	/* Windows that were made shortly before and after. */
	for (uint32_t i = 0; i < 100; i++) {
		const struct grant_reply *g = &s->other.grants[i % SCENE_OTHERS];

		scene_attempt(s, scene_connect(s, i % 3), scene_opcodes[i % SCENE_OPCODES], g->addr,
			1, g->rkey + ((i % 2 ? i : -i) << 8));
	}
	for (unsigned i = 0; i < rig_rounds(RANDOM_KEYS_ALL, RANDOM_KEYS); i++)
		scene_attempt(s, scene_connect(s, i % 3), scene_opcodes[i % SCENE_OPCODES],
			s->other.grants[3].addr, 64, (uint32_t)random_u64(&s->random));
	scene_end(s);
}

/* ---- regions, and the heartbeat page ---- */

#define KEYS_MAX 64

/* The keys of rmemd's regions, as the kernel tells root. */
static unsigned region_keys(pid_t pid, uint32_t keys[KEYS_MAX])
{
	FILE *f = popen("rdma -dd -j resource show mr", "r");
	json_t *regions = f ? json_loadf(f, 0, NULL) : NULL;
	const json_t *region;
	unsigned n = 0;
	size_t i;

	json_array_foreach(regions, i, region)
	{
		const json_t *key = json_object_get(region, "rkey");

		if (json_integer_value(json_object_get(region, "pid")) != pid || !key ||
			n == KEYS_MAX)
			continue;
		keys[n++] = json_is_string(key) ? (uint32_t)strtoul(json_string_value(key), NULL, 0)
						: (uint32_t)json_integer_value(key);
	}
	json_decref(regions);
	if (f)
		pclose(f);
	return n;
}

static void keys_of_regions(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);
	uint32_t keys[KEYS_MAX];
	unsigned n = region_keys(s->rig->daemon.pid, keys);

	print_message("%u keys of regions\n", n);
	assert_true(n >= SCENE_OTHERS);
	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = 0; k < 4; k++)
			scene_attempt(s, scene_connect(s, (i + k) % 3), scene_opcodes[k],
				s->other.grants[(i + k) % SCENE_OTHERS].addr, 1, keys[i]);
	}
	scene_end(s);
}

static void lease_board(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);

	for (unsigned i = 0; i < 60; i++) {
		const struct hello_reply *mine = &s->own.session.reply;
		const struct hello_reply *theirs = &s->other.session.reply;
		const uint64_t lines[] = { mine->heartbeat_addr - 64, mine->heartbeat_addr + 8,
			mine->heartbeat_addr + 64, theirs->heartbeat_addr,
			s->other.grants[2].addr };
		struct raw *raw = party_take(&s->own, 0);

		if (i < 10) /* its own line: for writing, not for reading or counting */
			scene_attempt(s, raw, scene_opcodes[i % 2 ? 2 : 0], mine->heartbeat_addr, 8,
				mine->heartbeat_rkey);
		else if (i < 40)
			scene_attempt(
				s, raw, IBV_WR_RDMA_WRITE, lines[i % 5], 8, mine->heartbeat_rkey);
		else
			scene_attempt(s, raw, scene_opcodes[i % SCENE_OPCODES],
				theirs->heartbeat_addr, 8, theirs->heartbeat_rkey);
	}
	scene_end(s);
}

/* ---- what a client may do to itself ---- */

static void invalidates_its_own_window(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);
	const struct header renew = { .type = MESSAGE_RENEW, .seq = 1000 };
	uint8_t message[64];
	struct wire w = wire_over(message, sizeof(message));

	header_put(&w, &renew);
	(void)raw_send_with_inv(s->own.raw, message, w.pos, s->own.grants[0].rkey);
	assert_int_equal(raw_wait_gone(s->own.raw, RAW_LIMIT_NS), 0);
	party_leave(&s->own);
	/* A key that is none. */
	party_resume(&s->own, 0);
	(void)raw_send_with_inv(s->own.raw, message, w.pos, 0xfffffe00U);
	assert_int_equal(raw_wait_gone(s->own.raw, RAW_LIMIT_NS), 0);
	party_leave(&s->own);
	scene_end(s);
}

/* A write with immediate data into its own window is a message of the write's length, in no buffer. */
static void writes_with_immediate_data(void **state)
{
	static const size_t sizes[] = { 0, 1, 10, 4096, 4097, 8192, 65536 };
	struct scene scene, *s = scene_begin(&scene, *state, SCENE_TTL_MS);

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct raw *raw = party_take(&s->own, 0);
		struct grant_reply g;

		assert_int_equal(raw_alloc(raw, 65536, &g), 0);
		memset(raw_data(raw), 0x41, sizes[i]);
		(void)raw_access(raw, IBV_WR_RDMA_WRITE_WITH_IMM, g.addr, sizes[i], g.rkey);
		assert_int_equal(raw_wait_gone(raw, RAW_LIMIT_NS), 0);
		raw_close(raw);
		assert_true(rig_ask_number(s->rig, "status", "schema") >= 0);
	}
	scene_end(s);
}

/* ---- the sum ---- */

static void all_attempts(void **state)
{
	(void)state;
	scene_assert_attempts(rig_rounds(ATTEMPTS_MIN_ALL, ATTEMPTS_MIN));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(outside_the_window),
		RIG_TEST(atomics_outside_the_window),
		RIG_TEST(guessed_keys),
		RIG_TEST(keys_of_regions),
		RIG_TEST(lease_board),
		RIG_TEST(invalidates_its_own_window),
		RIG_TEST(writes_with_immediate_data),
		RIG_TEST(all_attempts),
	};

	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(RIG_PORT_HOSTILE, tests, sizeof(tests) / sizeof(tests[0]));
}
