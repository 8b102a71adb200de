/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 14-growing: many texts in remote memory, each of which grows.
 *
 * Allocations that are needed together are made together: all of them, or none. A small one that gets another length
 * stays where it is if there is room in its slot; else the server copies it to a larger place.
 *
 *	14-growing [HOST[:PORT]]
 */
#include <stdio.h>
#include <string.h>

#include <rmem/rmem.h>

#define TEXTS 100
#define LONGEST 64

/* As realloc(3), the text may be elsewhere afterwards; if it fails, it is where it was. */
static int append(struct rmem *rm, rmem_addr_t *text, size_t *length, const char *more)
{
	const size_t n = strlen(more);
	int err = rmem_realloc(rm, *text, *length + n, NULL, text);

	if (!err)
		err = rmem_write(rm, *text + *length, more, n);
	if (!err)
		*length += n;
	return err;
}

static int run(struct rmem *rm)
{
	rmem_addr_t texts[TEXTS];
	char last[LONGEST + 1] = "";
	size_t length = 0;
	int err = rmem_alloc_many(rm, 4, TEXTS, NULL, texts);

	if (err)
		return err;
	for (int i = 0; !err && i < TEXTS; i++) {
		length = 4;
		err = rmem_write(rm, texts[i], "long", length);
		for (int k = 0; !err && k < 5; k++)
			err = append(rm, &texts[i], &length, "er and long");
	}
	if (!err)
		err = rmem_read(rm, last, texts[TEXTS - 1], length);
	if (!err)
		printf("%zu bytes: %s\n", length, last);
	/* What could not be freed keeps its address in the list, for another try. */
	return rmem_free_many(rm, texts, TEXTS) || err;
}

int main(int argc, char **argv)
{
	struct rmem *rm = NULL;
	int err = rmem_open(argc > 1 ? argv[1] : NULL, NULL, &rm);

	if (!err)
		err = run(rm);
	if (err)
		fprintf(stderr, "14-growing: %s\n", rmem_errmsg());
	return rmem_close(rm) || err;
}
