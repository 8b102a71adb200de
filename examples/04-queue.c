/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 04-queue: many small reads on their way at once, and operations that depend on each other.
 *
 * One read after the other, a program waits for a round trip each. On a queue many are on their way:
 * start, start, start, then reap what has completed, each with the tag it was started with.
 *
 *	04-queue [HOST[:PORT]]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <rmem/rmem.h>

#define RECORDS 4096U
#define LOOKUPS 2000U
#define DEPTH 64U /* on their way at once */

struct record {
	uint64_t key, value;
};

static int failed(const char *what)
{
	fprintf(stderr, "04-queue: %s: %s\n", what, rmem_errmsg());
	return -1;
}

/* Where the i-th look-up happens to go. */
static uint64_t pick(uint64_t i)
{
	return i * 2654435761U % RECORDS;
}

/* slots are DEPTH local records, registered, so that nothing is copied on this side. */
static int look_up(struct rmem_queue *q, rmem_addr_t table, struct record *slots)
{
	struct rmem_completion done[DEPTH];
	uint64_t started = 0, reaped = 0;
	int n, err;

	while (reaped < LOOKUPS) {
		/* As many as there is room for: -EAGAIN says that there is none. */
		for (err = 0; started < LOOKUPS && err == 0; started += err == 0)
			err = rmem_start_read(q, &slots[started % DEPTH],
				table + pick(started) * sizeof(*slots), sizeof(*slots), started);
		n = err && err != -EAGAIN ? err : rmem_reap(q, done, DEPTH, -1);
		if (n < 0)
			return failed("starting or reaping");
		/* In the order they were started. Until then the slot was the library's. */
		for (int i = 0; i < n; i++) {
			/* Each has its own reason; rmem_errmsg() has that of the last that has failed. */
			if (done[i].status)
				printf("read %" PRIu64 ": %s\n", done[i].tag,
					rmem_completion_errmsg(q, &done[i]));
			if (done[i].status || slots[done[i].tag % DEPTH].key != pick(done[i].tag))
				return failed("a read");
		}
		reaped += (uint64_t)n;
	}
	printf("%u records found\n", LOOKUPS);
	return 0;
}

/* Five operations, handed over together, of which some must wait for others: in the device, not here. */
static int move_record(struct rmem_queue *q, rmem_addr_t table, struct record *slots)
{
	static const struct record empty = { 0 };
	const rmem_addr_t record = table + 7 * sizeof(empty);
	struct rmem_completion done;
	uint64_t before = 0, key = 1;
	int n = 0, err;

	slots[1] = (struct record){ 7, 700 };
	err = rmem_start_write(q, record, &slots[1], sizeof(empty), 0);
	err = err ? err : rmem_start_read(q, &slots[0], record, sizeof(empty), 1); /* sees it */
	/* But what comes after a read may overtake it. Not beyond a fence: */
	err = err ? err : rmem_fence(q);
	err = err ? err : rmem_start_write(q, record, &empty, sizeof(empty), 2);
	err = err ? err : rmem_start_fetch_add(q, table + 8, 1, &before, 3);
	err = err ? err : rmem_fence(q);
	err = err ? err : rmem_start_compare_swap(q, table, 0, 77, &key, 4);
	/* rmem_reap() would hand them over too; a program that does something else first does it now. */
	if (err || rmem_submit(q))
		return failed("a chain");
	for (; n < 5; n++)
		if (rmem_reap(q, &done, 1, -1) < 1 || done.status)
			return failed("part of the chain");
	printf("moved %" PRIu64 "\n", slots[0].value);
	return slots[0].value == 700 && before == 0 && key == 0 ? 0 : -1;
}

static int run(struct rmem *rm, struct rmem_queue *q)
{
	const size_t bytes = RECORDS * sizeof(struct record);
	struct record *local;
	rmem_addr_t table;

	if (rmem_alloc(rm, bytes, NULL, &table) || rmem_buf_alloc(rm, bytes, (void **)&local))
		return failed("memory");
	for (uint64_t i = 0; i < RECORDS; i++)
		local[i] = (struct record){ i, 0 };
	if (rmem_write(rm, table, local, bytes))
		return failed("writing");
	return look_up(q, table, local) || move_record(q, table, local) || rmem_free(rm, table);
}

int main(int argc, char **argv)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	struct rmem_queue *q = NULL;
	struct rmem *rm = NULL;
	int err;

	attr.depth = DEPTH;
	if (rmem_open(argc > 1 ? argv[1] : NULL, NULL, &rm) || rmem_queue_create(rm, &attr, &q))
		err = failed("opening");
	else
		err = run(rm, q);
	rmem_queue_destroy(q); /* finishes what was started; NULL is fine */
	return rmem_close(rm) || err;
}
