/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reason for people beside an errno for programs: filled where the error is decided, carried up
 * unchanged, shown once. It names the cause and the remedy.
 */
#ifndef RMEM_COMMON_ERRINFO_H
#define RMEM_COMMON_ERRINFO_H

#define ERRINFO_TEXT_SIZE 512

struct errinfo {
	char text[ERRINFO_TEXT_SIZE];
};

/*
 * Set the text (errinfo may be NULL) and return rc, so that callers can write return errinfo_set(…):
 *	int errinfo_set(struct errinfo *errinfo, int rc, const char *fmt, ...);
 * A macro, so that compilers and static analysers see which error comes back.
 */
#define errinfo_set(errinfo, rc, ...) (errinfo_fill(errinfo, __VA_ARGS__), errinfo_same(rc))

/* Leaves errno alone, which an argument may be. */
void errinfo_fill(struct errinfo *errinfo, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * strerror(3) without its locks: that may look for a translation, and load what converts its characters
 * (with the lock that dlopen() takes). Never NULL, a constant.
 */
const char *errinfo_errno(int err);

static inline int errinfo_same(int rc)
{
	return rc;
}

#endif
