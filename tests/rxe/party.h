/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client on bare verbs with memory full of a known pattern: one who attacks, or one who is honest. One thread.
 *
 * ERRORS: what goes wrong here fails the running test (cmocka).
 */
#ifndef RMEM_TESTS_RXE_PARTY_H
#define RMEM_TESTS_RXE_PARTY_H

#include "tests/rxe/raw_session.h"

#define PARTY_BLOCKS_MAX 8

struct party {
	uint16_t port;
	struct raw *raw; /* NULL: not connected */
	struct raw_session session;
	struct grant_reply grants[PARTY_BLOCKS_MAX];
	unsigned ngrants;
	uint64_t seed, renewed_ns;
};

/* The term of rmemd's leases: a quarter of it is how often parties renew. */
void party_set_ttl(unsigned ttl_ms);

/* A session with n blocks of these sizes. */
void party_open(struct party *p, uint16_t port, const uint64_t *sizes, unsigned n, uint64_t seed);
/* Come back on a new connection, with new keys for some of the memory. */
void party_resume(struct party *p, unsigned n);
void party_leave(struct party *p);
/* Its connection, to be used up by the caller; if it has none it comes back for that, as party_resume(). */
struct raw *party_take(struct party *p, unsigned n);
/* Every byte is what it was. */
void party_verify(struct party *p);
/* If it is time. */
void party_renew(struct party *p);

#endif
