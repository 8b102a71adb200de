/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client process: sessions one after the other, each with some threads that work (worker.h), until the board says
 * that all is calm; or a hog, which takes all the memory there is, and gives it back.
 */
#ifndef RMEM_TESTS_TORTURE_CLIENT_H
#define RMEM_TESTS_TORTURE_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "rmem/rmem.h"

struct me {
	unsigned owner; /* a number of its own among all processes of a run */
	uint64_t seed;
	const char *server;
	struct rmem *rm;
	int timeout_ms;
	_Atomic unsigned gen; /* of the last allocation */
	_Atomic bool over;    /* threads are to end */
	bool leaves;          /* and leave what they have */
};
extern struct me me;

/* torture client BOARD SERVER OWNER SEED SLACK_MS [hog] */
int client_main(int argc, const char *const argv[]);

/* Everything is to be checked and freed now. */
bool client_calm(void);

#endif
