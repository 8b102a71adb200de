/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/frees.h"

#include <stdbool.h>
#include <stdlib.h>

struct frees {
	uint64_t n; /* so far */
	struct freed ring[FREES_MAX];
};

struct frees *frees_create(void)
{
	return calloc(1, sizeof(struct frees));
}

void frees_destroy(struct frees *f)
{
	free(f);
}

void frees_add(struct frees *f, const struct freed *freed)
{
	f->ring[f->n++ % FREES_MAX] = *freed;
}

/* Takes equally long for all that differ. */
static bool is_equal(const uint8_t *a, const uint8_t *b)
{
	unsigned different = 0;

	for (unsigned i = 0; i < SHARE_KEY_SIZE; i++)
		different |= a[i] ^ b[i];
	return !different;
}

static bool admits(const struct freed *freed, const uint8_t *key)
{
	for (unsigned i = 0; i < SHARE_RIGHTS; i++)
		if (is_equal(freed->keys[i], key))
			return true;
	return false;
}

const struct freed *frees_find(
	const struct frees *f, uint64_t serial, uint64_t addr, const uint8_t key[SHARE_KEY_SIZE])
{
	for (uint64_t i = f->n; i > 0 && f->n - i < FREES_MAX; i--) {
		const struct freed *freed = &f->ring[(i - 1) % FREES_MAX];

		if (freed->serial == serial && freed->addr == addr && (!key || admits(freed, key)))
			return freed;
	}
	return NULL;
}
