/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/base/bitset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int bitset_create(struct bitset *s, uint64_t bits)
{
	uint64_t words = 0, n = bits;

	memset(s, 0, sizeof(*s));
	if (bits > 1ULL << (6 * BITSET_LEVELS))
		return -EINVAL;
	if (bits == 0)
		return 0;
	do {
		s->bits[s->levels++] = n;
		n = (n + 63) / 64;
		words += n;
	} while (n > 1);
	s->words[0] = calloc(words, sizeof(*s->words[0]));
	if (!s->words[0]) {
		memset(s, 0, sizeof(*s));
		return -ENOMEM;
	}
	for (unsigned level = 1; level < s->levels; level++)
		s->words[level] = s->words[level - 1] + (s->bits[level - 1] + 63) / 64;
	return 0;
}

int bitset_copy(struct bitset *s, const struct bitset *from)
{
	int err = bitset_create(s, from->bits[0]);

	for (unsigned level = 0; !err && level < s->levels; level++)
		memcpy(s->words[level], from->words[level],
			(from->bits[level] + 63) / 64 * sizeof(*s->words[level]));
	s->count = from->count;
	return err;
}

void bitset_destroy(struct bitset *s)
{
	if (!s)
		return;
	free(s->words[0]);
	memset(s, 0, sizeof(*s));
}

void bitset_set(struct bitset *s, uint64_t i)
{
	s->count += !bitset_test(s, i);
	for (unsigned level = 0; level < s->levels; level++) {
		uint64_t *word = &s->words[level][i / 64];
		uint64_t before = *word;

		*word |= 1ULL << i % 64;
		if (before)
			return; /* the levels above know already */
		i /= 64;
	}
}

void bitset_clear(struct bitset *s, uint64_t i)
{
	s->count -= bitset_test(s, i);
	for (unsigned level = 0; level < s->levels; level++) {
		uint64_t *word = &s->words[level][i / 64];

		*word &= ~(1ULL << i % 64);
		if (*word)
			return;
		i /= 64;
	}
}

uint64_t bitset_next(const struct bitset *s, uint64_t from)
{
	unsigned level = 0;

	/* Up, until a word to the right has something. */
	for (;; level++) {
		uint64_t word;

		if (level == s->levels || from >= s->bits[level])
			return BITSET_NONE;
		word = s->words[level][from / 64] >> from % 64;
		if (word) {
			from += (unsigned)__builtin_ctzll(word);
			break;
		}
		from = from / 64 + 1;
	}
	/* Down again, always to the leftmost. */
	while (level-- > 0)
		from = from * 64 + (unsigned)__builtin_ctzll(s->words[level][from]);
	return from;
}
