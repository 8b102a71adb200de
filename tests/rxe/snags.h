/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Things outside of librmem that take as long as they like, made to. The test program has functions of the same
 * names as the system's, which the dynamic linker finds first.
 *
 * Any thread.
 */
#ifndef RMEM_TESTS_RXE_SNAGS_H
#define RMEM_TESTS_RXE_SNAGS_H

#include <stdbool.h>

/*
 * What becomes of looking for symbols (libdw). What is stuck goes on when that is changed. Refused: at once, which
 * saves a slow machine much work where it is not about them.
 */
enum snag { SNAG_NONE, SNAG_STUCK, SNAG_REFUSED };
void snag_symbols(enum snag how);
/* How many have got stuck. */
unsigned snag_symbols_met(void);

/* From now on name servers say nothing. */
void snag_names(bool on);
/* What getaddrinfo() says to a name that ends in ".snag" otherwise; and how often it was asked for one. */
void snag_set_address(const char *address);
unsigned snag_names_asked(void);

/* The queues for completions that exist now never announce one again. Later ones do. */
void snag_completions(void);
/* The same of those that were made after the first n, of snag_queues() at that time. */
void snag_completions_after(unsigned n);
unsigned snag_queues(void);
/* Have they kept one back? */
unsigned snag_completions_kept(void);

#endif
