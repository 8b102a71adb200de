/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the scenario works with: a session, two allocations of remote memory with a model of each of their bytes,
 * and local memory of the three kinds that librmem tells apart. Getting it and giving it back are steps, which
 * return what the call returned.
 *
 * A model changes just before the call that writes: such a step is repeated until it has succeeded. What an
 * atomic operation has done is only known by its result.
 */
#ifndef RMEM_TESTS_FAULT_HOLDINGS_H
#define RMEM_TESTS_FAULT_HOLDINGS_H

#include <rmem/rmem.h>
#include <stdint.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BIG (512UL << 10)
#define SMALL 4096UL
#define PINNED (200UL << 10) /* more than librmem copies */

/* Where atomic operations work, each on a word of its own. */
enum holdings_word { WORD_ALONE, WORD_ADD, WORD_SWAP, WORDS };
#define WORD_OFFSET(w) (2048 + 8 * (size_t)(w)) /* in the small allocation */

struct holdings {
	struct rmem *rm;
	rmem_addr_t big, small;
	uint8_t model_big[BIG], model_small[SMALL];
	uint64_t words[WORDS];
	uint8_t *buffer;                  /* rmem_buf_alloc() */
	uint8_t registered[64UL << 10];   /* rmem_buf_register() */
	uint8_t plain[PINNED], back[BIG]; /* neither */
};
extern struct holdings held;

int holdings_open(const char *server);
int holdings_buf_alloc(void);
int holdings_buf_register(void);
int holdings_alloc_big(void);
int holdings_alloc_small(void);
int holdings_buf_release(void);
int holdings_free_small(void);
int holdings_free_big(void);

/*
 * An atomic operation on a word has returned this, and the old value. One of which nobody knows may be done
 * once, or not at all. Returns rc.
 */
int holdings_finish_atomic(enum holdings_word w, int rc, uint64_t old, uint64_t done);

#endif
