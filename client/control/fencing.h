/* SPDX-License-Identifier: BSD-3-Clause */
/* Fencing tokens of a session and of others. Any thread. */
#ifndef RMEM_CLIENT_CONTROL_FENCING_H
#define RMEM_CLIENT_CONTROL_FENCING_H

#include "client/control/session.h"

struct fencing_now {
	uint64_t fencing_token, number; /* of the present lease epoch */
	uint64_t generation;            /* of the session's connection */
};
struct fencing_now fencing_now(struct session *s);

/* As lease_epoch_hold() and lease_epoch_release(), under table. */
int fencing_hold(struct session *s, struct holding *h, uint64_t number);
bool fencing_release(struct session *s, struct holding *h);

/* Is the lease epoch with this number over? */
bool fencing_is_over(struct session *s, uint64_t number);

/* Ask the server whether a fencing token is out. */
int fencing_ask(struct session *s, uint64_t fencing_token, uint64_t deadline_ns, bool *out,
	struct errinfo *errinfo);

/*
 * Nothing that was sent over connections of that generation lands any more when this returns 0: the session
 * has come back over new ones since, for which the server ends all before.
 */
int fencing_settle(
	struct session *s, uint64_t generation, uint64_t deadline_ns, struct errinfo *errinfo);

#endif
