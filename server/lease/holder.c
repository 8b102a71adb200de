/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/holder.h"

enum holder_evidence holder_judge(const struct holder_facts *f)
{
	if (f->closed)
		return HOLDER_CLOSED;
	if (f->process == PROCESS_LET_GO && !f->connected)
		return HOLDER_LET_GO;
	/*
	 * A connection whose lease is renewed outweighs /proc, which shows a process as a zombie if its
	 * first thread has ended, even while others run.
	 */
	if (f->process == PROCESS_ALIVE || f->process == PROCESS_LET_GO ||
		(f->connected && !f->lease_expired))
		return HOLDER_NO_EVIDENCE;
	if (f->process == PROCESS_GONE)
		return HOLDER_PID_GONE;
	if (f->connected || !f->lease_expired || f->server_just_restarted ||
		f->expired_for_ns < f->grace_ns)
		return HOLDER_NO_EVIDENCE;
	return HOLDER_LEASE_OVER;
}
