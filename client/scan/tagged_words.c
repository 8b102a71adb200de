/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/scan/tagged_words.h"

#include "common/addr.h"

size_t tagged_words_find_plain(const uint64_t *words, size_t n, uint64_t *out)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		if (addr_is_remote(words[i]))
			out[found++] = words[i];
	return found;
}

#ifdef __x86_64__
#include <immintrin.h>

#define STEP ((size_t)16) /* words: two cache lines */

bool tagged_words_have_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}

/* Compares all bytes, looks at the top ones: most steps end with one branch. */
__attribute__((target("avx2"))) size_t tagged_words_find_avx2(
	const uint64_t *words, size_t n, uint64_t *out)
{
	const __m256i tag = _mm256_set1_epi8((char)ADDR_TAG);
	const __m256i top = _mm256_set1_epi64x((long long)(0xffULL << ADDR_TAG_SHIFT));
	size_t found = 0, i;

	for (i = 0; i + STEP <= n; i += STEP) {
		const __m256i *at = (const __m256i *)(words + i);
		const __m256i a = _mm256_cmpeq_epi8(_mm256_loadu_si256(at), tag);
		const __m256i b = _mm256_cmpeq_epi8(_mm256_loadu_si256(at + 1), tag);
		const __m256i c = _mm256_cmpeq_epi8(_mm256_loadu_si256(at + 2), tag);
		const __m256i d = _mm256_cmpeq_epi8(_mm256_loadu_si256(at + 3), tag);
		const __m256i any = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));

		if (!_mm256_testz_si256(any, top))
			found += tagged_words_find_plain(words + i, STEP, out + found);
	}
	return found + tagged_words_find_plain(words + i, n - i, out + found);
}
#endif

size_t tagged_words_find(const uint64_t *words, size_t n, uint64_t *out)
{
#ifdef __x86_64__
	if (tagged_words_have_avx2())
		return tagged_words_find_avx2(words, n, out);
#endif
	return tagged_words_find_plain(words, n, out);
}
