/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is the holder of an allocation provably gone? "Disconnected" and "dead" are different things, and
 * only proof makes a leak (docs/AUDIT.md). Pure.
 */
#ifndef RMEM_SERVER_LEASE_HOLDER_H
#define RMEM_SERVER_LEASE_HOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/identity.h"
#include "server/ledger/evidence.h"

struct holder_facts {
	bool closed;
	bool connected;
	enum process_state process; /* UNKNOWN when it cannot be seen from here */
	bool lease_expired;
	uint64_t expired_for_ns; /* since the lease expired */
	uint64_t grace_ns;
	bool server_just_restarted; /* within the window for sessions to come back */
};

/*
 * HOLDER_NO_EVIDENCE: alive, or cannot know yet. A process that can be seen alive is never dead,
 * however late its lease is, unless it has let go of its session, which it can never use again. Nor is one dead that is
 * connected and renews its lease.
 */
enum holder_evidence holder_judge(const struct holder_facts *f);

#endif
