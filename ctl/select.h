/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --kinds, --older, --min-bytes and --top: which records of a leaks report are shown. It is decided here, once, before the report is
 * printed as text or as JSON. Totals, conservation and the verdict are of the whole pool, whatever is shown. Pure.
 */
#ifndef RMEM_CTL_SELECT_H
#define RMEM_CTL_SELECT_H

#include <jansson.h>

#include "common/errinfo.h"
#include "ctl/render.h"

/* In the answer: how many records of the kinds asked for the other three left out. Not there: none. */
#define SELECT_HIDDEN "records_hidden"

/*
 * Leave only the records that view shows in a leaks answer, and note SELECT_HIDDEN there. -EBADMSG: a record has no
 * kind or age that schema 1 has; -ENOMEM. Then the answer is as it was.
 */
int select_leaks(json_t *answer, const struct view *view, struct errinfo *errinfo);

#endif
