/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names for code addresses: function, file and line of an offset in a program or library, from its
 * debug information (also the separate kind under /usr/lib/debug), else from its symbol table. Where functions
 * were inlined, each has its name and line.
 *
 * The file is read as it is on disk now, and believed only if it has the build id that the offset
 * belongs to, or, where that has none, if it is the very file that is mapped. Slow (it may read hundreds of
 * megabytes): never on a hot path. Any thread; calls take turns, because libdw asks for that.
 */
#ifndef RMEM_COMMON_SYMBOL_H
#define RMEM_COMMON_SYMBOL_H

#include <stdint.h>

#include "common/mapped_file.h"
#include "common/message.h"
#include "common/errinfo.h"

struct symbol_file;

/*
 * build_id is zero-padded. NULL: the module has none; then mapped says which file that is.
 *	-ENOENT -EACCES	cannot be read
 *	-ESTALE		another build than the one that ran, or another file
 *	-ENOEXEC	not an ELF file
 */
int symbol_open(const char *path, const uint8_t build_id[BUILD_ID_SIZE],
	const struct mapped_file *mapped, struct symbol_file **out, struct errinfo *errinfo);
void symbol_close(struct symbol_file *f); /* NULL is fine */

#define SYMBOL_NAMES_MAX 16

/*
 * What is at that link-time address: the innermost inlined function first, and last the one of the symbol table.
 * file (without its folders) and line may be unknown: "" and 0. Returns how many. -ENOENT: there is no name.
 */
int symbol_lookup(struct symbol_file *f, uint64_t offset, struct site_name out[SYMBOL_NAMES_MAX],
	struct errinfo *errinfo);

#endif
