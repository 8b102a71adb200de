/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 11-operations: operations described by a struct, on several queues in one loop.
 *
 * Two logs in remote memory, each with a queue. Entries are written silently; the write of the length behind them takes
 * effect after they have, so its completion says that all are there. One descriptor tells about both queues.
 *
 *	11-operations [HOST[:PORT]]
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <rmem/rmem.h>

#define LOGS 2
#define ENTRIES 100U
#define ENTRY 32U
#define LOG_BYTES (sizeof(uint64_t) + ENTRIES * ENTRY) /* its length, then the entries */

struct log {
	struct rmem_queue *q;
	rmem_addr_t base;
	char entries[ENTRIES][ENTRY]; /* stay until they have been written */
	uint64_t bytes;
};

static struct rmem_op copy_of(
	uint32_t kind, const struct iovec *local, const struct rmem_iovec *remote)
{
	struct rmem_op op = RMEM_OP_INIT;

	op.kind = kind;
	op.local = local;
	op.remote = remote;
	op.nlocal = op.nremote = 1;
	return op;
}

/* One piece each: the lists are copied when it is started. */
static int start_write(
	struct log *l, rmem_addr_t to, void *from, size_t bytes, uint32_t flags, uint64_t tag)
{
	const struct iovec local = { from, bytes };
	const struct rmem_iovec remote = { to, bytes };
	struct rmem_op op = copy_of(RMEM_OP_WRITE, &local, &remote);

	op.flags = flags;
	op.tag = tag;
	return rmem_start(l->q, &op);
}

static int append_all(struct log *l, uint64_t number)
{
	const rmem_addr_t first = l->base + sizeof(l->bytes);
	int rc = 0;

	for (unsigned i = 0; i < ENTRIES && rc == 0; i++) {
		snprintf(l->entries[i], ENTRY, "log %u, entry %u", (unsigned)number, i);
		rc = start_write(l, first + i * ENTRY, l->entries[i], ENTRY, RMEM_OP_SILENT, i);
	}
	l->bytes = ENTRIES * ENTRY;
	if (rc == 0)
		rc = start_write(l, l->base, &l->bytes, sizeof(l->bytes), 0, number);
	return rc ? rc : rmem_submit(l->q);
}

/* Until both lengths are there. A silent write has a completion if it has failed. */
static int wait_for_all(struct rmem *rm)
{
	struct pollfd fd = { .fd = rmem_queues_fd(rm), .events = POLLIN };
	struct rmem_queue *ready[LOGS];
	struct rmem_completion done;
	int complete = 0, n;

	while (complete < LOGS && poll(&fd, 1, -1) == 1) {
		int queues = rmem_queues_ready(rm, ready, LOGS);

		for (int i = 0; i < queues; i++)
			while ((n = rmem_reap(ready[i], &done, 1, 0)) > 0) {
				if (done.status)
					return done.status;
				complete++;
			}
	}
	return complete < LOGS;
}

static int read_back(struct rmem *rm, const struct log *l)
{
	char bytes[LOG_BYTES];
	const struct iovec local = { bytes, sizeof(bytes) };
	const struct rmem_iovec remote = { l->base, sizeof(bytes) };
	struct rmem_op op = copy_of(RMEM_OP_READ, &local, &remote);
	uint64_t length;
	int rc;

	op.timeout_ms = 10000; /* then -ETIMEDOUT, whatever has become of the server */
	rc = rmem_run(rm, &op);
	if (rc)
		return rc;
	memcpy(&length, bytes, sizeof(length));
	printf("%u bytes, the last entry is '%s'\n", (unsigned)length,
		bytes + sizeof(bytes) - ENTRY);
	return 0;
}

int main(int argc, char **argv)
{
	const struct rmem_queue_attr attr = { sizeof(attr), ENTRIES + 1, RMEM_QUEUE_WATCHED };
	static struct log logs[LOGS];
	struct rmem *rm = NULL;
	int rc = rmem_open(argc > 1 ? argv[1] : NULL, NULL, &rm);

	for (unsigned i = 0; i < LOGS && rc == 0; i++)
		if ((rc = rmem_alloc(rm, LOG_BYTES, NULL, &logs[i].base)) == 0 &&
			(rc = rmem_queue_create(rm, &attr, &logs[i].q)) == 0)
			rc = append_all(&logs[i], i);
	if (rc == 0)
		rc = wait_for_all(rm);
	for (unsigned i = 0; i < LOGS && rc == 0; i++)
		if ((rc = read_back(rm, &logs[i])) == 0)
			rc = rmem_free(rm, logs[i].base);
	if (rc)
		fprintf(stderr, "11-operations: %s\n", rmem_errmsg());
	return rmem_close(rm) || rc;
}
