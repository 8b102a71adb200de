/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session's sign that its process still has it (common/presence.h), for an rmemd on this machine: after an exec()
 * the process lives on under the same pid, and what it held is lost. It is shown from open to close. A child after
 * fork() gives its copy up, or the sign would outlive the parent's program.
 */
#ifndef RMEM_CLIENT_BASE_MARK_H
#define RMEM_CLIENT_BASE_MARK_H

#include <stdint.h>
#include <sys/types.h>

struct mark {
	int fd; /* -1: there is none, and rmemd has to go by other evidence */
	dev_t device;
	ino_t inode; /* of fd: so that no other file that has this number is ever closed */
	uint64_t number, place;
	struct mark *next;
};

/* Any thread. Zeroed memory is fine. Whatever hinders: then there is no sign. */
void mark_show(struct mark *m);
void mark_remove(struct mark *m); /* of one that is not shown is fine */

/* For pthread_atfork(), in the child. */
void marks_forked(void);

#endif
