/* SPDX-License-Identifier: BSD-3-Clause */
/* The words with the tag, against a loop that looks at each, by all instructions that there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdint.h>
#include <string.h>

#include "client/scan/tagged_words.h"
#include "common/addr.h"
#include "tests/support/random.h"

#define WORDS 300
#define ROUNDS 20000

typedef size_t find_function(const uint64_t *words, size_t n, uint64_t *out);

/* The tag at any byte, and everywhere, beside words of any other kind. */
static uint64_t some_word(uint64_t *seed)
{
	const uint64_t any = random_u64(seed);

	switch (random_below(seed, 6)) {
	case 0:
		return addr_make((unsigned)any, any >> 14);
	case 1:
		return ADDR_TAG << 8 * random_below(seed, 8);
	case 2:
		return ADDR_TAG * 0x0101010101010101ULL;
	case 3:
		return ADDR_TAG * 0x0001010101010101ULL; /* all but the top byte */
	default:
		return random_below(seed, 2) ? any : 0;
	}
}

static void compare(find_function *find, uint64_t seed, unsigned sparse)
{
	uint64_t words[WORDS], out[WORDS + 1], expected[WORDS];

	for (unsigned round = 0; round < ROUNDS; round++) {
		const size_t from = random_below(&seed, 20), n = random_below(&seed, WORDS - from);
		size_t nexpected = 0;

		for (size_t i = 0; i < WORDS; i++)
			words[i] = random_below(&seed, sparse) ? 0 : some_word(&seed);
		for (size_t i = from; i < from + n; i++)
			if (words[i] >> 56 == 0x9e)
				expected[nexpected++] = words[i];
		out[nexpected] = 1;
		assert_int_equal(find(words + from, n, out), nexpected);
		assert_memory_equal(out, expected, nexpected * sizeof(*out));
		assert_int_equal(out[nexpected], 1); /* not a word too many */
	}
}

static void test_plain(void **state)
{
	(void)state;
	compare(tagged_words_find_plain, 1, 1);
	compare(tagged_words_find_plain, 2, 30);
}

static void test_avx2(void **state)
{
	(void)state;
#ifdef __x86_64__
	if (tagged_words_have_avx2()) {
		compare(tagged_words_find_avx2, 3, 1);
		compare(tagged_words_find_avx2, 4, 30);
		return;
	}
#endif
	skip();
}

static void test_best(void **state)
{
	(void)state;
	compare(tagged_words_find, 5, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_avx2),
		cmocka_unit_test(test_best),
	};

	return cmocka_run_group_tests_name("tagged_words", tests, NULL, NULL);
}
