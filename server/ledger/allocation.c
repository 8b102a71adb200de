/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/allocation.h"

const char *allocation_state_name(uint32_t state)
{
	switch (state) {
	case ALLOCATION_FREE:
		return "free";
	case ALLOCATION_LIVE:
		return "live";
	case ALLOCATION_REVOKING:
		return "revoking";
	case ALLOCATION_QUARANTINE:
		return "quarantine";
	case ALLOCATION_ZOMBIE:
		return "zombie";
	default:
		return "unknown";
	}
}
