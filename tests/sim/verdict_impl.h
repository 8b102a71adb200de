/* SPDX-License-Identifier: BSD-3-Clause */
/* What the verdicts share: on what is said about sessions, and on what is said about memory. */
#ifndef RMEM_SIM_VERDICT_IMPL_H
#define RMEM_SIM_VERDICT_IMPL_H

#include "common/wire.h"
#include "tests/sim/link.h"
#include "tests/sim/model.h"
#include "tests/sim/trace.h"

#define require(link, condition, what) \
	trace_require(condition, "link %u: %s: " what, (link)->number, \
		message_name((link)->question.type))

/* The allocation that a request of that link names, if it is of its own session. */
struct block *verdict_own(const struct link *link, uint64_t addr, uint64_t serial);

void verdict_hello(struct link *link, int status, struct wire *in);
void verdict_join(struct link *link, int status);
void verdict_fence(struct link *link, int status, struct wire *in);

void verdict_alloc(struct link *link, int status, struct wire *in);
void verdict_free(struct link *link, int status);
void verdict_attach(struct link *link, int status, struct wire *in);
void verdict_share(struct link *link, int status, struct wire *in);
void verdict_lookup(struct link *link, int status, struct wire *in);
void verdict_detach(struct link *link, int status);
void verdict_unshare(struct link *link, int status);
void verdict_offer(struct link *link, int status, struct wire *in);
void verdict_accept(struct link *link, int status, struct wire *in);
/* This key, that admits to freeing it, was told for this record of its object. */
void verdict_told_key(const struct block *b, const uint8_t key[SHARE_KEY_SIZE], uint64_t record);
void verdict_releases(struct link *link, const struct request *q); /* RELEASE or REVISE: asked */
void verdict_release(struct link *link, int status);
void verdict_owner_freed(const struct link *link, uint64_t serial); /* all of it */
void verdict_revise(struct link *link, int status, struct wire *in);
/* What was in its records is overwritten. */
void verdict_forget_keys(uint64_t serial);
void verdict_moves(struct link *link, const struct request *q); /* COPY or FILL: asked */
void verdict_moved(struct link *link, int status);              /* ... and answered */

/* May the session of that link reach it with the key? */
bool verdict_admits(const struct link *link, const struct block *b,
	const uint8_t key[SHARE_KEY_SIZE], bool *out_read_only);

#endif
