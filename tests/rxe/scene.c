/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/scene.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "tests/rxe/pattern.h"

const enum ibv_wr_opcode scene_opcodes[SCENE_OPCODES] = { IBV_WR_RDMA_READ, IBV_WR_RDMA_WRITE,
	IBV_WR_ATOMIC_FETCH_AND_ADD, IBV_WR_ATOMIC_CMP_AND_SWP };

static unsigned long attempts, by_status[IBV_WC_GENERAL_ERR + 32];

/* ---- attempts ---- */

uint64_t scene_word_bytes(uint64_t bytes)
{
	return bytes < RAW_DATA_BYTES ? bytes : RAW_DATA_BYTES;
}

struct raw *scene_connect(struct scene *s, enum scene_disguise disguise)
{
	const struct raw_attr observer = { .purpose = PURPOSE_OBSERVER };
	struct raw *r = NULL;

	if (disguise == SCENE_RESUMED) {
		struct raw *before = s->own.raw; /* rmemd cuts it */

		party_resume(&s->own, 0);
		raw_close(before);
		return party_take(&s->own, 0);
	}
	assert_int_equal(
		raw_connect(s->rig->port, disguise == SCENE_OBSERVER ? &observer : NULL, &r), 0);
	return r;
}

static bool refused(enum ibv_wc_status status)
{
	return status == IBV_WC_REM_ACCESS_ERR || status == IBV_WC_REM_INV_REQ_ERR ||
	       status == IBV_WC_REM_OP_ERR;
}

void scene_attempt(struct scene *s, struct raw *r, enum ibv_wr_opcode opcode, uint64_t addr,
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

void scene_replay(struct scene *s, const struct grant_reply *g, unsigned turn)
{
	for (unsigned i = 0; i < SCENE_OPCODES; i++)
		scene_attempt(s, scene_connect(s, (turn + i) % 3), scene_opcodes[i], g->addr,
			scene_word_bytes(g->bytes), g->rkey);
}

/* ---- beginning and end ---- */

struct scene *scene_begin(struct scene *s, struct rig *rig, unsigned ttl_ms)
{
	static const uint64_t others[SCENE_OTHERS] = { 1, 64, 4096, 5000, 8192, 16384, 65536,
		65536 };
	static const uint64_t own[SCENE_OWN] = { 4096, 65536, 5000, 64 };
	char ttl[16];
	const char *const options[] = { "--ttl", ttl, NULL };
	const struct client_work work = { .max_held = 16, .max_bytes = 65536, .seed = 1 };

	memset(s, 0, sizeof(*s));
	snprintf(ttl, sizeof(ttl), "%ums", ttl_ms);
	party_set_ttl(ttl_ms);
	s->rig = rig;
	s->random = 4711;
	s->attempts_before = attempts;
	rig_start(rig, options);
	for (unsigned i = 0; i < SCENE_WORKERS; i++)
		s->workers[i] = client_start_worker(rig->server, &work);
	party_open(&s->other, s->rig->port, others, SCENE_OTHERS, 100);
	party_open(&s->own, s->rig->port, own, SCENE_OWN, 200);
	/* They have begun, so that there is something to damage. */
	for (unsigned i = 0; i < SCENE_WORKERS; i++)
		while (!s->workers[i]->nheld)
			client_await_calls(s->workers[i], s->workers[i]->calls + 1);
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

void scene_end(struct scene *s)
{
	print_message("%lu accesses refused in %llu ms\n", attempts - s->attempts_before,
		(unsigned long long)((clock_boot_ns() - s->begun_ns) / NSEC_PER_MSEC));
	party_verify(&s->other);
	if (!s->own.raw)
		party_resume(&s->own, s->own.ngrants);
	party_verify(&s->own);
	assert_fresh_memory_is_zero(s->own.raw);
	for (unsigned i = 0; i < SCENE_WORKERS; i++) {
		client_finish(s->workers[i]);
		assert_int_equal(s->workers[i]->failures, 0);
		assert_true(s->workers[i]->calls > 0);
	}
	rig_assert_well(s->rig);
	party_leave(&s->other);
	party_leave(&s->own);
	rig_stop(s->rig, true);
}

void scene_assert_attempts(unsigned long min)
{
	for (unsigned i = 0; i < sizeof(by_status) / sizeof(by_status[0]); i++) {
		if (by_status[i])
			print_message("%lu × %s\n", by_status[i], ibv_wc_status_str(i));
	}
	print_message("%lu accesses were tried, and all were refused\n", attempts);
	assert_true(attempts >= min);
}
