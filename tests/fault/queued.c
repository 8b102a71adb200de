/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/queued.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

#include "tests/fault/holdings.h"
#include "tests/fault/verdict.h"
#include "tests/rxe/pattern.h"

#define LIMIT_MS 60000 /* for operations that take no time, or a timeout */
#define ADDED 3
#define SWAPPED 9 /* more than before */

enum operation { WRITE_SHORT, WRITE_LONG, WRITEV, ADD, READ, SWAP, READV, OPERATIONS };

static struct rmem_queue *queue;
static int fd; /* -1: the queue waits by itself */
static enum { TO_START, STARTED, DONE } state[OPERATIONS];
static uint64_t old_added, old_swapped;
static uint8_t read_bytes[3000], readv_bytes[70000];

int queued_create(void)
{
	fd = -1;
	return rmem_queue_create(held.rm, NULL, &queue);
}

int queued_fd(void)
{
	struct rmem_completion done;
	int rc = rmem_queue_fd(queue);

	if (rc < 0)
		return rc;
	fd = rc;
	/* There is nothing: so the next start has the device announce completions, whether or not any wait sleeps. */
	rc = rmem_reap(queue, &done, 1, 0);
	return rc > 0 ? -EPROTO : rc;
}

static int start_writes(enum operation i)
{
	static struct iovec local[2]; /* the library's until it is reaped */
	static struct rmem_iovec remote;

	switch (i) {
	case WRITE_SHORT:
		pattern_fill(held.model_small + 3000, 24, 21);
		return rmem_start_write(queue, held.small + 3000, held.model_small + 3000, 24, i);
	case WRITE_LONG:
		pattern_fill(held.model_big + 50000, 5000, 22);
		return rmem_start_write(queue, held.big + 50000, held.model_big + 50000, 5000, i);
	default:
		local[0] = (struct iovec){ held.buffer + 100000, 4000 };
		local[1] = (struct iovec){ held.registered + 40000, 500 };
		remote = (struct rmem_iovec){ held.big + 60000, 4500 };
		pattern_fill(held.buffer + 100000, 4000, 23);
		pattern_fill(held.registered + 40000, 500, 24);
		memcpy(held.model_big + 60000, held.buffer + 100000, 4000);
		memcpy(held.model_big + 64000, held.registered + 40000, 500);
		return rmem_start_writev(queue, local, COUNT(local), &remote, 1, i);
	}
}

static int start(enum operation i)
{
	static struct iovec local[2]; /* the library's until it is reaped */
	static struct rmem_iovec remote;

	switch (i) {
	case ADD:
		return rmem_start_fetch_add(
			queue, held.small + WORD_OFFSET(WORD_ADD), ADDED, &old_added, i);
	case SWAP:
		return rmem_start_compare_swap(queue, held.small + WORD_OFFSET(WORD_SWAP),
			held.words[WORD_SWAP], held.words[WORD_SWAP] + SWAPPED, &old_swapped, i);
	case READ:
		return rmem_start_read(queue, read_bytes, held.big + 100, sizeof(read_bytes), i);
	case READV:
		local[0] = (struct iovec){ readv_bytes, 2000 };
		local[1] = (struct iovec){ readv_bytes + 2000, 68000 };
		remote = (struct rmem_iovec){ held.big + 400000, 70000 };
		return rmem_start_readv(queue, local, COUNT(local), &remote, 1, i);
	default:
		return start_writes(i);
	}
}

/* An operation has ended. */
static void finish(enum operation i, int status)
{
	state[i] = status ? TO_START : DONE;
	if (i == ADD)
		holdings_finish_atomic(WORD_ADD, status, old_added, held.words[WORD_ADD] + ADDED);
	else if (i == SWAP)
		holdings_finish_atomic(
			WORD_SWAP, status, old_swapped, held.words[WORD_SWAP] + SWAPPED);
}

/* Take what has completed; how many, or an error of the call. *failed: of an operation. */
static int reap(int *failed)
{
	struct rmem_completion out[4];
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	int n = rmem_reap(queue, out, COUNT(out), fd < 0 ? LIMIT_MS : 0);

	if (n == 0 && fd >= 0) {
		bool told = poll(&ready, 1, LIMIT_MS) == 1;

		n = rmem_reap(queue, out, COUNT(out), 0);
		if (n > 0 && !told)
			verdict_wrong("something had completed, and the descriptor did not tell");
		if (n == 0 && told)
			return 0; /* it said 'may' */
	}
	if (n == 0)
		verdict_wrong("nothing completes");
	for (int i = 0; i < n; i++) {
		if (out[i].tag >= OPERATIONS || state[out[i].tag] != STARTED)
			verdict_wrong("tag %" PRIu64 " has not been started", out[i].tag);
		if (out[i].status)
			*failed = out[i].status;
		finish((enum operation)out[i].tag, out[i].status);
	}
	return n;
}

static bool any(int wanted)
{
	for (int i = 0; i < OPERATIONS; i++)
		if ((int)state[i] == wanted)
			return true;
	return false;
}

/* Start what is not done, and reap all that is started. */
int queued_all(void)
{
	int rc = 0, failed = 0;

	if (!any(TO_START) && !any(STARTED))
		memset(state, 0, sizeof(state));
	for (int i = 0; i < OPERATIONS && rc == 0; i++) {
		if (state[i] != TO_START)
			continue;
		rc = start((enum operation)i);
		if (rc == 0)
			state[i] = STARTED;
		if (rc == 0 && i == WRITEV)
			rc = rmem_fence(queue);
		if (rc == 0 && i == ADD)
			rc = rmem_submit(queue);
	}
	while (any(STARTED)) {
		int n = reap(&failed);

		if (n < 0)
			return n;
	}
	if (rc || failed)
		return rc ? rc : failed;
	verdict_compare(read_bytes, held.model_big + 100, sizeof(read_bytes), "read by the queue");
	verdict_compare(
		readv_bytes, held.model_big + 400000, sizeof(readv_bytes), "readv by the queue");
	return 0;
}

int queued_destroy(void)
{
	rmem_queue_destroy(queue);
	return 0;
}
