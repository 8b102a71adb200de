/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 02-buffers: a table in remote memory, of which one column is read and changed without copying anything.
 *
 * A registered buffer is memory that the RDMA device may use: what is inside one travels in place,
 * and several pieces of it travel in one request. rmem_stats() says how often that was so.
 *
 *	02-buffers [HOST[:PORT]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rmem/rmem.h>

#define ROWS 1000
#define COLUMN 16 /* the rows of which we read the price */

struct row {
	char name[56];
	uint64_t price;
};

static int failed(const char *what)
{
	fprintf(stderr, "02-buffers: %s: %s\n", what, rmem_errmsg());
	return -1;
}

/* Write the whole table from memory that is registered: it is not copied on this machine. */
static int store(struct rmem *rm, rmem_addr_t table)
{
	struct row *rows;
	int err;

	if (rmem_buf_alloc(rm, ROWS * sizeof(*rows), (void **)&rows))
		return failed("a buffer");
	for (uint64_t i = 0; i < ROWS; i++) {
		snprintf(rows[i].name, sizeof(rows[i].name), "thing %" PRIu64, i);
		rows[i].price = i * i;
	}
	err = rmem_write(rm, table, rows, ROWS * sizeof(*rows)) ? failed("writing") : 0;
	rmem_buf_release(rm, rows);
	return err;
}

/* Gather the prices of some rows into an array of our own; then halve them, and scatter them back. */
static int halve(struct rmem *rm, rmem_addr_t table, uint64_t *out)
{
	static uint64_t prices[COLUMN];
	struct iovec local = { prices, sizeof(prices) };
	struct rmem_iovec remote[COLUMN];
	uint64_t sum = 0;

	/* Any memory that can be written to will do, from the heap as well. */
	if (rmem_buf_register(rm, prices, sizeof(prices)))
		return failed("registering");
	for (size_t i = 0; i < COLUMN; i++) {
		remote[i].base = table + i * sizeof(struct row) + offsetof(struct row, price);
		remote[i].len = sizeof(prices[0]);
	}
	if (rmem_readv(rm, &local, 1, remote, COLUMN))
		return failed("reading");
	for (size_t i = 0; i < COLUMN; i++) {
		sum += prices[i];
		prices[i] /= 2;
	}
	if (rmem_writev(rm, &local, 1, remote, COLUMN))
		return failed("writing back");
	*out = sum;
	return rmem_buf_release(rm, prices) ? failed("releasing") : 0;
}

static int run(struct rmem *rm)
{
	struct rmem_stats stats = RMEM_STATS_INIT;
	rmem_addr_t table;
	uint64_t sum = 0, half = 0;

	if (rmem_alloc(rm, ROWS * sizeof(struct row), NULL, &table))
		return failed("allocating");
	if (store(rm, table) || halve(rm, table, &sum) || halve(rm, table, &half))
		return -1;
	if (rmem_stats(rm, &stats))
		return failed("counting");
	printf("the first %d cost %" PRIu64 ", then %" PRIu64 "\n", COLUMN, sum, half);
	printf("%" PRIu64 " bytes went in place in %" PRIu64 " requests, %" PRIu64 " were copied\n",
		stats.in_place_bytes, stats.in_place_requests, stats.slot_bytes);
	if (rmem_free(rm, table))
		return failed("freeing");
	return sum == 1240 && half == 616 && stats.slot_bytes == 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct rmem *rm = NULL;
	int err;

	if (rmem_open(argc > 1 ? argv[1] : NULL, NULL, &rm))
		return failed("opening a session") ? 1 : 0;
	err = run(rm);
	/* Buffers that are still registered are released here. */
	return rmem_close(rm) || err;
}
