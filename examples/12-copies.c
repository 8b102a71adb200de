/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 12-copies: a table in remote memory that grows.
 *
 * A larger allocation takes the place of a smaller one: the server copies what there was and fills the rest, so that
 * nothing but two requests travels. What an allocation is, and what there can be, the library knows without asking.
 *
 *	12-copies [HOST[:PORT]]
 */
#include <inttypes.h>
#include <stdio.h>

#include <rmem/rmem.h>

#define EMPTY 0xff /* in every byte of an entry that nobody has written */

/* Nobody may be using the old one meanwhile: the copy is not ordered with operations on their way. */
static int grow(struct rmem *rm, rmem_addr_t *table, uint64_t bytes)
{
	struct rmem_stat old = RMEM_STAT_INIT;
	rmem_addr_t larger;
	int err = rmem_stat(rm, *table, &old);

	if (!err)
		err = rmem_alloc(rm, bytes, NULL, &larger);
	if (err)
		return err;
	err = rmem_copy(rm, larger, old.base, old.bytes);
	if (!err)
		err = rmem_fill(rm, larger + old.bytes, EMPTY, bytes - old.bytes);
	/* One of the two is given back, and the other is the table. */
	if (err)
		return rmem_free(rm, larger) || err;
	*table = larger;
	return rmem_free(rm, old.base);
}

static int run(struct rmem *rm)
{
	struct rmem_limits limits = RMEM_LIMITS_INIT;
	struct rmem_stat stat = RMEM_STAT_INIT;
	uint64_t bytes = 4096, first = 1, last = 0;
	rmem_addr_t table;
	int err = rmem_limits(rm, &limits);

	if (err || (err = rmem_alloc(rm, bytes, NULL, &table)) != 0)
		return err;
	err = rmem_write(rm, table, &first, sizeof(first));
	while (!err && bytes < (4U << 20) && bytes * 2 <= limits.alloc_bytes) {
		bytes *= 2;
		err = grow(rm, &table, bytes);
	}
	first = 0;
	if (!err)
		err = rmem_read(rm, &first, table, sizeof(first));
	if (!err)
		err = rmem_read(rm, &last, table + bytes - sizeof(last), sizeof(last));
	if (!err)
		err = rmem_stat(rm, table + bytes / 2, &stat);
	if (!err)
		printf("%" PRIu64 " bytes, the first entry is %" PRIu64 ", the last is %s\n",
			stat.bytes, first, last == UINT64_MAX ? "empty" : "not empty");
	return rmem_free(rm, table) || err;
}

int main(int argc, char **argv)
{
	struct rmem *rm = NULL;
	int err = rmem_open(argc > 1 ? argv[1] : NULL, NULL, &rm);

	if (!err)
		err = run(rm);
	if (err)
		fprintf(stderr, "12-copies: %s\n", rmem_errmsg());
	return rmem_close(rm) || err;
}
