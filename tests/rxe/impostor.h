/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Something that listens where rmemd should, and is not an rmemd that the client can talk to: answers
 * each connection in the way it was told. Runs in a thread of the test program.
 *
 * ERRORS: what goes wrong here fails the running test.
 */
#ifndef RMEM_TESTS_IMPOSTOR_H
#define RMEM_TESTS_IMPOSTOR_H

#include <stdbool.h>
#include <stdint.h>

struct impostor;

struct impostor_manner {
	bool accepts;     /* else rejects */
	bool vanishes;    /* says nothing, and is gone: its end of the connection is destroyed */
	const void *data; /* the private data of the answer; NULL: none */
	uint8_t data_bytes;
};

/* Listens on RMEM_HOST; data must stay. */
struct impostor *impostor_start(uint16_t port, const struct impostor_manner *manner);

/* Returns how many connections were asked for. */
unsigned impostor_stop(struct impostor *i);

#endif
