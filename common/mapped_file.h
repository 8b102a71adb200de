/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is the file at a path the one that is mapped here? A library may have been replaced on disk since it was loaded, and
 * only a build id would tell that from its contents.
 *
 * The kernel names inode and device of what is mapped, and an inode is not used again while it is mapped. Where a file
 * system gives files other device numbers than its own (btrfs, overlayfs), only inodes are compared. A file that is
 * overwritten in place is the same file: what is mapped changes with it.
 */
#ifndef RMEM_COMMON_MAPPED_FILE_H
#define RMEM_COMMON_MAPPED_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct mapped_file {
	bool found; /* it is at the path; else only mapped_inode is known */
	ino_t mapped_inode;
	dev_t device; /* as stat(2), as what follows */
	ino_t inode;
	off_t size;
	struct timespec changed;
};

/*
 * What is mapped at that address, and is it at that path? With no lock that anybody who loads code may want.
 *	-ENOENT		no file is mapped there
 *	errno of open	/proc is not to be read
 */
int mapped_file_find(uintptr_t address, const char *path, struct mapped_file *out);

/* Is the open file the one that was found, and as it was? */
bool mapped_file_is(const struct mapped_file *f, int fd);

/* Differs where the files do, and is the same for copies that keep size and time of the last change. */
uint64_t mapped_file_hash(const struct mapped_file *f);

#endif
