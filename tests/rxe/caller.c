/* SPDX-License-Identifier: BSD-3-Clause */
/* A library without a build id that calls back, in two versions: only the names tell which one was read. */
#ifndef NAME
#define NAME original_caller
#endif
__attribute__((visibility("default"))) int NAME(int (*f)(void *), void *arg);

int NAME(int (*f)(void *), void *arg)
{
	const int rc = f(arg);

	__asm__ volatile("" ::: "memory"); /* its frame is there when f() is called */
	return rc;
}
