/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small phrases that several reports share. Names of programs, jobs and functions come from peers,
 * so nothing of theirs reaches a terminal before its control characters are made visible.
 */
#ifndef RMEM_CTL_TEXT_H
#define RMEM_CTL_TEXT_H

#include <stdint.h>
#include <stdio.h>

/* Control characters become \xNN, in UTF-8 too. */
void text_put(FILE *out, const char *text);

/* What text_put() prints, to be freed by the caller; NULL without memory. */
char *text_clean(const char *text);

/* The part after the last slash. */
const char *text_basename(const char *path);

/* "56.0 MiB in 14 blocks", "512 B in 1 block", or "0". */
void text_put_share(FILE *out, uint64_t bytes, uint64_t blocks);
/* The same if some of them are objects: "1.2 MiB in 3 blocks and 20000 objects". */
void text_put_mixed_share(FILE *out, uint64_t bytes, uint64_t blocks, uint64_t objects);

/* "75s". */
void text_put_duration(FILE *out, uint64_t ms);

/* "2026-11-20 05:06:07 UTC", or "never" for 0. */
#define TEXT_TIME_SIZE 40
const char *text_format_time(uint64_t real_ns, char *buf, size_t size);

#endif
