/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/presence.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Datagrams: a connection is one call that sends nothing, and needs no consent. */
static int open_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

/* In the abstract namespace, which begins with a NUL: no file is left behind. */
static socklen_t make_address(struct sockaddr_un *out, uint64_t number)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)snprintf(out->sun_path + 1, sizeof(out->sun_path) - 1,
				   "rmem-%016" PRIx64, number));
}

int presence_show(uint64_t *out_number)
{
	struct sockaddr_un address;
	uint64_t number = 0;
	socklen_t size;
	int fd, err;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number) || !number)
		return -EAGAIN;
	fd = open_socket();
	if (fd < 0)
		return fd;
	size = make_address(&address, number);
	/* The name can be read in /proc/net/unix: what others send there is not kept. */
	if (bind(fd, (struct sockaddr *)&address, size) || shutdown(fd, SHUT_RD)) {
		err = -errno;
		close(fd);
		return err;
	}
	*out_number = number;
	return fd;
}

uint64_t presence_place(void)
{
	struct stat st;

	if (stat("/proc/thread-self/ns/net", &st) == 0)
		return st.st_ino;
	/* A kernel without network namespaces: there is one place. */
	return errno == ENOENT && stat("/proc/thread-self/ns", &st) == 0 ? 1 : 0;
}

enum presence presence_look(uint64_t number, uint64_t place)
{
	enum presence found = PRESENCE_UNKNOWN;
	struct sockaddr_un address;
	socklen_t size = make_address(&address, number);
	int fd;

	if (!number || !place || place != presence_place())
		return PRESENCE_UNKNOWN;
	fd = open_socket();
	if (fd < 0)
		return PRESENCE_UNKNOWN;
	if (connect(fd, (struct sockaddr *)&address, size) == 0)
		found = PRESENCE_THERE;
	else if (errno ==
		 ECONNREFUSED) /* which for this kind of socket says that the name is nobody's */
		found = PRESENCE_GONE;
	close(fd);
	return found;
}
