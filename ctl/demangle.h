/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * C++ functions as people write them, by libstdc++ if this machine has it.
 *
 * Names come from peers, and one of a few hundred bytes can stand for a text of any length. So a child process
 * reads them, with little memory and time: what is too much ends the child, and the name stays as it is.
 */
#ifndef RMEM_CTL_DEMANGLE_H
#define RMEM_CTL_DEMANGLE_H

#include <stddef.h>
#include <sys/types.h>

#define DEMANGLED_SIZE 4096

/* Zeroed: no child yet. */
struct demangler {
	pid_t child;
	int fd;
	unsigned failures;
};

/* NULL: it is no such name, or cannot be told. Else the text in out. */
const char *demangle(struct demangler *d, const char *name, char out[DEMANGLED_SIZE]);
void demangler_end(struct demangler *d);

#endif
