/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/party.h"

#include <string.h>

#include "common/clock.h"
#include "tests/rxe/pattern.h"
#include "tests/rxe/rig.h"

static uint64_t renew_every_ns;

void party_set_ttl(unsigned ttl_ms)
{
	renew_every_ns = ttl_ms * NSEC_PER_MSEC / 4;
}

void party_open(struct party *p, uint16_t port, const uint64_t *sizes, unsigned n, uint64_t seed)
{
	p->port = port;
	p->seed = seed;
	raw_session_init(&p->session);
	assert_int_equal(raw_open(p->port, &p->session, &p->raw), 0);
	p->renewed_ns = clock_boot_ns();
	for (p->ngrants = 0; p->ngrants < n; p->ngrants++) {
		struct grant_reply *g = &p->grants[p->ngrants];

		assert_int_equal(raw_alloc(p->raw, sizes[p->ngrants], g), 0);
		pattern_fill(raw_data(p->raw), g->bytes, seed + p->ngrants);
		assert_int_equal(raw_access(p->raw, IBV_WR_RDMA_WRITE, g->addr, g->bytes, g->rkey),
			IBV_WC_SUCCESS);
	}
}

void party_resume(struct party *p, unsigned n)
{
	assert_int_equal(raw_open(p->port, &p->session, &p->raw), 0);
	p->renewed_ns = clock_boot_ns();
	for (unsigned i = 0; i < n; i++) {
		/* It may have been another process's. */
		raw_remember(p->grants[i].addr, p->grants[i].serial);
		assert_int_equal(raw_attach(p->raw, p->grants[i].addr, &p->grants[i]), 0);
	}
}

void party_leave(struct party *p)
{
	raw_close(p->raw);
	p->raw = NULL;
}

struct raw *party_take(struct party *p, unsigned n)
{
	struct raw *r;

	if (!p->raw)
		party_resume(p, n);
	r = p->raw;
	p->raw = NULL;
	return r;
}

void party_verify(struct party *p)
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

void party_renew(struct party *p)
{
	if (!p->raw || clock_boot_ns() - p->renewed_ns < renew_every_ns)
		return;
	assert_int_equal(raw_call(p->raw, MESSAGE_RENEW, NULL, NULL), 0);
	p->renewed_ns = clock_boot_ns();
}
