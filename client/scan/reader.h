/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads this process's own memory, while other threads unmap and protect it, without a fault: a system call copies, and
 * ends where it cannot.
 *
 * process_vm_readv(); where a filter forbids that (seccomp), pread() of /proc/self/mem, which is slower. The first leaves alone what is a
 * device's (VM_IO, VM_PFNMAP); the second would ask its driver.
 */
#ifndef RMEM_CLIENT_SCAN_READER_H
#define RMEM_CLIENT_SCAN_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#define READER_PIECES 64 /* at most in one call */

struct reader {
	pid_t pid;
	int mem_fd; /* -1: by process_vm_readv() */
};

/* 0; -EPERM: neither is allowed; -EMFILE, -ENFILE. One thread. */
int reader_open(struct reader *r);
void reader_close(struct reader *r);

/*
 * The pieces, one behind the other, into to. Returns how many bytes there are before the first that cannot be read
 * (which may be zero, and is not always the very first), or -EPERM: a filter has come meanwhile.
 */
ssize_t reader_read(const struct reader *r, const struct iovec *pieces, unsigned n, void *to);

#endif
