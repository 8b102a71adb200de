/* SPDX-License-Identifier: BSD-3-Clause */
/* Why a session record says that the holder is gone (server/lease/holder.h decides it). Pure. */
#ifndef RMEM_SERVER_LEDGER_EVIDENCE_H
#define RMEM_SERVER_LEDGER_EVIDENCE_H

/* Stored in session records: values are never reused. */
enum holder_evidence {
	HOLDER_NO_EVIDENCE = 0,
	HOLDER_CLOSED = 1,     /* it closed its session without freeing */
	HOLDER_PID_GONE = 2,   /* same boot and pid namespace; no such pid, or another start time */
	HOLDER_LEASE_OVER = 3, /* another host: lease past its grace and transport dead */
	HOLDER_LET_GO = 4,     /* the process gave up its session (e.g. exec); not connected */
	HOLDER_ORDERED =
		5, /* only in history: an operator took the memory, though its holder may be alive */
};

/* "closed without freeing", "pid gone, boot id same", "lease past its grace, transport dead", … */
const char *holder_evidence_text(enum holder_evidence e);

#endif
