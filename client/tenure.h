/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Under which fencing token the session acts, and what is held under it. The server gives another fencing token to a
 * session that comes back after its lease had expired; whatever was held under the one before may be
 * somebody else's by then. Until each holder of such a thing has taken note of that (tenure_release()), the
 * session is fenced: no channel joins, so nothing is read or written (-EOWNERDEAD).
 *
 * A channel never outlives the control connection it joined under (docs/PROTOCOL.md), so it is enough to
 * look when one joins; what it still had to do from before a fence is not repeated either.
 *
 * Any thread; locks as client/session.h says.
 */
#ifndef RMEM_CLIENT_TENURE_H
#define RMEM_CLIENT_TENURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/why.h"

struct session;

/* Something that is held: a lock, or a claim that must not be acted on without its fencing token. */
struct holding {
	uint64_t tenure; /* that it is held under */
	struct holding *prev, *next;
};

/* Of a session; all but the last two under table. */
struct tenure {
	uint64_t fencing_token;   /* 0: none yet */
	uint64_t number;          /* of tenures so far */
	uint64_t serial;          /* of the session that has the fencing token */
	struct holding *held;     /* of this tenure and of those before */
	unsigned lost;            /* of those before */
	_Atomic uint64_t fences;  /* tenures that ended with something held */
	_Atomic uint64_t numbers; /* given to what is held (client/word.h) */
};

/* With control and table: the server says that the session has this fencing token. */
void tenure_begin(struct session *s, uint64_t fencing_token);

/* Is anything lost and not released? -EOWNERDEAD, with table. */
int tenure_check(const struct session *s, struct why *why);

struct tenure_now {
	uint64_t fencing_token, number;
	uint64_t generation; /* of the session's connection */
};
struct tenure_now tenure_now(struct session *s);

/* Hold something since this tenure. -ESTALE: it is over. */
int tenure_hold(struct session *s, struct holding *h, uint64_t number);
/* Let go. True: it had been lost. */
bool tenure_release(struct session *s, struct holding *h);
bool tenure_is_over(struct session *s, uint64_t number);

/* Ask the server whether a fencing token is out. */
int tenure_ask(struct session *s, uint64_t fencing_token, uint64_t deadline_ns, bool *out,
	struct why *why);

/*
 * Nothing that was sent over connections of that generation lands any more when this returns 0: the session
 * has come back over new ones since, for which the server ends all before.
 */
int tenure_settle(struct session *s, uint64_t generation, uint64_t deadline_ns, struct why *why);

#endif
