/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/rundir.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((format(printf, 3, 4))) static int put_path(
	char *buf, size_t size, const char *fmt, ...)
{
	char path[PATH_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(path) || (size_t)n >= size)
		return -ENAMETOOLONG;
	memcpy(buf, path, (size_t)n + 1);
	return 0;
}

int rundir_system_socket(uint16_t port, char *buf, size_t size)
{
	return put_path(buf, size, "/run/rmemd/%u.sock", port);
}

int rundir_admin_socket(uint16_t port, char *buf, size_t size)
{
	const char *dir = secure_getenv("XDG_RUNTIME_DIR");

	/* a relative path is to be ignored: it would depend on where the caller happens to be */
	if (geteuid() == 0 || !dir || dir[0] != '/')
		return rundir_system_socket(port, buf, size);
	return put_path(buf, size, "%s/rmemd/%u.sock", dir, port);
}

int rundir_data_dir(uint16_t port, char *buf, size_t size)
{
	return put_path(buf, size, "/dev/shm/rmemd-%u", port);
}
