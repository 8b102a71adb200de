/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which function was inlined where, from DWARF. The line table names the line of the innermost inlined function, the
 * symbol table only the function that all of it was compiled into: this finds the name that belongs to the line.
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

/*
 * The innermost function that was inlined at addr, which is in that compilation unit. Its linkage name, if it has one, as
 * the symbol table would have it. NULL: none was, it has no name, or out of memory. The text lives as long as the file.
 */
const char *inlining_name(struct inlining *x, const Dwarf_Die *unit, Dwarf_Addr addr);

void inlining_clear(struct inlining *x);

#endif
