/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Steps of the scenario that move bytes, or count, by calls that wait: of every way that librmem has to do it
 * (inline, copied, pinned, in place, and mixed in one list), and from another thread. What is read is compared.
 */
#ifndef RMEM_TESTS_FAULT_TRANSFERS_H
#define RMEM_TESTS_FAULT_TRANSFERS_H

int transfers_write_inline(void);
int transfers_write_copied(void);
int transfers_write_pinned(void);
int transfers_write_in_place(void);
int transfers_writev(void);
int transfers_fetch_add(void);
int transfers_compare_swap(void);
int transfers_read_copied(void);
int transfers_read_pinned(void);
int transfers_readv(void);

/* A thread has a connection of its own, and a message of its own: that is in transfers_said. */
int transfers_thread(void);
extern char transfers_said[256];

#endif
