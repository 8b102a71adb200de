/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/evidence.h"

const char *holder_evidence_text(enum holder_evidence e)
{
	switch (e) {
	case HOLDER_NO_EVIDENCE:
		return "no evidence";
	case HOLDER_CLOSED:
		return "closed without freeing";
	case HOLDER_PID_GONE:
		return "pid gone, boot id same";
	case HOLDER_LEASE_OVER:
		return "lease past its grace, transport dead";
	case HOLDER_LET_GO:
		return "pid same, session given up (killed just now, exec, or a lost close)";
	case HOLDER_ORDERED:
		return "taken by an operator";
	}
	return "unknown evidence";
}
