/* SPDX-License-Identifier: BSD-3-Clause */
/* A share key, as a program has it. Any thread. */
#ifndef RMEM_CLIENT_API_KEY_H
#define RMEM_CLIENT_API_KEY_H

#include <stdbool.h>

#include "client/space/call.h"

/*
 * What is in a key. secret: as the server has given it out. version: 1. pool: the id of that whose memory it is, so that
 * who asks another server is told that. The rest is zero until there is more to say.
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
