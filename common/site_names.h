/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The names of a call site's frames: how many there may be, and how they are made to fit. A frame has a name for its
 * function and, before that, one for each function that was inlined there, the innermost first.
 *
 * The names of a site take at most SITE_NAMES_BYTES, in a message and in the server's table: room for one name of
 * ordinary length per frame, however many frames there are. What does not fit is cut, from the outermost frame
 * inwards: long functions, then longer ones than usual; after that inlined ones are left out.
 *
 * A function that is cut ends in "~" and eight hex digits of a hash of all of it, because two instances of a C++
 * template may differ only in what is cut off.
 */
#ifndef RMEM_COMMON_SITE_NAMES_H
#define RMEM_COMMON_SITE_NAMES_H

#include <stdbool.h>

#include "common/message.h"

#define SITE_NAMES_BYTES 3780
#define SITE_NAME_EXTRA 6 /* bytes that a name takes besides its two texts */

size_t site_names_bytes(const struct site_names_request *names);

/* One name per frame, with inlined ones before it? Terminated, and not too many bytes? */
bool site_names_are_possible(const struct site_names_request *names, unsigned nframes);

/* Cut until they are few enough bytes. names is possible but for that. */
void site_names_fit(struct site_names_request *names);

/* Write function into out, cut if it does not fit. */
void site_names_cut(char *out, size_t size, const char *function);

#endif
