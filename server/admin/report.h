/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The answers of docs/ADMIN.md as JSON, made from the tables and from what the server says about
 * itself. Knows nothing of verbs, sockets or the event loop: a function of its arguments, so the same
 * state gives the same bytes, and a test needs no server.
 *
 * What is bounded is made at once; a report with a list is made in pieces (server/admin/report_pieces.h).
 * Every function returns a new reference or report, or NULL when there is no memory for the answer.
 */
#ifndef RMEM_SERVER_ADMIN_REPORT_H
#define RMEM_SERVER_ADMIN_REPORT_H

#include <jansson.h>
#include <stdint.h>

#include "server/admin/report_pieces.h"
#include "server/admin/report_view.h"

#define REPORT_MAP_LIMIT 1000      /* blocks, when the request names no limit */
#define REPORT_MAP_MAX 65536       /* whatever it names: the answer is kept in memory */
#define REPORT_RECLAIMED_LIMIT 256 /* lines, when the request names no limit */

json_t *report_status(const struct report_view *view);

/* By what they hold. One that ends meanwhile is left out. */
struct report *report_sessions(const struct report_view *view);

/* Of an audit, as of its moment. result must outlive the report. */
struct report *report_leaks(const struct report_view *view, const struct audit_result *result);

/* What was taken back: the newest lines of history, at most limit; how many there are is always told. */
struct report *report_reclaimed(const struct report_view *view, uint64_t limit);

/* The first blocks, by address. node < 0: those of all nodes. */
struct report *report_map(const struct report_view *view, uint64_t limit, int node);

/* An error answer when nobody holds it. */
json_t *report_who_holds(const struct report_view *view, uint64_t addr);

/* err: an errno, negative or not. */
json_t *report_error(int err, const char *message);

#endif
