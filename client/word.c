/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/word.h"

#include <errno.h>
#include <inttypes.h>

#include "client/access.h"

struct word {
	const struct transfer_atomic *operation;
	uint64_t addr, old;
};

static int act(void *ctx, struct access *access, struct why *why)
{
	struct word *word = ctx;
	uint32_t rkey;
	int rc;

	rc = access_key(access, word->addr, sizeof(word->old), &rkey, why);
	if (rc)
		return rc;
	return transfer_atomic(
		access->session->transfer, word->operation, word->addr, rkey, &word->old, why);
}

int word_run(struct session *s, const struct transfer_atomic *operation, uint64_t addr,
	uint64_t *out_old, struct why *why)
{
	struct word word = { .operation = operation, .addr = addr };
	int rc;

	if (addr % sizeof(word.old))
		return why_set(why, -EINVAL,
			"0x%" PRIx64 " is no address for an atomic operation: it must be a "
			"multiple of 8",
			addr);
	rc = access_check(s, addr, sizeof(word.old), why);
	if (rc == 0)
		rc = access_run(s, act, &word, why);
	if (rc == 0 && out_old)
		*out_old = word.old;
	return rc;
}
