/* SPDX-License-Identifier: BSD-3-Clause */
/* A module whose constructor does what the program wants, with the loader's lock. */
extern void blocker_constructor(void);

__attribute__((constructor)) static void run(void)
{
	blocker_constructor();
}
