/* SPDX-License-Identifier: BSD-3-Clause */
/* The kinds of finding (docs/AUDIT.md): as they are called in JSON, in options and in sentences. */
#ifndef RMEM_CTL_KIND_H
#define RMEM_CTL_KIND_H

#include <stddef.h>

enum kind {
	KIND_DEFINITE,
	KIND_INDIRECT,
	KIND_POSSIBLE,
	KIND_IDLE,
	KIND_REACHABLE,
	KIND_LIMBO,
	KIND_ZOMBIE,
	KIND_SUPPRESSED,
	KINDS
};

#define KIND_BIT(kind) (1U << (kind))
#define KINDS_ALL (KIND_BIT(KINDS) - 1)
#define KINDS_DEFAULT (KIND_BIT(KIND_DEFINITE) | KIND_BIT(KIND_LIMBO) | KIND_BIT(KIND_ZOMBIE))

#define KINDS_FAIL \
	(KIND_BIT(KIND_DEFINITE) | KIND_BIT(KIND_ZOMBIE)) /* that make the exit status 1 */

const char *kind_name(enum kind kind);    /* "definite": the key in JSON */
const char *kind_phrase(enum kind kind);  /* "definitely lost": after "56.0 MiB in 14 blocks" */
const char *kind_summary(enum kind kind); /* "definitely lost": before it */

/* KINDS if there is no such kind. */
enum kind kind_parse(const char *name, size_t len);

/* "definite,limbo" or "all": bits. 0, or -EINVAL. */
int kind_parse_list(const char *list, unsigned *out_bits);

#endif
