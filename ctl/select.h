/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which items of an answer are shown, as text or JSON, and in which order: records of leaks, sessions, blocks of a map,
 * lines of history. Pure.
 */
#ifndef RMEM_CTL_SELECT_H
#define RMEM_CTL_SELECT_H

#include <jansson.h>

#include "common/errinfo.h"
#include "ctl/render.h"

/*
 * Leave those out that the view excludes, and sort the others. If any were left out, but for those of other kinds, their
 * number is added to the answer; what else is in it stays. 0, or an error and the answer is unchanged: -EBADMSG (a field
 * makes no sense), -ENOMEM. A report without items stays as it is.
 */
int select_items(
	enum report report, json_t *answer, const struct view *view, struct errinfo *errinfo);

/* Where the number of items that were left out is; NULL: the report has no items. */
const char *select_hidden(enum report report);

/* Does the view choose or sort? Then all items have to be asked for. */
bool select_is_choosy(const struct view *view);

/* Can items of the report be sorted by that? */
bool select_can_sort(enum report report, const char *key);

struct check;

/* Is it a record of leaks that the view shows, without regard to its limit? */
bool select_shows_record(const json_t *record, const struct view *view, struct check *c);

#endif
