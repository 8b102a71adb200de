/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which function was inlined where, from DWARF. The line table names the line of the innermost inlined function, the
 * symbol table only the function that all of it was compiled into: this finds what is between them.
 *
 * It looks at the functions of a compilation unit once, and keeps where their code is: a lookup then reads only one
 * function's entries. So all lookups in a file read its debug information once, and no more.
 *
 * The caller locks: libdw asks for that.
 */
#ifndef RMEM_COMMON_INLINING_H
#define RMEM_COMMON_INLINING_H

#include <elfutils/libdw.h>

/* All zero: nothing is known yet. It belongs to one open file, and ends before that is closed. */
struct inlining {
	struct inlining_unit *units;
};

#define INLINING_MAX 16 /* levels */

/* What is at an address: a function that was inlined, or that of the symbol table. */
struct inlining_level {
	/* linkage name if it has one; NULL: it has none, or it is the outermost */
	const char *name;
	const char *file; /* NULL: unknown */
	int line;
};

/*
 * What was inlined at addr, which is in that compilation unit: the innermost first, then the function it was inlined
 * into with the line of the call, and so on to the one of the symbol table. file and line of the innermost are the
 * line table's, and left to the caller. Returns how many, at most max; 0: nothing was inlined, or out of memory. Where
 * there are more than max, those in the middle are missing. The texts live as long as the file.
 */
unsigned inlining_find(struct inlining *x, const Dwarf_Die *unit, Dwarf_Addr addr,
	struct inlining_level *out, unsigned max);

void inlining_clear(struct inlining *x);

#endif
