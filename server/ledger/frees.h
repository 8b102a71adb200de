/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The frees of what was shared so that others may free it: by which session and where, for messages about frees that come
 * too late. They decide nothing: that a free was carried out is in the ledger, or in the record of the object. The last
 * ones are kept, as many as there is room for, and not over a restart.
 *
 * Pure; one thread.
 */
#ifndef RMEM_SERVER_LEDGER_FREES_H
#define RMEM_SERVER_LEDGER_FREES_H

#include <stdint.h>

#include "common/message.h"

#define FREES_MAX 2048U
#define FREES_NAME_SIZE 104U /* the longest is of 99 bytes, and its end */

/* A call site. Its number may be another site's by now; then the hash is another too. */
struct freed_site {
	uint32_t number; /* 0: unknown */
	uint64_t hash;
};

struct freed {
	uint64_t serial,
		addr; /* of the allocation, and of what was freed: that, or an object of it */
	uint8_t keys[SHARE_RIGHTS][SHARE_KEY_SIZE]; /* that admitted to it */
	uint64_t owner, by;                         /* serial numbers of sessions */
	char owner_name[FREES_NAME_SIZE], by_name[FREES_NAME_SIZE];
	struct freed_site allocated, freed;
};

struct frees;

struct frees *frees_create(void);    /* NULL: out of memory */
void frees_destroy(struct frees *f); /* NULL is fine */

void frees_add(struct frees *f, const struct freed *freed);

/* The last one there; with a key, that of what this key admitted to. NULL: none is known. */
const struct freed *frees_find(
	const struct frees *f, uint64_t serial, uint64_t addr, const uint8_t key[SHARE_KEY_SIZE]);

#endif
