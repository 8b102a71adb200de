/* SPDX-License-Identifier: BSD-3-Clause */
/* Quotas in reports of other things. */
#ifndef RMEM_CTL_RENDER_QUOTA_H
#define RMEM_CTL_RENDER_QUOTA_H

#include <stdio.h>

#include "ctl/field.h"

/* "bytes 8.0 GiB, blocks 100000"; "none" */
void quota_put_limits(FILE *out, const json_t *limits, struct check *c);

/*
 * What of a quota is used most: "bytes 75%"; "" if there is no limit, and for no quota (null, or from an older rmemd).
 * Returns buf.
 */
const char *quota_format_use(const json_t *quota, char *buf, size_t size, struct check *c);

#endif
