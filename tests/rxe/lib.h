/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * librmem in the process of the test itself: calls that have to succeed, or to fail with a sentence, and
 * what the library says it has done.
 *
 * ERRORS: what goes wrong here fails the running test (cmocka), so only its own thread may call.
 */
#ifndef RMEM_TESTS_RXE_LIB_H
#define RMEM_TESTS_RXE_LIB_H

#include <stddef.h>
#include <stdint.h>

#include "rmem/rmem.h"

#define KIB 1024UL
#define MIB (1024 * KIB)

/* The last call of this thread must have succeeded. */
void lib_succeed(int rc);

/* It must have failed with this error, and the message, of one line, must mention that. */
void lib_expect(int rc, int wanted, const char *mention);

/* With a time-out that a busy machine does not reach, and so many channels (0: the default). */
struct rmem *lib_open(const char *server, int channels);
/* For rmem_alloc(): a block of its own, whatever its size. */
extern const struct rmem_alloc_attr lib_isolated;
rmem_addr_t lib_alloc(struct rmem *rm, size_t bytes);        /* a block of its own */
rmem_addr_t lib_alloc_object(struct rmem *rm, size_t bytes); /* if it is small: in a slab */
/* Free it, and have other memory, zeroed, at the same address. */
void lib_replace(struct rmem *rm, rmem_addr_t addr, size_t bytes);
void *lib_buffer(struct rmem *rm, size_t bytes);
struct rmem_queue *lib_queue(struct rmem *rm, unsigned depth);
uint64_t lib_read_word(struct rmem *rm, rmem_addr_t addr);

/* That many remote bytes are those of a pattern (tests/rxe/pattern.h). */
void lib_check(struct rmem *rm, rmem_addr_t addr, size_t bytes, uint64_t seed);

void *lib_zeroes(size_t bytes); /* to be freed */

/* What has happened since the last look; *last must begin as RMEM_STATS_INIT. */
struct rmem_stats lib_news(struct rmem *rm, struct rmem_stats *last);
/* All bytes of it, whichever way they went. */
uint64_t lib_bytes(const struct rmem_stats *s);

/* $RMEM_SEED, else the given one; it is printed. */
uint64_t lib_seed(uint64_t usual);

#endif
