/* SPDX-License-Identifier: BSD-3-Clause */
#include "numa/pages.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BATCH 256

static int locate_batch(void *const pages[], unsigned n, unsigned node, struct pages_count *count)
{
	int status[BATCH];

	if (syscall(SYS_move_pages, 0, (unsigned long)n, pages, NULL, status, 0) < 0)
		return -errno;
	for (unsigned i = 0; i < n; i++) {
		if (status[i] < 0)
			count->absent++;
		else if ((unsigned)status[i] == node)
			count->on_node++;
		else
			count->elsewhere++;
	}
	count->checked += n;
	return 0;
}

/* The page that the i-th of n evenly spread samples looks at; exact for any size we can have. */
static uint64_t sample_index(uint64_t i, uint64_t n, uint64_t total)
{
	return (uint64_t)((unsigned __int128)i * total / n);
}

int pages_locate(const void *addr, uint64_t bytes, uint64_t page_bytes, unsigned node,
	uint64_t max_checked, struct pages_count *out)
{
	struct pages_count count = { 0 };
	void *pages[BATCH];
	uint64_t samples;

	if (page_bytes == 0 || (page_bytes & (page_bytes - 1)) != 0 ||
		(uintptr_t)addr % page_bytes != 0)
		return -EINVAL;
	count.total = bytes / page_bytes + (bytes % page_bytes != 0);
	samples = max_checked && max_checked < count.total ? max_checked : count.total;
	for (uint64_t i = 0; i < samples;) {
		unsigned n = 0;
		int err;

		for (; n < BATCH && i < samples; n++, i++)
			pages[n] =
				(char *)addr + sample_index(i, samples, count.total) * page_bytes;
		err = locate_batch(pages, n, node, &count);
		if (err)
			return err;
	}
	*out = count;
	return 0;
}
