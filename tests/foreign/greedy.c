/* SPDX-License-Identifier: BSD-3-Clause */
/* Static thread-local storage, of which all modules that are loaded late share 1664 bytes (glibc 2.36). */
#define GREED 1500

static _Thread_local char greedy[GREED] __attribute__((tls_model("initial-exec")));

__attribute__((visibility("default"))) char *greedy_own(void);

/* Without a user it would not be static. */
char *greedy_own(void)
{
	return greedy;
}
