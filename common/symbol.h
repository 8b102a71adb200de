/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names for code addresses: function, file and line of an offset in a program or library, from its
 * debug information (also the separate kind under /usr/lib/debug), else from its symbol table. Code of a
 * function that was inlined has that function's name and line; there is no name then for the one around it.
 *
 * The file is read as it is on disk now, and believed only if it has the build id that the offset
 * belongs to. Slow (it may read hundreds of megabytes): never on a hot path. Any thread; calls take
 * turns, because libdw asks for that.
 */
#ifndef RMEM_COMMON_SYMBOL_H
#define RMEM_COMMON_SYMBOL_H

#include <stdint.h>

#include "common/message.h"
#include "common/errinfo.h"

struct symbol_file;

/*
 * build_id is zero-padded; all zero: the module had none, and the file must have none either.
 *	-ENOENT -EACCES	cannot be read
 *	-ESTALE		another build than the one that ran
 *	-ENOEXEC	not an ELF file
 */
int symbol_open(const char *path, const uint8_t build_id[BUILD_ID_SIZE], struct symbol_file **out,
	struct errinfo *errinfo);
void symbol_close(struct symbol_file *f); /* NULL is fine */

/*
 * What is at that link-time address. file (without its folders) and line may be unknown:
 * "" and 0. -ENOENT: there is no name either.
 */
int symbol_lookup(
	struct symbol_file *f, uint64_t offset, struct site_name *out, struct errinfo *errinfo);

#endif
