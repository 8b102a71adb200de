/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every fuzz target includes. The target takes any bytes and stops the process (FUZZ_EXPECT, a
 * sanitizer) when a promise is broken; it returns 0 whether or not the parser accepted them.
 */
#ifndef RMEM_TESTS_FUZZ_H
#define RMEM_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_EXPECT(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* The input as a string that ends with its buffer, so that a read past it is seen. free() it. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	FUZZ_EXPECT(text);
	for (size_t i = 0; i < size; i++)
		text[i] = (char)data[i];
	text[size] = '\0';
	return text;
}

#endif
