/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/arena_page.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/addr.h"
#include "tests/rxe/pattern.h"

#define PAGE 4096UL

int arena_page_node(struct rig *r, uint64_t addr, uint64_t seed)
{
	char pattern[128];
	glob_t found;
	int fd, status = -1;
	char *page;
	void *pages[1];

	/* Its name ends with the pool's id. */
	snprintf(pattern, sizeof(pattern), "%s/arena-%u-*", r->data, addr_segment(addr));
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	assert_int_equal(found.gl_pathc, 1);
	fd = open(found.gl_pathv[0], O_RDONLY | O_CLOEXEC);
	globfree(&found);
	assert_true(fd >= 0);
	page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, (off_t)addr_offset(addr));
	close(fd);
	assert_true(page != MAP_FAILED);
	assert_int_equal(pattern_check(page, PAGE, seed), -1); /* it is that block */
	pages[0] = page;
	assert_int_equal(syscall(SYS_move_pages, 0, 1UL, pages, NULL, &status, 0), 0);
	munmap(page, PAGE);
	return status;
}
