/* SPDX-License-Identifier: BSD-3-Clause */
/* A request of docs/ADMIN.md that is not answered yet, kept by the code that asks. The event loop only. */
#ifndef RMEM_SERVER_BASE_QUESTION_H
#define RMEM_SERVER_BASE_QUESTION_H

#include "server/base/wait.h"

struct question {
	struct wait wait; /* wait_cancel() takes the question back */
	void *commands;   /* for the code that answers */
	/* The answer, to be freed by the code that asked; NULL: out of memory. */
	void (*answer)(struct question *q, char *text);
};

#endif
