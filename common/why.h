/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reason for people beside an errno for programs: filled where the error is decided, carried up
 * unchanged, shown once. It names the cause and the remedy.
 */
#ifndef RMEM_COMMON_WHY_H
#define RMEM_COMMON_WHY_H

#define WHY_TEXT_SIZE 512

struct why {
	char text[WHY_TEXT_SIZE];
};

/*
 * Set the text (why may be NULL) and return err, so that callers can write return why_set(…):
 *	int why_set(struct why *why, int err, const char *fmt, ...);
 * A macro, so that compilers and static analysers see which error it is that comes back.
 */
#define why_set(why, err, ...) (why_fill(why, __VA_ARGS__), why_same_error(err))

/* Leaves errno alone: err may be -errno. */
void why_fill(struct why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * strerror(3) without its locks: that may look for a translation, and load what converts its characters
 * (with the lock that dlopen() takes). Never NULL, a constant.
 */
const char *why_errno(int err);

static inline int why_same_error(int err)
{
	return err;
}

#endif
