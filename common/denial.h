/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel, or a container around us, has refused: which limit that is, as far as an errno tells, how high
 * it is just now, and what helps. Any thread.
 */
#ifndef RMEM_COMMON_DENIAL_H
#define RMEM_COMMON_DENIAL_H

#include <stdbool.h>

#include "common/errinfo.h"

enum denial {
	DENIED_FILE,   /* a descriptor */
	DENIED_MEMORY, /* a mapping, or room on the heap */
	DENIED_PINNED, /* memory that a device reads and writes: registered, or its own queues */
	DENIED_THREAD,
	DENIED_DEVICE, /* to open what is in /dev/infiniband */
	DENIED_CALL,   /* a system call, by a filter or for lack of a capability */
};

/* "WHAT: what went wrong: what helps"; returns err, a negative errno. */
int denial_explain(enum denial what, int rc, const char *doing, struct errinfo *errinfo);

/* Only what helps, for a sentence of one's own: a static text or one in buf; "" if nothing is known. */
#define DENIAL_TEXT_SIZE 320
const char *denial_remedy(enum denial what, int rc, char buf[DENIAL_TEXT_SIZE]);

/* Can so many more descriptors be had? 0, -EMFILE, -ENFILE. */
#define DENIAL_CONNECTION_DESCRIPTORS 12 /* what a connection takes, and a few */
int denial_of_descriptors(int wanted, struct errinfo *errinfo);

/*
 * Verbs say "no device" and "no route" too when a device is there and may not be opened, or descriptors have run
 * out. 0: nothing of that kind is to be seen; else why tells, and -EMFILE, -ENFILE or -ENODEV.
 */
int denial_of_devices(struct errinfo *errinfo);

#endif
