/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device in the process: connections that reach a lender's memory (lender.h), so that all of librmem above
 * common/endpoint.h runs natively, recovery too. The linker puts it in the place of a few functions of the connection
 * manager and of verbs (lender_wrap() in CMake).
 *
 * A work request is carried out when it is posted. What becomes of it is for the test to say.
 */
#ifndef RMEM_TESTS_SUPPORT_CABLE_H
#define RMEM_TESTS_SUPPORT_CABLE_H

#include <infiniband/verbs.h>
#include <stdbool.h>

enum cable_fate {
	CABLE_DONE,
	CABLE_UNHEARD, /* carried out, but the connection breaks before that is known */
	CABLE_LOST,    /* not carried out: the connection breaks */
	CABLE_SILENT, /* on its way, with those behind it, until cable_arrive() or the connection is given up */
};

struct cable {
	/* What becomes of the next work request, on the connection with this number, from 1. NULL: all are done. */
	enum cable_fate (*fate)(const struct ibv_send_wr *wr, unsigned connection);
	bool unplugged;       /* no connection can be made */
	unsigned connections; /* so far */
};
extern struct cable cable;

/* Is something on its way? Any thread. */
bool cable_is_silent(void);
/* What is on its way, on the connection that fell silent last, is carried out. */
void cable_arrive(void);
/* ... is not, and the connection breaks. */
void cable_break(void);
/* What was on its way on a connection that was given up is carried out, if it is a write of at most 8 bytes. */
void cable_arrive_late(void);

#endif
