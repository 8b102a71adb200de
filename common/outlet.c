/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static ssize_t result(ssize_t n)
{
	return n < 0 ? -errno : n;
}

/* The same pipe or terminal, opened once more: the flags of this opening are ours alone. */
static int open_again(int fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static ssize_t write_if_ready(int fd, const void *bytes, size_t size)
{
	struct pollfd ready = { .fd = fd, .events = POLLOUT };

	/* If it cannot be asked, it may be full. */
	if (poll(&ready, 1, 0) != 1)
		return -EAGAIN;
	return result(write(fd, bytes, size));
}

/* A pipe or a terminal: the best of three ways that this kernel and our rights allow. */
static ssize_t write_to_reader(int fd, const void *bytes, size_t size)
{
	struct iovec piece = { .iov_base = (void *)bytes, .iov_len = size };
	ssize_t n = result(pwritev2(fd, &piece, 1, -1, RWF_NOWAIT));
	int again;

	if (n != -EOPNOTSUPP && n != -ENOSYS && n != -EINVAL)
		return n;
	again = open_again(fd);
	if (again < 0)
		return write_if_ready(fd, bytes, size);
	n = result(write(again, bytes, size));
	close(again);
	return n;
}

void outlet_reserve(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY); /* what is written there fails, as before */
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

ssize_t outlet_write(int fd, const void *bytes, size_t size)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (S_ISSOCK(st.st_mode))
		return result(send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL));
	if (S_ISFIFO(st.st_mode) || (S_ISCHR(st.st_mode) && isatty(fd)))
		return write_to_reader(fd, bytes, size);
	return result(write(fd, bytes, size));
}
