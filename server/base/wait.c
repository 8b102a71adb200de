/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/base/wait.h"

void wait_move(struct wait **from, struct wait **to)
{
	struct wait *w;

	*to = *from;
	*from = NULL;
	DL_FOREACH (*to, w)
		w->list = to;
}

void wait_finish_oldest(struct wait **list, int result)
{
	struct wait *w = *list;

	if (!w)
		return;
	wait_cancel(w);
	w->done(w, result);
}

void wait_finish(struct wait **list, int result)
{
	struct wait *now, *w;

	wait_move(list, &now); /* in this list, one of them can still cancel another */
	while ((w = now) != NULL) {
		wait_cancel(w);
		w->done(w, result);
	}
}
