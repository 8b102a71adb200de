/* SPDX-License-Identifier: BSD-3-Clause */
/* What an answer means for the exit status. What is shown of it counts only if the gate says so. Pure. */
#ifndef RMEM_CTL_VERDICT_H
#define RMEM_CTL_VERDICT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/errinfo.h"
#include "ctl/render.h"

/* What makes leaks fail. */
struct gate {
	unsigned kinds;    /* bits: blocks of these */
	uint64_t older_ms; /* only records with an allocation of at least that age */
	bool shown;        /* only records that the view shows */
};

/*
 * Something is leaked or wrong: true for blocks that the gate names, orphans and bytes that are unaccounted for or
 * miscounted, and, unless only what is shown counts, for history that nobody has acknowledged. The answer must be whole:
 * before select_items(). -EBADMSG.
 */
int verdict_leaks(const json_t *answer, const struct gate *gate, const struct view *view,
	bool *out_leaks, struct errinfo *errinfo);

/* who-holds: the answer is that nobody holds the address, which is no error of the question. */
bool verdict_is_free(const json_t *answer);

/* Is there such a node (< 0: any)? -ENODEV. */
int verdict_map(const json_t *answer, int node, struct errinfo *errinfo);

#endif
