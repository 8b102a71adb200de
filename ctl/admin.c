/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/admin.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "ctl/reply.h"

#define FIRST_BYTES (64U << 10)

static uint64_t left_ns(uint64_t deadline_ns)
{
	uint64_t now = clock_boot_ns();

	return now < deadline_ns ? deadline_ns - now : 0;
}

static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t left = left_ns(deadline_ns);
		struct timespec ts = { .tv_sec = (time_t)(left / NSEC_PER_SEC),
			.tv_nsec = (long)(left % NSEC_PER_SEC) };
		int n = ppoll(&p, 1, &ts, NULL);

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* The queue of a busy server may be full; connect(2) then waits, as long as sends may. */
static int connect_to(int fd, const struct sockaddr_un *addr, uint64_t deadline_ns)
{
	uint64_t left = left_ns(deadline_ns);
	struct timeval tv = { .tv_sec = (time_t)(left / NSEC_PER_SEC),
		.tv_usec = (suseconds_t)(left % NSEC_PER_SEC / NSEC_PER_USEC) };

	if (left < NSEC_PER_USEC)
		return -ETIMEDOUT;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) != 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
		return 0;
	return errno == EAGAIN || errno == EINTR ? -ETIMEDOUT : -errno;
}

static int send_all(int fd, const char *data, size_t size, uint64_t deadline_ns)
{
	while (size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
		int err = 0;

		if (n < 0 && errno == EAGAIN)
			err = wait_for(fd, POLLOUT, deadline_ns);
		else if (n < 0 && errno != EINTR)
			err = -errno;
		if (err)
			return err;
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
	return 0;
}

static int send_line(int fd, const char *text, uint64_t deadline_ns)
{
	char *line;
	int n = asprintf(&line, "%s\n", text), err;

	if (n < 0)
		return -ENOMEM;
	err = send_all(fd, line, (size_t)n, deadline_ns);
	free(line);
	return err;
}

/* Up to the first newline, which is cut off. */
static int receive_line(int fd, uint64_t deadline_ns, char **out, size_t *out_size)
{
	char *line = NULL, *bigger, *end = NULL;
	size_t size = 0, room = 0;
	int err = 0;

	while (!end) {
		ssize_t n;

		if (size == room) {
			room = room ? 2 * room : FIRST_BYTES;
			err = room > REPLY_MAX_BYTES ? -EMSGSIZE : 0;
			bigger = err ? NULL : realloc(line, room);
			if (!bigger)
				goto fail;
			line = bigger;
		}
		n = recv(fd, line + size, room - size, MSG_DONTWAIT);
		if (n == 0)
			err = -EBADMSG;
		else if (n < 0 && errno == EAGAIN)
			err = wait_for(fd, POLLIN, deadline_ns);
		else if (n < 0 && errno != EINTR)
			err = errno == ECONNRESET ? -EBADMSG : -errno;
		if (err)
			goto fail;
		if (n > 0) {
			end = memchr(line + size, '\n', (size_t)n);
			size += (size_t)n;
		}
	}
	*out_size = (size_t)(end - line);
	*out = line;
	return 0;
fail:
	free(line);
	return err ? err : -ENOMEM;
}

static int explain(const char *path, int err, struct errinfo *errinfo)
{
	switch (err) {
	case -ENOENT:
	case -ENOTDIR:
	case -ECONNREFUSED:
		return errinfo_set(errinfo, -ENOENT,
			"no rmemd answers on %s: is it running? (systemctl status rmemd; --admin "
			"or "
			"--server for another one)",
			path);
	case -EACCES:
	case -EPERM:
		return errinfo_set(errinfo, -EACCES,
			"permission denied on %s: only root, that rmemd's user and its group may "
			"ask there; anybody may with --server",
			path);
	case -ETIMEDOUT:
		return errinfo_set(errinfo, err,
			"the rmemd on %s did not answer in time: it may be stopped or busy "
			"(--timeout "
			"to wait longer); an order may still be carried out",
			path);
	case -EBADMSG:
	case -EPIPE:
		return errinfo_set(errinfo, -EBADMSG,
			"the process that listens on %s hung up without a whole answer: it ended "
			"just now, "
			"or "
			"is not an rmemd",
			path);
	case -EMSGSIZE:
		return errinfo_set(errinfo, err,
			"the answer on %s is longer than %u MiB: not an rmemd?", path,
			REPLY_MAX_BYTES >> 20);
	case -EPROTOTYPE:
		return errinfo_set(errinfo, err,
			"%s is not an rmemd's admin socket: it is of another type", path);
	default:
		return errinfo_set(errinfo, err, "cannot ask on %s: %s", path, strerror(-err));
	}
}

int admin_ask(const char *path, const char *request, uint64_t deadline_ns, char **out,
	size_t *out_size, struct errinfo *errinfo)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(addr.sun_path))
		return errinfo_set(errinfo, -ENAMETOOLONG,
			"%s is too long for a unix socket (%zu bytes at most)", path,
			sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errinfo_set(errinfo, -errno, "cannot make a socket: %s", strerror(errno));
	err = connect_to(fd, &addr, deadline_ns);
	if (err == 0)
		err = send_line(fd, request, deadline_ns);
	if (err == 0)
		err = receive_line(fd, deadline_ns, out, out_size);
	close(fd);
	return err ? explain(path, err, errinfo) : 0;
}
