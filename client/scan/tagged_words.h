/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words of a buffer that may be remote addresses: aligned to 8 bytes, and with the tag (common/addr.h) in the top
 * byte. An address that is not aligned, or in two halves, or with other bits for a mark, is not found. Of random words
 * one in 256 has the tag. Pure, any thread.
 */
#ifndef RMEM_CLIENT_SCAN_TAGGED_WORDS_H
#define RMEM_CLIENT_SCAN_TAGGED_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies them to out, which has room for n, in order. Returns how many. */
size_t tagged_words_find(const uint64_t *words, size_t n, uint64_t *out);

/* The same by instructions that every processor has; and those that only some have, which tagged_words_find() prefers. */
size_t tagged_words_find_plain(const uint64_t *words, size_t n, uint64_t *out);
#ifdef __x86_64__
bool tagged_words_have_avx2(void);
size_t tagged_words_find_avx2(const uint64_t *words, size_t n, uint64_t *out);
#endif

#endif
