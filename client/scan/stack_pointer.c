/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/scan/stack_pointer.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS_MAX 9 /* number, six arguments, stack pointer, instruction pointer */
#define WORDS_MIN 3 /* -1 and both pointers: blocked, but not in a system call */

/* "running", or numbers of which the last but one is the stack pointer. */
int stack_pointer_parse(const char *text, uint64_t *sp)
{
	uint64_t words[WORDS_MAX];
	unsigned n = 0;
	char *end;

	if (strncmp(text, "running", 7) == 0)
		return -EAGAIN;
	while (n < WORDS_MAX) {
		errno = 0;
		words[n] = strtoull(text, &end, 0);
		if (end == text || errno)
			return -EPROTO;
		n++;
		text = end;
		if (*text != ' ')
			break;
	}
	if ((*text && *text != '\n') || (n != WORDS_MIN && n != WORDS_MAX))
		return -EPROTO;
	*sp = words[n - 2];
	return 0;
}

int stack_pointer_read(pid_t tid, uint64_t *sp)
{
	char path[64], text[256];
	ssize_t got;
	int fd, rc;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = read(fd, text, sizeof(text) - 1);
	rc = got < 0 ? -errno : 0;
	(void)close(fd);
	if (rc)
		return rc;
	text[got] = '\0';
	return stack_pointer_parse(text, sp);
}
