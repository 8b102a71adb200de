/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Write to a descriptor that others may share (stderr, mostly) without waiting for its reader. O_NONBLOCK would
 * be seen by everybody who shares it, a shell for instance, so that flag is left alone. Any thread; no state.
 */
#ifndef RMEM_COMMON_OUTLET_H
#define RMEM_COMMON_OUTLET_H

#include <stddef.h>
#include <sys/types.h>

/*
 * The number of bytes written: all of them or, into a terminal or a stream socket, perhaps fewer. -EAGAIN: there is no
 * room now; or another errno of write(2). At most PIPE_BUF bytes. A file on a disk is written to as always.
 *
 * One case is left in which this can wait: a pipe or terminal that this user may not open again, on a kernel that
 * cannot write without waiting (before 6.4), that somebody else fills between our look and our write.
 */
ssize_t outlet_write(int fd, const void *bytes, size_t size);

/*
 * Descriptors 0 to 2 that are closed get something that nobody can write to. First of all in main(): otherwise the next
 * file that is opened is stderr, and the log is written into it.
 */
void outlet_reserve(void);

#endif
