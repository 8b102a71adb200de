/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/crew.h"

#include <string.h>

#include "tests/rxe/client.h"
#include "tests/rxe/pattern.h"

static bool window_mode;

int crew_main(int argc, char **argv, uint16_t port, const struct CMUnitTest *tests, size_t count)
{
	window_mode = argc > 1 && strcmp(argv[1], "window") == 0;
	if (argc > 1 && !window_mode)
		return client_role(argc, argv);
	return rig_main(window_mode ? port + 1 : port, tests, count);
}

bool crew_has_windows(void)
{
	return window_mode;
}

void crew_start(struct rig *r, const char *const options[])
{
	/* Nobody here renews by himself: a lease that is to end has a later --ttl, which is the one that counts. */
	const char *all[16] = { "--ttl", "10m" };
	size_t n = 2;

	if (window_mode) {
		all[n++] = "--protection";
		all[n++] = "window";
	}
	while (options && *options && n < 15)
		all[n++] = *options++;
	rig_start(r, all);
}

void crew_open(struct crew *w, struct rig *r, unsigned n)
{
	memset(w, 0, sizeof(*w));
	w->rig = r;
	raw_session_init(&w->session);
	assert_int_equal(raw_open(r->port, &w->session, &w->control), 0);
	while (w->nchannels < n)
		crew_join(w);
}

uint64_t crew_open_holding(
	struct crew *w, struct rig *r, unsigned n, uint32_t keys[], uint64_t seed)
{
	uint64_t addr;

	crew_open(w, r, n);
	addr = crew_alloc(w);
	for (unsigned i = 0; i < n; i++)
		keys[i] = crew_attach(w->channels[i], addr);
	crew_fill(w->channels[n - 1], addr, keys[n - 1], seed);
	return addr;
}

struct raw *crew_join(struct crew *w)
{
	struct raw *r = NULL;

	assert_true(w->nchannels < CREW_CHANNELS_MAX);
	assert_int_equal(raw_channel(w->rig->port, &w->session, &r), 0);
	w->channels[w->nchannels++] = r;
	return r;
}

void crew_drop(struct crew *w)
{
	for (unsigned i = 0; i < w->nchannels; i++)
		raw_close(w->channels[i]);
	w->nchannels = 0;
	raw_close(w->control);
	w->control = NULL;
}

void crew_close(struct crew *w)
{
	assert_int_equal(raw_bye(w->control), 0);
	crew_drop(w);
}

void crew_await_gone(struct crew *w)
{
	for (unsigned i = 0; i < w->nchannels; i++)
		assert_int_equal(raw_wait_gone(w->channels[i], RAW_LIMIT_NS), 0);
	if (w->control)
		assert_int_equal(raw_wait_gone(w->control, RAW_LIMIT_NS), 0);
	crew_drop(w);
}

uint64_t crew_alloc(struct crew *w)
{
	struct alloc_reply lent;

	assert_int_equal(raw_alloc_only(w->control, CREW_BLOCK, &lent), 0);
	assert_int_equal(lent.bytes, CREW_BLOCK);
	return lent.addr;
}

uint32_t crew_attach(struct raw *r, uint64_t addr)
{
	struct grant_reply g;

	assert_int_equal(raw_attach(r, addr, &g), 0);
	assert_true(g.addr == addr);
	assert_int_equal(g.bytes, CREW_BLOCK);
	assert_int_equal(raw_access(r, IBV_WR_RDMA_READ, addr, CREW_BLOCK, g.rkey), IBV_WC_SUCCESS);
	return g.rkey;
}

void crew_fill(struct raw *r, uint64_t addr, uint32_t rkey, uint64_t seed)
{
	pattern_fill(raw_data(r), CREW_BLOCK, seed);
	assert_int_equal(raw_access(r, IBV_WR_RDMA_WRITE, addr, CREW_BLOCK, rkey), IBV_WC_SUCCESS);
}

void crew_check(struct raw *r, uint64_t addr, uint32_t rkey, uint64_t seed)
{
	memset(raw_data(r), 0xa5, CREW_BLOCK);
	assert_int_equal(raw_access(r, IBV_WR_RDMA_READ, addr, CREW_BLOCK, rkey), IBV_WC_SUCCESS);
	if (pattern_check(raw_data(r), CREW_BLOCK, seed) >= 0)
		fail_msg("the bytes at 0x%llx changed", (unsigned long long)addr);
}

void crew_refused(struct raw *r, uint64_t addr, uint32_t rkey)
{
	assert_int_equal(raw_access(r, IBV_WR_RDMA_READ, addr, 8, rkey), IBV_WC_REM_ACCESS_ERR);
	assert_int_equal(raw_wait_gone(r, RAW_LIMIT_NS), 0);
}
