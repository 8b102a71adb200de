/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/scan/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

static size_t sum(const struct iovec *pieces, unsigned n)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += pieces[i].iov_len;
	return bytes;
}

static ssize_t by_call(const struct reader *r, const struct iovec *pieces, unsigned n, void *to)
{
	const struct iovec local = { to, sum(pieces, n) };
	const ssize_t got = process_vm_readv(r->pid, &local, 1, pieces, n, 0);

	if (got >= 0)
		return got;
	/* EFAULT, and ENOMEM where the kernel could not get a page. */
	return errno == EPERM || errno == EACCES || errno == ENOSYS ? -EPERM : 0;
}

static ssize_t by_file(const struct reader *r, const struct iovec *pieces, unsigned n, uint8_t *to)
{
	size_t total = 0;

	for (unsigned i = 0; i < n; i++) {
		const ssize_t got = pread(r->mem_fd, to + total, pieces[i].iov_len,
			(off_t)(uintptr_t)pieces[i].iov_base);

		if (got > 0)
			total += (size_t)got;
		if (got < 0 || (size_t)got < pieces[i].iov_len)
			break;
	}
	return (ssize_t)total;
}

ssize_t reader_read(const struct reader *r, const struct iovec *pieces, unsigned n, void *to)
{
	return r->mem_fd >= 0 ? by_file(r, pieces, n, to) : by_call(r, pieces, n, to);
}

int reader_open(struct reader *r)
{
	uint64_t from = 1, to = 0;
	const struct iovec probe = { &from, sizeof(from) };

	r->pid = getpid();
	r->mem_fd = -1;
	if (by_call(r, &probe, 1, &to) == sizeof(to))
		return 0;
	r->mem_fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	if (r->mem_fd < 0)
		return errno == EMFILE || errno == ENFILE ? -errno : -EPERM;
	if (by_file(r, &probe, 1, (uint8_t *)&to) == sizeof(to))
		return 0;
	reader_close(r);
	return -EPERM;
}

void reader_close(struct reader *r)
{
	if (r->mem_fd >= 0)
		(void)close(r->mem_fd);
	r->mem_fd = -1;
}
