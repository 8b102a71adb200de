/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/desk.h"

void desk_create_session(struct desk *d)
{
	d->rm = lib_open(d->rig->server, 0);
	d->addr = lib_alloc(d->rm, DESK_BLOCK);
	d->bytes = lib_buffer(d->rm, DESK_BLOCK);
}

void desk_create(struct desk *d, struct rig *r, unsigned depth)
{
	rig_start(r, NULL);
	d->rig = r;
	desk_create_session(d);
	d->q = lib_queue(d->rm, depth);
}

void desk_destroy(struct desk *d)
{
	rmem_queue_destroy(d->q);
	lib_succeed(rmem_free(d->rm, d->addr));
	lib_succeed(rmem_close(d->rm));
	rig_stop(d->rig, false);
}

void desk_reap_in_order(struct rmem_queue *q, uint64_t first, uint64_t n, int batch)
{
	struct rmem_completion done[64];

	assert_true(batch <= 64);
	for (uint64_t i = 0; i < n;) {
		int want = n - i < (uint64_t)batch ? (int)(n - i) : batch;
		int got = rmem_reap(q, done, want, -1);

		assert_in_range(got, 1, want);
		for (int k = 0; k < got; k++, i++) {
			lib_succeed(done[k].status);
			assert_int_equal(done[k].tag, first + i);
		}
	}
}
