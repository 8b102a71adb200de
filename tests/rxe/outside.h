/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rig's rmemd as others see it: rmemctl, an honest client, and the kernel, which knows what it has open.
 *
 * ERRORS: what goes wrong here fails the running test.
 */
#ifndef RMEM_TESTS_OUTSIDE_H
#define RMEM_TESTS_OUTSIDE_H

#include "tests/rxe/rig.h"

/* rmemctl with these arguments (NULL-terminated), on this rmemd's admin socket, without a terminal. */
struct rig_output {
	int status; /* exit status */
	char out[64 * 1024], err[4096];
};
void rig_ctl(struct rig *r, const char *const arguments[], struct rig_output *out);
/* The same over RDMA. */
void rig_ctl_remote(struct rig *r, const char *const arguments[], struct rig_output *out);

/* An honest client is served. The program must play the roles of client.h. */
void rig_assert_serves(struct rig *r);

/*
 * What rmemd has open: its file descriptors and its RDMA objects (of it alone: other tests use the device at the
 * same time). Two that are equal mean that nothing was left over in between.
 */
#define RIG_FOOTPRINT_SIZE 4096
void rig_footprint(struct rig *r, char out[RIG_FOOTPRINT_SIZE]);

/* Wait until it is as it was: connections are torn down in slices. */
void rig_await_footprint(struct rig *r, const char *wanted);

/* What it uses of this machine; and how many requests it has refused. */
struct rig_health {
	long long refused, rss_kb;
	unsigned files;
};
struct rig_health rig_look(struct rig *r);

#endif
