/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names for the frames that the server has none for, found from build id and offset: when the process was gone
 * before it sent them, but its program or its debug information is here, or debuginfod servers have it
 * (ctl/debug_file.h). C++ names are made legible (ctl/demangle.h). Best effort; nothing is changed otherwise.
 *
 * The paths come from peers. A file is read only if it is a regular one that root or the caller owns
 * (a root that asks for a report is not to parse what any user made up), and believed only if it has
 * the build id that ran.
 */
#ifndef RMEM_CTL_NAMES_H
#define RMEM_CTL_NAMES_H

#include <jansson.h>

/* Fill in "function", "file" and "line" in the stacks of an answer, with frames for what was inlined. */
void names_resolve(json_t *answer);

#endif
