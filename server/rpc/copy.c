/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * COPY, FILL: the server's CPU moves bytes between allocations, or writes the same byte again and again.
 *
 * A long one is done in turns (server/base/work.h). Between two turns nothing is kept but what the request says: each turn
 * finds the allocations anew, and the one that was freed, reclaimed or is not shared any more meanwhile ends it. So
 * nothing waits for a copy.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "server/base/work.h"
#include "server/grant/access.h"
#include "server/rpc/handlers.h"

#ifndef TURN_BYTES /* the simulation has smaller blocks */
#define AT_ONCE_BYTES (64ULL << 10)
#define TURN_BYTES (2ULL << 20) /* one or two milliseconds, as a slice (server/lease/reaper.c) */
#endif

/* Where a range of an allocation is in this process. */
static int locate(struct connection *c, const struct place *p, uint64_t bytes, bool write,
	uint8_t **out, struct errinfo *errinfo)
{
	struct reached what;
	bool read_only;

	if (!handler_reachable(c, p->addr, p->serial, p->key, &what, &read_only))
		return errinfo_set(errinfo, -ESTALE,
			"0x%" PRIx64 " is not held by this session, nor shared with it (any more)",
			p->addr);
	if (write && read_only)
		return errinfo_set(errinfo, -EACCES,
			"0x%" PRIx64 " is shared with this session for reading only", p->addr);
	if (p->offset > what.bytes || bytes > what.bytes - p->offset)
		return errinfo_set(errinfo, -EINVAL,
			"%" PRIu64 " bytes from byte %" PRIu64
			" on pass the end of the allocation at 0x%" PRIx64,
			bytes, p->offset, p->addr);
	*out = (uint8_t *)pool_pointer(rpc_of(c)->pool, what.allocation) + what.offset + p->offset;
	return 0;
}

static bool overlap(const uint8_t *a, const uint8_t *b, uint64_t bytes)
{
	return a < b + bytes && b < a + bytes;
}

/* Move on by at most max bytes. */
static int move_on(struct connection *c, struct transfer *t, uint64_t max, struct errinfo *errinfo)
{
	const uint64_t left = t->bytes - t->done, now = left < max ? left : max;
	uint8_t *dst, *src = NULL;
	int err = locate(c, &t->dst, t->bytes, true, &dst, errinfo);

	if (!err && !t->fill)
		err = locate(c, &t->src, t->bytes, false, &src, errinfo);
	/* Repeated after its answer was lost, a copy onto its own source would make something else of it. */
	if (!err && src && overlap(dst, src, t->bytes))
		err = errinfo_set(errinfo, -EINVAL, "the two ranges overlap");
	if (err)
		return err;
	if (src)
		memcpy(dst + t->done, src + t->done, now);
	else
		memset(dst + t->done, t->byte, now);
	t->done += now;
	return 0;
}

static void take_turn(struct wait *w, int result);

/* Do a part now, and the rest in turns. */
static int go_on(struct connection *c, const struct header *h, struct transfer t, uint64_t max)
{
	struct errinfo errinfo;
	int err = move_on(c, &t, max, &errinfo);

	if (err)
		return handler_refuse(c, h, err, "%s", errinfo.text);
	if (t.done == t.bytes)
		return connection_reply_status(c, h->type, h->seq, 0, "");
	c->pending.transfer = t;
	connection_wait(c, h, &rpc_of(c)->work->turns, take_turn);
	work_wake(rpc_of(c)->work);
	return 0;
}

static void take_turn(struct wait *w, int result)
{
	struct connection *c = connection_of_wait(w);
	const struct header h = connection_take_pending(c);

	(void)result;
	if (go_on(c, &h, c->pending.transfer, TURN_BYTES))
		connection_abort(c, "cannot answer");
}

int handle_copy(struct connection *c, const struct header *h, struct wire *in)
{
	struct copy_request q;

	copy_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	return go_on(c, h, (struct transfer){ .dst = q.dst, .src = q.src, .bytes = q.bytes },
		AT_ONCE_BYTES);
}

int handle_fill(struct connection *c, const struct header *h, struct wire *in)
{
	struct fill_request q;

	fill_request_get(in, &q);
	if (wire_finish(in))
		return -EBADMSG;
	return go_on(c, h,
		(struct transfer){ .dst = q.dst, .bytes = q.bytes, .fill = true, .byte = q.byte },
		AT_ONCE_BYTES);
}
