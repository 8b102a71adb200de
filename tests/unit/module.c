/* SPDX-License-Identifier: BSD-3-Clause */
/* A library without a build id, in two versions: the same code, and the names tell which one was read. */
#ifndef NAME
#define NAME original
#endif
__attribute__((visibility("default"))) int NAME(int n);

int NAME(int n)
{
	return n + 1;
}
