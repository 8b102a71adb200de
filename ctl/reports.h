/* SPDX-License-Identifier: BSD-3-Clause */
/* One function per report, in a file render_….c; only render.c calls them. */
#ifndef RMEM_CTL_REPORTS_H
#define RMEM_CTL_REPORTS_H

#include "ctl/field.h"

struct view; /* ctl/render.h */

/* Bad fields go into c; otherwise 0 or -ENOMEM. */
typedef int render_fn(const json_t *answer, const struct view *view, FILE *out, struct check *c);

render_fn render_status, render_leaks, render_sessions, render_map, render_who_holds,
	render_reclaimed, render_acknowledge, render_audit, render_evict, render_revoke,
	render_reclaim, render_resize, render_log_level, render_numastat, render_buddyinfo,
	render_slabinfo, render_quota;

#endif
