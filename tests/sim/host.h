/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process that the server is, as far as the simulation lets it die: its heap, its descriptors and its shared
 * mappings. A kill is a jump out of the server's code, at any store into a file that is mapped, after which all three
 * are given back as the kernel would, and only the files are left.
 *
 * Calls of malloc() and mmap() are counted here (--wrap), so that a server that ends by itself shows what it forgot.
 */
#ifndef RMEM_SIM_HOST_H
#define RMEM_SIM_HOST_H

#include <stdbool.h>
#include <stddef.h>

/* No process is left; descriptors that are open now are not the server's. */
void host_begin(void);

/* Run the server's code. False: it was killed there (host_arm()); what it holds is gone. */
bool host_run(void (*act)(void *arg), void *arg);

/* Kill it at the nth place from here on, 0: never. Only once; host_arm(0) takes it back. */
void host_arm(unsigned places);

/* It is killed now, between two events. */
void host_kill(void);

/* It has ended by itself: how many pieces of memory it forgot. They are freed. */
size_t host_end(void);

/* A place where it may be killed; of a store, only if it goes to a file. */
void host_place(void);
void host_store(const volatile void *to);

#endif
