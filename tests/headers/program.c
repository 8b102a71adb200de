/* SPDX-License-Identifier: BSD-3-Clause */
/* A user's first program, in plain C11: prints the version; every attribute has its initializer. */
#include <stdio.h>

#include <rmem/rmem.h>

int main(void)
{
	struct rmem_open_attr open_attr = RMEM_OPEN_ATTR_INIT;
	struct rmem_alloc_attr alloc_attr = RMEM_ALLOC_ATTR_INIT;

	if (open_attr.size != sizeof(open_attr) || alloc_attr.size != sizeof(alloc_attr))
		return 1;
	if (rmem_close(NULL) != 0)
		return 1;
	return puts(rmem_version()) < 0;
}
