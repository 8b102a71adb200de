/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Decides whether the holder of an allocation is provably gone. Disconnected is not dead: only proof makes a leak
 * (docs/AUDIT.md). Pure.
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
	enum process_state process; /* UNKNOWN if not visible from here */
	bool lease_expired;
	uint64_t expired_for_ns; /* since the lease expired */
	uint64_t grace_ns;
	bool server_just_restarted; /* sessions may still be coming back */
};

/*
 * HOLDER_NO_EVIDENCE: alive, or undecided. A visibly live process counts as dead only if it has let go of its session
 * for good; a late lease does not matter. A connected holder that renews its lease is alive.
 */
enum holder_evidence holder_judge(const struct holder_facts *f);

#endif
