/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who a process is: boot id, pid (and time) namespace, pid and start time name it for ever; exe, command line,
 * uid, host and job are for people. Read from /proc. Any thread; no memory is kept.
 */
#ifndef RMEM_COMMON_IDENTITY_H
#define RMEM_COMMON_IDENTITY_H

#include "common/message.h"

enum process_state {
	PROCESS_UNKNOWN,
	PROCESS_ALIVE,
	PROCESS_GONE,
	PROCESS_LET_GO, /* it lives, and does not have its session any more: it executed another program, mostly */
};

/*
 * This process, without a mark. job may be NULL: then $RMEM_JOB, else $SLURM_JOB_ID, else "". Long texts are cut; what
 * cannot be read is left empty or 0.
 */
void identity_self(struct identity *out, const char *job);

/*
 * The boot that this is, all 0 if that cannot be known; *out_clock: the time namespace by which CLOCK_BOOTTIME is
 * read here, 0 on a kernel that has one clock for all.
 */
void identity_boot(uint8_t boot_id[16], uint64_t *out_clock);

/* Control characters in its texts become blanks: they end up in logs, messages and terminals. */
void identity_clean(struct identity *who);

/*
 * Does that process still exist? UNKNOWN if it is of another boot or namespace, or if it did not
 * tell enough. A zombie process (exited, not waited for) is GONE: its memory and its NIC objects are. LET_GO only if its
 * mark can be seen from here as long as it is there.
 */
enum process_state identity_probe(const struct identity *who);

#endif
