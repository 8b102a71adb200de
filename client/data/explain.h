/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why an access did not work, in words: the operation, the allocation and where it was made, the peer, what
 * the device said. Each returns the errno that goes with it. why may be NULL.
 */
#ifndef RMEM_CLIENT_DATA_EXPLAIN_H
#define RMEM_CLIENT_DATA_EXPLAIN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "client/control/blocks.h"
#include "client/data/pipeline.h"
#include "client/control/session.h"
#include "common/errinfo.h"

/* With the table: the range is not inside one allocation. -EFAULT */
int explain_range(const struct blocks *t, uint64_t addr, size_t bytes, struct errinfo *errinfo);

/* The range is not inside one object of the slab. -EFAULT */
int explain_object(const struct slab *slab, uint64_t addr, size_t bytes, struct errinfo *errinfo);

/* With the table: it is there, but not to be used. -ESTALE or -EFAULT */
int explain_state(const struct block *block, struct errinfo *errinfo);

/* The server has nothing for us there any more. -ESTALE */
int explain_stale(const struct block *block, struct errinfo *errinfo);

/* What an operation meant is not there any more, and something else may be. -EFAULT */
int explain_freed(uint64_t addr, struct errinfo *errinfo);

/* The key that this session has for it admits to reading only. -EACCES */
int explain_read_only(uint64_t addr, struct errinfo *errinfo);

/* Nothing can be attached there before the program has given up what it has lost there. -EEXIST */
int explain_in_the_way(const struct block *block, struct errinfo *errinfo);

/* AddressSanitizer says that the piece must not be touched, from bad on. -EFAULT */
int explain_poison(const struct iovec *piece, const void *bad, struct errinfo *errinfo);

/* A connection broke: on this, if f->op is not NULL. */
void explain_failure(
	const struct failure *f, struct session *s, const char *peer, struct errinfo *errinfo);

#endif
