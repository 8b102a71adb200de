/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes and durations as people type and read them. Pure; any thread. */
#ifndef RMEM_COMMON_UNITS_H
#define RMEM_COMMON_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define KIB 1024ULL
#define MIB (1024ULL * KIB)
#define GIB (1024ULL * MIB)

/* "4096", "64K", "1.5G", "2GiB": binary multiples. 0, or -EINVAL, or -ERANGE above 2^63. */
int units_parse_bytes(const char *text, uint64_t *out_bytes);

/* "250ms", "10s", "10" (seconds), "5m", "24h", "7d". 0, or -EINVAL, or -ERANGE. */
int units_parse_duration(const char *text, uint64_t *out_ms);

/* "56.0 MiB"; exact below 1 KiB: "512 B". Writes at most size bytes and returns buf. */
const char *units_format_bytes(uint64_t bytes, char *buf, size_t size);

/* "75s", "11m", "3h", "2d"; "0.2s" below ten seconds. Writes at most size bytes and returns buf. */
const char *units_format_duration(uint64_t ms, char *buf, size_t size);

#define UNITS_TEXT_SIZE 24 /* enough for every formatted size or duration */

#endif
