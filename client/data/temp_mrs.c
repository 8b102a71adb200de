/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/temp_mrs.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/data/plan.h"
#include "common/units.h"

#define TEMP_MR_MAX (16 * MIB) /* in one go */
#define PAGE_MIN_BYTES 4096

static void let_go(struct temp_mrs *p, struct temp_mr *t)
{
	ibv_dereg_mr(t->mr);
	*t = (struct temp_mr){ 0 };
	p->count--;
}

void temp_mrs_release(struct temp_mrs *p, const void *owner)
{
	for (unsigned i = 0; p->count && i < TEMP_MRS; i++)
		if (p->items[i].mr && p->items[i].owner == owner)
			let_go(p, &p->items[i]);
}

void temp_mrs_clear(struct temp_mrs *p)
{
	for (unsigned i = 0; p->count && i < TEMP_MRS; i++)
		if (p->items[i].mr)
			let_go(p, &p->items[i]);
}

static struct temp_mr *find(struct temp_mrs *p, const struct temp_mr_request *r)
{
	for (unsigned i = 0; p->count && i < TEMP_MRS; i++) {
		struct temp_mr *t = &p->items[i];

		/* One operation moves bytes one way: what it has registered has the right access. */
		if (t->mr && t->owner == r->owner && t->start <= r->start && r->end <= t->end)
			return t;
	}
	return NULL;
}

/* A free place, or that of one which no outstanding work request uses. */
static struct temp_mr *make_room(struct temp_mrs *p, const struct temp_mr_request *r)
{
	for (unsigned i = 0; i < TEMP_MRS; i++)
		if (!p->items[i].mr)
			return &p->items[i];
	for (unsigned i = 0; i < TEMP_MRS; i++)
		if (p->items[i].used < r->done) {
			let_go(p, &p->items[i]);
			return &p->items[i];
		}
	return NULL;
}

/*
 * What could not be registered is copied, which ends the process if nothing is there. The kernel's answer does not
 * tell: it is EFAULT too for what only the processor can reach (a device's memory, a file shared for writing).
 */
static bool is_mapped(const struct temp_mr_request *r)
{
	/* A byte for every page of a segment, which need not begin with one. */
	unsigned char pages[PLAN_SEGMENT_MAX / PAGE_MIN_BYTES + 1];
	uintptr_t start = r->start & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);

	return mincore((void *)start, r->end - start, pages) == 0 || errno != ENOMEM;
}

int temp_mrs_get(struct temp_mrs *p, const struct temp_mr_request *r, struct ibv_mr **out)
{
	struct temp_mr *t = find(p, r);
	uintptr_t end = r->limit - r->start > TEMP_MR_MAX ? r->start + TEMP_MR_MAX : r->limit;

	if (!t) {
		t = make_room(p, r);
		if (!t)
			return -EAGAIN;
		t->mr = ibv_reg_mr(r->pd, (void *)r->start, end - r->start,
			r->writable ? IBV_ACCESS_LOCAL_WRITE : 0);
		if (!t->mr)
			return is_mapped(r) ? -ENOMEM : -EFAULT;
		t->start = r->start;
		t->end = end;
		t->owner = r->owner;
		p->count++;
		p->made++;
	}
	t->used = r->number;
	*out = t->mr;
	return 0;
}
