/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A directory in memory for the files of one test: IN_DIR(test) makes it, and takes it away with all that is
 * in it. Each test program includes this once.
 */
#ifndef RMEM_TESTS_DIR_H
#define RMEM_TESTS_DIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int dir = -1; /* of the test that runs */

static inline int make_dir(void **state)
{
	char path[] = "/dev/shm/rmem-test-XXXXXX";

	if (!mkdtemp(path))
		return -1;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = strdup(path);
	return dir < 0 || !*state ? -1 : 0;
}

static inline int remove_dir(void **state)
{
	DIR *list = fdopendir(dir);
	const struct dirent *entry;

	while (list && (entry = readdir(list)) != NULL)
		unlinkat(dir, entry->d_name, 0); /* not "." and "..", which is as well */
	dir = -1;
	if (!list || closedir(list) || rmdir(*state))
		return -1;
	free(*state);
	return 0;
}

static inline int open_file(const char *name)
{
	int fd = openat(dir, name, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* Change bytes of a file while nobody has it open. */
static inline void poke_file(const char *name, off_t offset, const void *bytes, size_t n)
{
	int fd = open_file(name);

	assert_int_equal(pwrite(fd, bytes, n, offset), (ssize_t)n);
	close(fd);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

#endif
