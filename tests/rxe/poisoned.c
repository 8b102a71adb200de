/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program built with AddressSanitizer that uses the shared librmem, which is not: what the device would
 * read or write behind the sanitizer's back is refused. "poisoned SERVER": exit status 0, or 1 and a
 * sentence. test_registered runs it.
 */
#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rmem/rmem.h"

#define BYTES 100000UL   /* more than is copied */
#define TIMEOUT_MS 60000 /* it is not about that */

static struct rmem *rm;
static rmem_addr_t addr;
static int failures;

/* Not what this is about: librdmacm keeps things until the end. */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static void expect(const char *what, int rc, int wanted)
{
	if (rc == wanted && (rc == 0 || strstr(rmem_errmsg(), "AddressSanitizer")))
		return;
	fprintf(stderr, "poisoned: %s: %d instead of %d: %s\n", what, rc, wanted, rmem_errmsg());
	failures++;
}

static void expect_good(const char *what, int rc)
{
	expect(what, rc, 0);
}

static void expect_bad(const char *what, int rc)
{
	expect(what, rc, -EFAULT);
}

/* Every way to hand memory over, of a length. */
static void hand_over(struct rmem_queue *q, uint8_t *p, size_t bytes, void (*is)(const char *, int))
{
	static uint8_t good[64];
	struct iovec local[2] = { { good, 8 }, { p, bytes } };
	struct rmem_iovec remote = { addr, 8 + bytes };
	struct rmem_completion done;

	is("write", rmem_write(rm, addr, p, bytes));
	is("read", rmem_read(rm, p, addr, bytes));
	is("writev", rmem_writev(rm, local, 2, &remote, 1));
	is("readv", rmem_readv(rm, local, 2, &remote, 1));
	is("start_write", rmem_start_write(q, addr, p, bytes, 1));
	is("start_readv", rmem_start_readv(q, local, 2, &remote, 1, 2));
	while (rmem_reap(q, &done, 1, -1) > 0)
		expect_good("reap", done.status);
}

static void hand_over_all(struct rmem_queue *q)
{
	static const size_t lengths[] = { 1, 8, 600, 4096, BYTES };
	struct rmem_stats before = RMEM_STATS_INIT, after = RMEM_STATS_INIT;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t bytes = lengths[i];
		uint8_t *p = calloc(1, bytes);
		uint8_t *volatile freed = p;

		hand_over(q, p, bytes, expect_good);
		expect_good("stats", rmem_stats(rm, &before));
		hand_over(q, p, bytes + 1, expect_bad);
		free(p);
		hand_over(q, freed, bytes, expect_bad); /* NOLINT(clang-analyzer-unix.Malloc) */
		expect_good("stats", rmem_stats(rm, &after));
		if (memcmp(&before, &after, sizeof(before)) != 0)
			expect("nothing was sent", 1, 0);
	}
}

/* What the program itself has marked, in the middle of a registered buffer. */
static void mark(struct rmem_queue *q)
{
	void *p = NULL;

	expect_good("buffer", rmem_buf_alloc(rm, BYTES, &p));
	hand_over(q, p, BYTES, expect_good);
	__asan_poison_memory_region((uint8_t *)p + 4096, 64);
	hand_over(q, p, BYTES, expect_bad);
	hand_over(q, p, 4096, expect_good);
	__asan_unpoison_memory_region((uint8_t *)p + 4096, 64);
	hand_over(q, p, BYTES, expect_good);
}

int main(int argc, char **argv)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem_queue *q = NULL;

	if (argc != 2)
		return 2;
	attr.timeout_ms = TIMEOUT_MS;
	expect_good("open", rmem_open(argv[1], &attr, &rm));
	expect_good("alloc", rmem_alloc(rm, BYTES + 64, NULL, &addr));
	expect_good("queue", rmem_queue_create(rm, NULL, &q));
	if (failures)
		return 1;
	hand_over_all(q);
	mark(q);
	expect_good("free", rmem_free(rm, addr));
	expect_good("close", rmem_close(rm));
	return failures != 0;
}
