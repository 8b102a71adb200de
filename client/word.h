/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Atomic operations on 64-bit words of remote memory, as the application means them. Any thread.
 *
 * They are never repeated unless it is certain that they were not carried out.
 */
#ifndef RMEM_CLIENT_WORD_H
#define RMEM_CLIENT_WORD_H

#include "client/session.h"

/* -EINVAL -EFAULT -EOPNOTSUPP -EREMOTEIO and those of every access: as in rmem.h. */
int word_run(struct session *s, const struct transfer_atomic *operation, uint64_t addr,
	uint64_t *out_old, struct why *why);

#endif
