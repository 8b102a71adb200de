/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/grant/grant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/verbs.h"
#include "server/base/destroy.h"

/* The application chooses the low 8 bits of a key: never twice the same for a window in a row. */
static uint32_t next_rkey(uint32_t rkey)
{
	uint8_t step;

	if (getrandom(&step, sizeof(step), GRND_NONBLOCK) != sizeof(step))
		step = 0;
	return (rkey & ~0xffU) | (uint8_t)((rkey & 0xff) + 1 + step % 255);
}

int grant_create(struct ibv_pd *pd, const struct extent *e, struct ibv_mr *chunk,
	struct ibv_mw *spare, struct grant **out)
{
	struct grant *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return -ENOMEM;
	if (!chunk) {
		g->own_region = ibv_reg_mr_iova(pd, e->memory, e->bytes, e->addr,
			IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND);
		if (!g->own_region) {
			err = verbs_errno();
			goto fail;
		}
	}
	g->window = spare ? spare : ibv_alloc_mw(pd, IBV_MW_TYPE_2);
	if (!g->window) {
		err = verbs_errno();
		goto fail;
	}
	g->rkey = next_rkey(g->window->rkey);
	*out = g;
	return 0;
fail:
	if (g->own_region) /* no window was over it, and a region alone gives no access */
		DESTROY("the region of a block", ibv_dereg_mr(g->own_region));
	free(g);
	return err;
}

void grant_bind_request(
	const struct grant *g, const struct extent *e, struct ibv_mr *chunk, struct ibv_send_wr *wr)
{
	memset(wr, 0, sizeof(*wr)); /* rxe wants num_sge and imm_data to be 0 */
	wr->opcode = IBV_WR_BIND_MW;
	wr->bind_mw.mw = g->window;
	wr->bind_mw.rkey = g->rkey;
	wr->bind_mw.bind_info.mr = chunk ? chunk : g->own_region;
	wr->bind_mw.bind_info.addr = e->addr;
	wr->bind_mw.bind_info.length = e->bytes;
	wr->bind_mw.bind_info.mw_access_flags = (unsigned)e->access;
}

void grant_posted(struct grant *g)
{
	/* The provider reads the old key from here while posting, and will want the new one next. */
	g->window->rkey = g->rkey;
	g->bound = true;
}

void grant_invalidate_request(const struct grant *g, struct ibv_send_wr *wr)
{
	memset(wr, 0, sizeof(*wr));
	wr->opcode = IBV_WR_LOCAL_INV;
	wr->invalidate_rkey = g->rkey;
	wr->send_flags = IBV_SEND_SIGNALED;
}

int grant_revoke(struct grant *g)
{
	int err;

	if (g->window) {
		err = verbs_err(ibv_dealloc_mw(g->window));
		if (err)
			return err;
		g->window = NULL;
		g->bound = false;
	}
	if (g->own_region) {
		err = verbs_err(ibv_dereg_mr(g->own_region));
		if (err)
			return err;
		g->own_region = NULL;
	}
	return 0;
}

void grant_free(struct grant *g)
{
	free(g);
}
