/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hostile client: bare verbs, any key, any address. Honest clients work beside it all the time. Every
 * access that it is not entitled to must be refused by the device, no byte may change, and nobody else
 * may notice.
 *
 * A refused access ends the connection it came on, so each attempt has a connection of its own. They
 * are counted over all tests; the last one says how many there were.
 *
 * What soft-RoCE cannot refuse (SECURITY.md): any queue pair may invalidate any window whose key it
 * knows. Here a client invalidates its own, once.
 */
#include "tests/rxe/rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/clock.h"
#include "tests/rxe/client.h"
#include "tests/rxe/pattern.h"
#include "tests/rxe/raw.h"
#include "tests/support/random.h"

#define PORT 7491
#define TTL_MS 60000 /* nothing expires by accident, however slow the machine is */
#define SHORT_TTL_MS 8000
#define WORKERS 2
#define OTHERS 8 /* allocations of the honest client whose keys we know */
#define OWN 4
#define ATTEMPTS_MIN 2000
#define HOLDER "holder" /* a role of this program */

static const enum ibv_wr_opcode opcodes[] = { IBV_WR_RDMA_READ, IBV_WR_RDMA_WRITE,
	IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_WR_ATOMIC_CMP_AND_SWP };
#define OPCODES (sizeof(opcodes) / sizeof(opcodes[0]))

/* ---- who takes part ---- */

/* A client on bare verbs with memory full of a known pattern: the attacker, and one who is honest. */
struct party {
	struct raw *raw; /* NULL: not connected */
	struct raw_session session;
	struct grant_reply grants[OTHERS];
	unsigned ngrants;
	uint64_t seed, renewed_ns;
};

struct scene {
	struct rig *rig;
	struct client *workers[WORKERS];
	struct party other, own;
	uint64_t random, begun_ns;
	unsigned long attempts_before;
};

static uint64_t renew_every_ns;
static unsigned long attempts, by_status[IBV_WC_GENERAL_ERR + 32];

static uint64_t word_bytes(uint64_t bytes)
{
	return bytes < RAW_DATA_BYTES ? bytes : RAW_DATA_BYTES;
}

static void party_open(struct party *p, const uint64_t *sizes, unsigned n, uint64_t seed)
{
	p->seed = seed;
	raw_session_init(&p->session);
	assert_int_equal(raw_open(PORT, &p->session, &p->raw), 0);
	p->renewed_ns = clock_boot_ns();
	for (p->ngrants = 0; p->ngrants < n; p->ngrants++) {
		struct grant_reply *g = &p->grants[p->ngrants];

		assert_int_equal(raw_alloc(p->raw, sizes[p->ngrants], g), 0);
		pattern_fill(raw_data(p->raw), g->bytes, seed + p->ngrants);
		assert_int_equal(raw_access(p->raw, IBV_WR_RDMA_WRITE, g->addr, g->bytes, g->rkey),
			IBV_WC_SUCCESS);
	}
}

/* Come back on a new connection, with new keys for some of the memory. */
static void party_resume(struct party *p, unsigned n)
{
	assert_int_equal(raw_open(PORT, &p->session, &p->raw), 0);
	p->renewed_ns = clock_boot_ns();
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(raw_attach(p->raw, p->grants[i].addr, &p->grants[i]), 0);
}

static void party_leave(struct party *p)
{
	raw_close(p->raw);
	p->raw = NULL;
}

/* Every byte is what it was. */
static void party_verify(struct party *p)
{
	for (unsigned i = 0; i < p->ngrants; i++) {
		const struct grant_reply *g = &p->grants[i];

		memset(raw_data(p->raw), 0xa5, g->bytes);
		assert_int_equal(raw_access(p->raw, IBV_WR_RDMA_READ, g->addr, g->bytes, g->rkey),
			IBV_WC_SUCCESS);
		if (pattern_check(raw_data(p->raw), g->bytes, p->seed + i) >= 0)
			fail_msg("the bytes at 0x%llx changed", (unsigned long long)g->addr);
	}
}

static void party_renew(struct party *p)
{
	if (!p->raw || clock_boot_ns() - p->renewed_ns < renew_every_ns)
		return;
	assert_int_equal(raw_call(p->raw, MESSAGE_RENEW, NULL, NULL), 0);
	p->renewed_ns = clock_boot_ns();
}

/* ---- attempts ---- */

enum disguise { STRANGER, OBSERVER, RESUMED }; /* how an attacker's connection introduces itself */

static struct raw *connect_as(struct scene *s, enum disguise disguise)
{
	const struct raw_attr observer = { .purpose = PURPOSE_OBSERVER };
	struct raw *r = NULL;

	if (disguise == RESUMED) {
		party_resume(&s->own, 0);
		r = s->own.raw;
		s->own.raw = NULL;
		return r;
	}
	assert_int_equal(raw_connect(PORT, disguise == OBSERVER ? &observer : NULL, &r), 0);
	return r;
}

static bool refused(enum ibv_wc_status status)
{
	return status == IBV_WC_REM_ACCESS_ERR || status == IBV_WC_REM_INV_REQ_ERR ||
	       status == IBV_WC_REM_OP_ERR;
}

/* One access that must be refused; the connection is used up. */
static void attempt(struct scene *s, struct raw *r, enum ibv_wr_opcode opcode, uint64_t addr,
	size_t bytes, uint32_t rkey)
{
	enum ibv_wc_status status;

	memset(raw_data(r), 0xa5, bytes);
	status = raw_access(r, opcode, addr, bytes, rkey);
	if (!refused(status))
		fail_msg("opcode %d, address 0x%llx, %zu bytes, key 0x%x: %s", opcode,
			(unsigned long long)addr, bytes, rkey, ibv_wc_status_str(status));
	for (size_t i = 0; i < bytes; i++) {
		if (raw_data(r)[i] != 0xa5)
			fail_msg("refused, but bytes came");
	}
	raw_close(r);
	attempts++;
	by_status[status]++;
	party_renew(&s->other);
}

/* The same key in all four ways, each time from somebody else. */
static void replay(struct scene *s, uint64_t addr, uint64_t bytes, uint32_t rkey, unsigned turn)
{
	for (unsigned i = 0; i < OPCODES; i++)
		attempt(s, connect_as(s, (turn + i) % 3), opcodes[i], addr, word_bytes(bytes),
			rkey);
}

/* ---- beginning and end ---- */

static struct scene *scene_begin(struct scene *s, struct rig *rig, unsigned ttl_ms)
{
	static const uint64_t others[OTHERS] = { 1, 64, 4096, 5000, 8192, 16384, 65536, 65536 };
	static const uint64_t own[OWN] = { 4096, 65536, 5000, 64 };
	char ttl[16];
	const char *const options[] = { "--ttl", ttl, NULL };
	const struct client_work work = { .max_held = 16, .max_bytes = 65536, .seed = 1 };

	memset(s, 0, sizeof(*s));
	snprintf(ttl, sizeof(ttl), "%ums", ttl_ms);
	renew_every_ns = ttl_ms * NSEC_PER_MSEC / 4;
	s->rig = rig;
	s->random = 4711;
	s->attempts_before = attempts;
	rig_start(rig, options);
	for (unsigned i = 0; i < WORKERS; i++)
		s->workers[i] = client_start_worker(rig->server, &work);
	party_open(&s->other, others, OTHERS, 100);
	party_open(&s->own, own, OWN, 200);
	/* They have begun, so that there is something to damage. */
	while (!s->workers[0]->nheld || !s->workers[1]->nheld)
		client_listen(100);
	s->begun_ns = clock_boot_ns();
	return s;
}

static void assert_fresh_memory_is_zero(struct raw *r)
{
	struct grant_reply g;

	for (unsigned i = 0; i < 16; i++) {
		assert_int_equal(raw_alloc(r, RAW_DATA_BYTES, &g), 0);
		memset(raw_data(r), 0xa5, g.bytes);
		assert_int_equal(
			raw_access(r, IBV_WR_RDMA_READ, g.addr, g.bytes, g.rkey), IBV_WC_SUCCESS);
		assert_int_equal(pattern_check(raw_data(r), g.bytes, 0), -1);
		assert_int_equal(raw_free(r, g.addr), 0);
	}
}

/* Nobody noticed anything. */
static void scene_end(struct scene *s)
{
	json_t *leaks;

	print_message("%lu accesses refused in %llu ms\n", attempts - s->attempts_before,
		(unsigned long long)((clock_boot_ns() - s->begun_ns) / NSEC_PER_MSEC));
	party_verify(&s->other);
	if (!s->own.raw)
		party_resume(&s->own, s->own.ngrants);
	party_verify(&s->own);
	assert_fresh_memory_is_zero(s->own.raw);
	for (unsigned i = 0; i < WORKERS; i++) {
		client_finish(s->workers[i]);
		assert_int_equal(s->workers[i]->failures, 0);
		assert_true(s->workers[i]->calls > 0);
	}
	leaks = rig_ask(s->rig, "leaks");
	rig_assert_accounted(leaks);
	assert_int_equal(rig_number(leaks, "summary.zombie.blocks"), 0);
	json_decref(leaks);
	party_leave(&s->other);
	party_leave(&s->own);
	rig_stop(s->rig, true);
}

/* ---- (a) after free ---- */

static void replay_after_free(void **state)
{
	struct grant_reply freed[40];
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);

	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(raw_alloc(s->own.raw, 64 + i * 512, &freed[i]), 0);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(raw_free(s->own.raw, freed[i].addr), 0);
	/* First where the keys were made, then from everywhere. */
	attempt(s, s->own.raw, IBV_WR_RDMA_WRITE, freed[0].addr, 64, freed[0].rkey);
	s->own.raw = NULL;
	for (unsigned i = 0; i < 40; i++)
		replay(s, freed[i].addr, freed[i].bytes, freed[i].rkey, i);
	scene_end(s);
}

/* The key of memory freed and lent again at once, on the connection where it was made. */
static void replay_in_the_next_owners_memory(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);

	for (unsigned i = 0; i < 60; i++) {
		struct grant_reply old, next;

		if (!s->own.raw)
			party_resume(&s->own, 0);
		assert_int_equal(raw_alloc(s->own.raw, 4096, &old), 0);
		assert_int_equal(raw_free(s->own.raw, old.addr), 0);
		assert_int_equal(raw_alloc(s->other.raw, 4096, &next), 0);
		attempt(s, s->own.raw, opcodes[i % OPCODES], i % 2 ? old.addr : next.addr, 8,
			old.rkey);
		s->own.raw = NULL;
		assert_int_equal(raw_free(s->other.raw, next.addr), 0);
	}
	scene_end(s);
}

/* ---- (b) after expiry ---- */

static void replay_after_expiry(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, SHORT_TTL_MS);
	struct party lazy = { 0 };
	const uint64_t sizes[OTHERS] = { 64, 128, 4096, 4096, 8192, 16384, 32768, 65536 };
	uint64_t until_ns = clock_boot_ns() + 6ULL * SHORT_TTL_MS * NSEC_PER_MSEC;

	party_leave(&s->own);
	party_open(&lazy, sizes, OTHERS, 300);
	while (raw_wait_gone(lazy.raw, 100 * NSEC_PER_MSEC)) {
		party_renew(&s->other);
		assert_true(clock_boot_ns() < until_ns);
	}
	assert_true(rig_ask_number(s->rig, "status", "counters.expiries") >= 1);
	assert_int_not_equal(raw_access(lazy.raw, IBV_WR_RDMA_WRITE, lazy.grants[2].addr, 8,
				     lazy.grants[2].rkey),
		IBV_WC_SUCCESS);
	party_leave(&lazy);
	for (unsigned i = 0; i < OTHERS * 6; i++) {
		const struct grant_reply *g = &lazy.grants[i % OTHERS];

		replay(s, g->addr, g->bytes, g->rkey, i);
	}
	/* It comes back in its courtesy: its bytes are there, its old keys are not. */
	for (unsigned i = 0; i < OTHERS; i++) {
		const struct grant_reply old = lazy.grants[i];

		party_resume(&lazy, OTHERS);
		party_verify(&lazy);
		attempt(s, lazy.raw, opcodes[i % OPCODES], old.addr, 8, old.rkey);
		lazy.raw = NULL;
	}
	scene_end(s);
}

/* ---- (c) other connections ---- */

static void keys_of_other_connections(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);
	struct party twin = { 0 };
	const uint64_t sizes[OWN] = { 64, 4096, 8192, 65536 };

	party_leave(&s->own);
	party_open(&twin, sizes, OWN, 400);
	for (unsigned i = 0; i < OTHERS * 6; i++) {
		const struct grant_reply *g = &s->other.grants[i % OTHERS];

		replay(s, g->addr, g->bytes, g->rkey, i);
		party_renew(&twin);
	}
	/* Keys of a session of ours, which is connected and alive. */
	for (unsigned i = 0; i < OWN * 4; i++) {
		const struct grant_reply *g = &twin.grants[i % OWN];

		replay(s, g->addr, g->bytes, g->rkey, i);
		party_renew(&twin);
	}
	party_verify(&twin);
	party_leave(&twin);
	scene_end(s);
}

/* ---- (d) outside the window ---- */

struct range {
	uint64_t addr, bytes;
};

#define RANGES_MAX 64

struct ranges {
	struct range at[RANGES_MAX];
	unsigned n;
};

static void add(struct ranges *out, uint64_t addr, uint64_t bytes)
{
	assert_true(out->n < RANGES_MAX);
	out->at[out->n++] = (struct range){ addr, bytes };
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
	add(out, g->addr ^ 1ULL << ADDR_NODE_SHIFT, 64);
	add(out, g->addr ^ 1ULL << ADDR_SERVER_SHIFT, 64);
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
	for (unsigned i = 0; i < OTHERS; i++)
		add(out, s->other.grants[i].addr, word_bytes(s->other.grants[i].bytes));
	for (unsigned i = 0; i < s->own.ngrants; i++) {
		if (s->own.grants[i].addr != mine->addr)
			add(out, s->own.grants[i].addr, 8);
	}
	client_listen(0);
	for (unsigned i = 0; i < WORKERS; i++) {
		for (size_t k = 0; k < s->workers[i]->nheld && k < 4; k++)
			add(out, s->workers[i]->held[k].addr, 8);
	}
	add(out, s->own.session.reply.board_addr, 8);
	add(out, s->other.session.reply.board_addr, 8);
}

static void outside_the_window(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);

	for (unsigned own = 0; own < OWN; own++) {
		struct ranges ranges = { .n = 0 };

		add_around(&ranges, &s->own.grants[own]);
		add_absurd(&ranges);
		add_mappings(&ranges, s->rig->daemon.pid, 4);
		add_neighbours(&ranges, s, &s->own.grants[own]);
		for (unsigned i = 0; i < ranges.n; i++) {
			const struct range *at = &ranges.at[i];

			for (unsigned k = 0; k < 2; k++) {
				if (!s->own.raw)
					party_resume(&s->own, OWN);
				attempt(s, s->own.raw, opcodes[k], at->addr, at->bytes,
					s->own.grants[own].rkey);
				s->own.raw = NULL;
			}
		}
	}
	scene_end(s);
}

static void atomics_outside_the_window(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);

	for (unsigned own = 0; own < OWN; own++) {
		const struct grant_reply *g = &s->own.grants[own];
		uint64_t end = g->addr + g->bytes;
		/* Aligned: the provider does not even send others. */
		const uint64_t at[] = { g->addr - 8, g->addr - 4096, end, end + 8, end + 4096, 0,
			UINT64_MAX - 7, 1ULL << 63, s->other.grants[3].addr,
			s->own.grants[(own + 1) % OWN].addr };

		for (unsigned i = 0; i < 2 * sizeof(at) / sizeof(at[0]); i++) {
			if (!s->own.raw)
				party_resume(&s->own, OWN);
			attempt(s, s->own.raw, opcodes[2 + i % 2], at[i / 2], 8, g->rkey);
			s->own.raw = NULL;
		}
	}
	scene_end(s);
}

/* ---- (e) guessing ---- */

static void guessed_keys(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);

	/* Its own, but for the byte that it might think is not looked at. */
	for (uint32_t i = 1; i < 256; i += 3) {
		if (!s->own.raw)
			party_resume(&s->own, 1);
		attempt(s, s->own.raw, opcodes[i % OPCODES], s->own.grants[0].addr, 64,
			s->own.grants[0].rkey ^ i);
		s->own.raw = NULL;
	}
	/* Windows that were made shortly before and after. */
	for (uint32_t i = 0; i < 100; i++) {
		const struct grant_reply *g = &s->other.grants[i % OTHERS];

		attempt(s, connect_as(s, i % 3), opcodes[i % OPCODES], g->addr, 1,
			g->rkey + ((i % 2 ? i : -i) << 8));
	}
	for (unsigned i = 0; i < 500; i++)
		attempt(s, connect_as(s, i % 3), opcodes[i % OPCODES], s->other.grants[3].addr, 64,
			(uint32_t)random_u64(&s->random));
	scene_end(s);
}

/* ---- (f) regions, and the lease board ---- */

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
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);
	uint32_t keys[KEYS_MAX];
	unsigned n = region_keys(s->rig->daemon.pid, keys);

	print_message("%u keys of regions\n", n);
	assert_true(n >= OTHERS);
	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = 0; k < 4; k++)
			attempt(s, connect_as(s, (i + k) % 3), opcodes[k],
				s->other.grants[(i + k) % OTHERS].addr, 1, keys[i]);
	}
	scene_end(s);
}

static void lease_board(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);

	for (unsigned i = 0; i < 60; i++) {
		const struct hello_reply *mine = &s->own.session.reply;
		const struct hello_reply *theirs = &s->other.session.reply;
		const uint64_t lines[] = { mine->board_addr - 64, mine->board_addr + 8,
			mine->board_addr + 64, theirs->board_addr, s->other.grants[2].addr };

		if (!s->own.raw)
			party_resume(&s->own, 0);
		if (i < 10) /* its own line: for writing, not for reading or counting */
			attempt(s, s->own.raw, opcodes[i % 2 ? 2 : 0], mine->board_addr, 8,
				mine->board_rkey);
		else if (i < 40)
			attempt(s, s->own.raw, IBV_WR_RDMA_WRITE, lines[i % 5], 8,
				mine->board_rkey);
		else
			attempt(s, s->own.raw, opcodes[i % OPCODES], theirs->board_addr, 8,
				theirs->board_rkey);
		s->own.raw = NULL;
	}
	scene_end(s);
}

/* ---- (g) killed, resumed ---- */

struct held {
	struct raw_session session;
	struct grant_reply grants[OTHERS];
};

/* The role: hold memory, tell everything, wait to be killed. */
static int holder(void)
{
	struct held held;
	struct raw *r = NULL;
	char c;

	memset(&held, 0, sizeof(held));
	raw_session_init(&held.session);
	if (raw_open(PORT, &held.session, &r))
		return 1;
	for (unsigned i = 0; i < OTHERS; i++) {
		struct grant_reply *g = &held.grants[i];

		if (raw_alloc(r, 4096, g))
			return 1;
		pattern_fill(raw_data(r), g->bytes, 500 + i);
		if (raw_access(r, IBV_WR_RDMA_WRITE, g->addr, g->bytes, g->rkey))
			return 1;
	}
	if (write(STDOUT_FILENO, &held, sizeof(held)) != sizeof(held))
		return 1;
	return read(STDIN_FILENO, &c, 1) == 0 ? 0 : 1;
}

static void start_holder(struct process *p, struct held *out, int *to)
{
	const char *argv[] = { "/proc/self/exe", HOLDER, NULL };
	int in[2], from[2];
	size_t n = 0;

	assert_int_equal(pipe(in) | pipe(from), 0);
	process_start(p, argv, (const int[]){ in[0], from[1], -1 });
	close(in[0]);
	close(from[1]);
	while (n < sizeof(*out)) {
		ssize_t got = read(from[0], (char *)out + n, sizeof(*out) - n);

		assert_true(got > 0);
		n += (size_t)got;
	}
	close(from[0]);
	*to = in[1];
}

static void keys_of_a_killed_process(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);

	party_leave(&s->own);
	for (unsigned round = 0; round < 4; round++) {
		struct party heir = { .seed = 500, .ngrants = OTHERS };
		struct process process;
		struct held held;
		int to;

		start_holder(&process, &held, &to);
		heir.session = held.session;
		process_signal(&process, SIGKILL);
		process_wait(&process, RIG_LIMIT_MS, "the holder");
		close(to);
		for (unsigned i = 0; i < OTHERS; i++)
			replay(s, held.grants[i].addr, 4096, held.grants[i].rkey, i);
		memcpy(heir.grants, held.grants, sizeof(held.grants));
		for (unsigned i = 0; i < OTHERS; i++) {
			party_resume(&heir, OTHERS);
			party_verify(&heir);
			attempt(s, heir.raw, opcodes[i % OPCODES], held.grants[i].addr, 8,
				held.grants[i].rkey);
			heir.raw = NULL;
		}
	}
	scene_end(s);
}

/* ---- what a client may do to itself ---- */

static void invalidates_its_own_window(void **state)
{
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);
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
	struct scene scene, *s = scene_begin(&scene, *state, TTL_MS);

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct grant_reply g;

		if (!s->own.raw)
			party_resume(&s->own, 0);
		assert_int_equal(raw_alloc(s->own.raw, 65536, &g), 0);
		memset(raw_data(s->own.raw), 0x41, sizes[i]);
		(void)raw_access(s->own.raw, IBV_WR_RDMA_WRITE_WITH_IMM, g.addr, sizes[i], g.rkey);
		assert_int_equal(raw_wait_gone(s->own.raw, RAW_LIMIT_NS), 0);
		party_leave(&s->own);
		assert_true(rig_ask_number(s->rig, "status", "schema") >= 0);
	}
	scene_end(s);
}

/* ---- the sum ---- */

static void some_thousand_attempts(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(by_status) / sizeof(by_status[0]); i++) {
		if (by_status[i])
			print_message("%lu × %s\n", by_status[i], ibv_wc_status_str(i));
	}
	print_message("%lu accesses were tried, and all were refused\n", attempts);
	assert_true(attempts >= ATTEMPTS_MIN);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(replay_after_free),
		RIG_TEST(replay_in_the_next_owners_memory),
		RIG_TEST(replay_after_expiry),
		RIG_TEST(keys_of_other_connections),
		RIG_TEST(outside_the_window),
		RIG_TEST(atomics_outside_the_window),
		RIG_TEST(guessed_keys),
		RIG_TEST(keys_of_regions),
		RIG_TEST(lease_board),
		RIG_TEST(keys_of_a_killed_process),
		RIG_TEST(invalidates_its_own_window),
		RIG_TEST(writes_with_immediate_data),
		RIG_TEST(some_thousand_attempts),
	};

	if (argc > 1 && strcmp(argv[1], HOLDER) == 0)
		return holder();
	if (argc > 1)
		return client_role(argc, argv);
	return rig_main(PORT, tests, sizeof(tests) / sizeof(tests[0]));
}
