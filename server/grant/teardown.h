/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of a CLOSING connection, in slices: its grants are revoked one by one; when the last one is confirmed, the
 * connection goes. A grant that the device does not end in five rounds is stuck; it and its connection stay until rmemd ends.
 * The event loop only.
 */
#ifndef RMEM_SERVER_GRANT_TEARDOWN_H
#define RMEM_SERVER_GRANT_TEARDOWN_H

#include <stdbool.h>

struct net;

/* Work on every connection that is dying, and count what was done off *budget. True: there is more that can be done now. */
bool teardown_some(struct net *net, unsigned *budget);

/* What the device has refused may be tried again. To be called at each tick. */
void teardown_retry(struct net *net);

/* Tear down all that are dying, to the end: for a server that stops, which nobody waits for. */
void teardown_all(struct net *net);

#endif
