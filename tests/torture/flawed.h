/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stand-in for librmem with a flaw of one's choice: memory is this process's own, calls fail and allocations are
 * lost by chance, as they may, and one thing is done that may not be. So that the torture is seen to find it.
 */
#ifndef RMEM_TESTS_TORTURE_FLAWED_H
#define RMEM_TESTS_TORTURE_FLAWED_H

enum flaw {
	FLAW_NONE,
	FLAW_ALIAS,      /* what was lost is lent again before it was freed */
	FLAW_IN_FLIGHT,  /* an operation is carried out on what is at its address now */
	FLAW_ADD_TWICE,  /* an addition */
	FLAW_WRITE_LOST, /* a write says that it is done, and is not */
	FLAW_NOT_WIPED,  /* fresh memory has its old bytes */
	FLAW_REVIVED,    /* what was lost can be read again */
	FLAW_LATE,       /* an allocation takes longer than it may */
	FLAWS
};

/* Before a session is opened. */
void flawed_choose(enum flaw flaw);

#endif
