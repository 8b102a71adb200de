/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal=exact: before the first data that is written to an object, its record is written on the same queue pair. A
 * queue pair works in order: if the data arrived, the record did. Both are a unit (pipeline_next_unit()): if the record is
 * given up, so is the data.
 *
 * A record counts as sent when its write has completed (pipeline_complete()). Until then each further write to the
 * object, on whatever queue pair, has it in front. Any thread.
 */
#ifndef RMEM_CLIENT_SPACE_EXACT_H
#define RMEM_CLIENT_SPACE_EXACT_H

#include "client/control/session.h"
#include "client/data/operation.h"

/* Does the record of the object that addr is in have to be sent first? */
bool exact_needs(const struct session *s, rmem_addr_t addr);
/*
 * ... then op writes it; it is zeroed but for what its maker keeps, and its time, and must not move. If the journal is
 * sending lines of the slab, this waits for that, or one of them might arrive later, as it was before. 0;
 * EXACT_NEEDLESS: it does not; -ETIMEDOUT, within the operation's time or the session's timeout; -ECANCELED.
 */
#define EXACT_NEEDLESS 1
int exact_plan(struct session *s, rmem_addr_t addr, struct operation *op, struct errinfo *errinfo);

/*
 * The record of an object has changed here, or is the server's from now on: waits for the writes that may have the record of
 * before in front of them, also for those that were given up, which may arrive as long as the server has not ended their
 * connection. Without journal=exact there are none. -ETIMEDOUT; -ECANCELED.
 */
int exact_await_operations(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo);

/* The remote pieces of an operation that writes data. */
struct exact_pieces {
	struct rmem_iovec word;
	const struct rmem_iovec *pieces;
	int n; /* 0: it writes none, or the session is not exact */
};
struct exact_pieces exact_pieces(const struct session *s, const struct operation *op);

#endif
