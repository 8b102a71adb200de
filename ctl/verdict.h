/* SPDX-License-Identifier: BSD-3-Clause */
/* Does a leaks report say that something is wrong? Whatever of it is shown. Pure. */
#ifndef RMEM_CTL_VERDICT_H
#define RMEM_CTL_VERDICT_H

#include <jansson.h>
#include <stdbool.h>

#include "common/why.h"

/* True for definite or zombie blocks, orphans, and bytes that are unaccounted for. -EBADMSG. */
int verdict_leaks(const json_t *answer, bool *out_leaks, struct why *why);

#endif
