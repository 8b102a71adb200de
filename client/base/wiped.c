/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/base/wiped.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#include "common/denial.h"

/* In a page that children find zeroed; NULL: the process has not been marked. */
static _Atomic(atomic_bool *) mark;

int wiped_map(void **out, struct errinfo *errinfo)
{
	void *page =
		mmap(NULL, WIPED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return denial_explain(DENIED_MEMORY, -ENOMEM, "a page of the session", errinfo);
	if (madvise(page, WIPED_BYTES, MADV_WIPEONFORK)) {
		int rc = -errno;

		(void)munmap(page, WIPED_BYTES);
		if (rc != -EINVAL)
			return denial_explain(DENIED_CALL, rc, "madvise", errinfo);
		return errinfo_set(errinfo, rc,
			"the kernel has no MADV_WIPEONFORK, with which child processes are kept "
			"from the device: Linux 4.14 or later is needed");
	}
	*out = page;
	return 0;
}

void wiped_unmap(void *page)
{
	if (page)
		(void)munmap(page, WIPED_BYTES);
}

int wiped_mark_process(struct errinfo *errinfo)
{
	atomic_bool *expected = NULL;
	void *page = NULL;
	int rc;

	if (atomic_load(&mark))
		return 0;
	rc = wiped_map(&page, errinfo);
	if (rc)
		return rc;
	atomic_store((atomic_bool *)page, true);
	if (!atomic_compare_exchange_strong(&mark, &expected, (atomic_bool *)page))
		wiped_unmap(page); /* another thread was faster */
	return 0;
}

bool wiped_is_child(void)
{
	const atomic_bool *present = atomic_load(&mark);

	return present && !atomic_load(present);
}
