/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A wait hangs on the list of an event: a block is revoked, a session has no connection left, there is room. The code
 * that brings the event about calls wait_finish(), which calls every wait on the list. It knows nothing of the waits.
 * The event loop only.
 */
#ifndef RMEM_SERVER_BASE_WAIT_H
#define RMEM_SERVER_BASE_WAIT_H

#include <stdbool.h>
#include <stddef.h>
#include <utlist.h>

struct wait {
	/* Called once, off the list: the wait may be hung up again. result: 0, or a negative errno if it never happens. */
	void (*done)(struct wait *w, int result);
	struct wait **list; /* NULL: it hangs nowhere */
	struct wait *prev, *next;
};

/* Behind those that hang there. It must hang nowhere. */
static inline void wait_on(
	struct wait **list, struct wait *w, void (*done)(struct wait *w, int result))
{
	w->done = done;
	w->list = list;
	DL_APPEND(*list, w);
}

static inline bool wait_is_on(const struct wait *w)
{
	return w->list != NULL;
}

/* done() is not called. One that hangs nowhere is fine. */
static inline void wait_cancel(struct wait *w)
{
	if (!w->list)
		return;
	DL_DELETE(*w->list, w);
	w->list = NULL;
}

/* Those that hang on from hang on to, which is empty, now. */
void wait_move(struct wait **from, struct wait **to);

/* Call the one that has hung there longest, if there is one. */
void wait_finish_oldest(struct wait **list, int result);

/* Call all that hang there now, the oldest first; those that hang themselves up again meanwhile are not called again. */
void wait_finish(struct wait **list, int result);

#endif
