/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/transfers.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/fault/holdings.h"
#include "tests/fault/verdict.h"
#include "tests/rxe/pattern.h"

/* ---- writing ---- */

static int write_plain(rmem_addr_t addr, uint8_t *model, size_t n, uint64_t seed)
{
	pattern_fill(held.plain, n, seed);
	memcpy(model, held.plain, n);
	return rmem_write(held.rm, addr, held.plain, n);
}

int transfers_write_inline(void)
{
	return write_plain(held.small, held.model_small, 32, 11);
}

int transfers_write_copied(void)
{
	return write_plain(held.big + 100, held.model_big + 100, 3000, 12);
}

int transfers_write_pinned(void)
{
	return write_plain(held.big + 5000, held.model_big + 5000, PINNED, 13);
}

/* More than can be outstanding, in place: several posts. */
int transfers_write_in_place(void)
{
	struct rmem_iovec remote[40];
	struct iovec local = { held.buffer, COUNT(remote) * 512 };

	pattern_fill(held.buffer, local.iov_len, 14);
	for (size_t i = 0; i < COUNT(remote); i++) {
		remote[i] = (struct rmem_iovec){ held.big + 300000 + i * 1024, 512 };
		memcpy(held.model_big + 300000 + i * 1024, held.buffer + i * 512, 512);
	}
	return rmem_writev(held.rm, &local, 1, remote, COUNT(remote));
}

/* Registered, small, long and unregistered pieces in one list, against two allocations. */
int transfers_writev(void)
{
	struct iovec local[] = {
		{ held.buffer + 1000, 2000 },
		{ held.plain, 77 },
		{ held.registered + 5, 9000 },
		{ held.plain + 100, 70000 },
	};
	struct rmem_iovec remote[] = { { held.small + 500, 1000 }, { held.big + 400000, 80077 } };

	pattern_fill(held.buffer + 1000, 2000, 15);
	pattern_fill(held.registered, sizeof(held.registered), 16);
	pattern_fill(held.plain, PINNED, 17);
	memcpy(held.model_small + 500, held.buffer + 1000, 1000);
	memcpy(held.model_big + 400000, held.buffer + 2000, 1000);
	memcpy(held.model_big + 401000, held.plain, 77);
	memcpy(held.model_big + 401077, held.registered + 5, 9000);
	memcpy(held.model_big + 410077, held.plain + 100, 70000);
	return rmem_writev(held.rm, local, COUNT(local), remote, COUNT(remote));
}

/* ---- counting ---- */

int transfers_fetch_add(void)
{
	const uint64_t done = held.words[WORD_ALONE] + 7;
	uint64_t old = 0;
	int rc = rmem_fetch_add(held.rm, held.small + WORD_OFFSET(WORD_ALONE), 7, &old);

	return holdings_finish_atomic(WORD_ALONE, rc, old, done);
}

int transfers_compare_swap(void)
{
	const uint64_t before = held.words[WORD_ALONE], done = before + 1000;
	uint64_t old = 0;
	int rc = rmem_compare_swap(
		held.rm, held.small + WORD_OFFSET(WORD_ALONE), before, done, &old);

	return holdings_finish_atomic(WORD_ALONE, rc, old, done);
}

/* ---- reading ---- */

static int read_back(rmem_addr_t addr, const uint8_t *model, size_t n, const char *what)
{
	int rc;

	memset(held.back, 0xee, n);
	rc = rmem_read(held.rm, held.back, addr, n);
	if (rc == 0)
		verdict_compare(held.back, model, n, what);
	return rc;
}

int transfers_read_copied(void)
{
	return read_back(held.small, held.model_small, SMALL, "small");
}

int transfers_read_pinned(void)
{
	return read_back(held.big, held.model_big, BIG, "big");
}

int transfers_readv(void)
{
	uint8_t *back = held.back;
	struct iovec local[] = {
		{ held.registered, 3000 },
		{ back, 60 },
		{ held.buffer, 20000 },
		{ back + 100, 66000 },
	};
	struct rmem_iovec remote[] = { { held.big + 399000, 88060 }, { held.small, 1000 } };
	int rc;

	memset(back, 0xee, 70000);
	memset(held.registered, 0xee, sizeof(held.registered));
	rc = rmem_readv(held.rm, local, COUNT(local), remote, COUNT(remote));
	if (rc)
		return rc;
	verdict_compare(held.registered, held.model_big + 399000, 3000, "readv, registered");
	verdict_compare(back, held.model_big + 402000, 60, "readv, short");
	verdict_compare(held.buffer, held.model_big + 402060, 20000, "readv, rmem_buf_alloc()");
	verdict_compare(back + 100, held.model_big + 422060, 65000, "readv, long");
	verdict_compare(back + 65100, held.model_small, 1000, "readv, second allocation");
	return 0;
}

/* ---- from another thread ---- */

char transfers_said[256];

static void *read_in_thread(void *arg)
{
	uint8_t bytes[256];
	int *rc = arg;

	*rc = rmem_read(held.rm, bytes, held.small, sizeof(bytes));
	if (*rc == 0)
		verdict_compare(bytes, held.model_small, sizeof(bytes), "small, read by a thread");
	else
		snprintf(transfers_said, sizeof(transfers_said), "%s", rmem_errmsg());
	return NULL;
}

int transfers_thread(void)
{
	pthread_t thread;
	int rc = -EAGAIN;

	if (pthread_create(&thread, NULL, read_in_thread, &rc))
		verdict_wrong("the scenario cannot start a thread");
	pthread_join(thread, NULL);
	return rc;
}
