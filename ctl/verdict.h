/* SPDX-License-Identifier: BSD-3-Clause */
/* What an answer means for the exit status, whatever of it is shown. Pure. */
#ifndef RMEM_CTL_VERDICT_H
#define RMEM_CTL_VERDICT_H

#include <jansson.h>
#include <stdbool.h>

#include "common/errinfo.h"

/*
 * Something is leaked or wrong: true for blocks of these kinds (bits), orphans, bytes that are unaccounted for or miscounted, and
 * history that nobody has acknowledged. -EBADMSG.
 */
int verdict_leaks(const json_t *answer, unsigned kinds, bool *out_leaks, struct errinfo *errinfo);

/* who-holds: the answer is that nobody holds the address, which is no error of the question. */
bool verdict_is_free(const json_t *answer);

/* Is there such a node (< 0: any)? -ENODEV. */
int verdict_map(const json_t *answer, int node, struct errinfo *errinfo);

#endif
