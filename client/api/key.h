/* SPDX-License-Identifier: BSD-3-Clause */
/* A share key, as a program has it. Any thread. */
#ifndef RMEM_CLIENT_API_KEY_H
#define RMEM_CLIENT_API_KEY_H

#include <stdbool.h>

#include "client/space/call.h"

/*
 * The parts of a key. secret: as the server has given it out. version: 1. pool: the id of the pool that the memory belongs
 * to, so that a program that uses the key at another server is told so. The rest is zero, for later versions.
 */
struct key_parts {
	uint8_t secret[SHARE_KEY_SIZE];
	uint8_t version;
	uint64_t pool;
	bool whole; /* nothing else is in it */
};

/* What is in the program's key. -EINVAL: it is none of ours. */
int key_read(const struct rmem_share_key *key, struct key_parts *out, struct errinfo *errinfo);

#endif
