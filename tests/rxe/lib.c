/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/lib.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "tests/rxe/pattern.h"
#include "tests/rxe/rig.h"

#define REPLACE_TRIES 200 /* of the 16 MiB that there are */

void lib_succeed(int rc)
{
	if (rc)
		fail_msg("%d (%s): %s", rc, strerror(abs(rc)), rmem_errmsg());
}

void lib_expect(int rc, int wanted, const char *mention)
{
	if (rc != wanted || !strstr(rmem_errmsg(), mention))
		fail_msg("%d instead of %d, '%s': %s", rc, wanted, mention, rmem_errmsg());
	if (strchr(rmem_errmsg(), '\n'))
		fail_msg("more than one line: %s", rmem_errmsg());
}

struct rmem *lib_open(const char *server, int channels)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm = NULL;

	attr.timeout_ms = RIG_LIMIT_MS;
	attr.channels = channels;
	lib_succeed(rmem_open(server, &attr, &rm));
	return rm;
}

/* NULL in a call of rmem_alloc() would be a small object of a slab. */
const struct rmem_alloc_attr lib_isolated = {
	.size = sizeof(lib_isolated), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ISOLATED
};

static rmem_addr_t alloc(struct rmem *rm, size_t bytes, const struct rmem_alloc_attr *attr)
{
	rmem_addr_t addr = 0;

	lib_succeed(rmem_alloc(rm, bytes, attr, &addr));
	assert_true(addr_is_remote(addr));
	return addr;
}

rmem_addr_t lib_alloc(struct rmem *rm, size_t bytes)
{
	return alloc(rm, bytes, &lib_isolated);
}

rmem_addr_t lib_alloc_object(struct rmem *rm, size_t bytes)
{
	return alloc(rm, bytes, NULL);
}

void lib_replace(struct rmem *rm, rmem_addr_t addr, size_t bytes)
{
	rmem_addr_t others[REPLACE_TRIES];
	int n = 0;

	lib_succeed(rmem_free(rm, addr));
	while ((others[n] = lib_alloc(rm, bytes)) != addr)
		if (++n == REPLACE_TRIES)
			fail_msg("0x%" PRIx64 " is not lent again", addr);
	while (n > 0)
		lib_succeed(rmem_free(rm, others[--n]));
}

void *lib_buffer(struct rmem *rm, size_t bytes)
{
	void *p = NULL;

	lib_succeed(rmem_buf_alloc(rm, bytes, &p));
	return p;
}

struct rmem_queue *lib_queue(struct rmem *rm, unsigned depth)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	struct rmem_queue *q = NULL;

	attr.depth = depth;
	lib_succeed(rmem_queue_create(rm, &attr, &q));
	return q;
}

uint64_t lib_read_word(struct rmem *rm, rmem_addr_t addr)
{
	uint64_t word = 0;

	lib_succeed(rmem_read(rm, &word, addr, sizeof(word)));
	return word;
}

void lib_check(struct rmem *rm, rmem_addr_t addr, size_t bytes, uint64_t seed)
{
	uint8_t *buffer = lib_zeroes(bytes);
	ssize_t wrong;

	memset(buffer, 0x5a, bytes);
	lib_succeed(rmem_read(rm, buffer, addr, bytes));
	wrong = pattern_check(buffer, bytes, seed);
	if (wrong >= 0)
		fail_msg("byte %zd of %zu at 0x%" PRIx64 " is wrong", wrong, bytes, addr);
	free(buffer);
}

void *lib_zeroes(size_t bytes)
{
	void *p = calloc(1, bytes);

	assert_non_null(p);
	return p;
}

struct rmem_stats lib_news(struct rmem *rm, struct rmem_stats *last)
{
	struct rmem_stats now = RMEM_STATS_INIT, d = RMEM_STATS_INIT;

	lib_succeed(rmem_stats(rm, &now));
	d.in_place_requests = now.in_place_requests - last->in_place_requests;
	d.in_place_bytes = now.in_place_bytes - last->in_place_bytes;
	d.inline_requests = now.inline_requests - last->inline_requests;
	d.inline_bytes = now.inline_bytes - last->inline_bytes;
	d.slot_requests = now.slot_requests - last->slot_requests;
	d.slot_bytes = now.slot_bytes - last->slot_bytes;
	d.registered_requests = now.registered_requests - last->registered_requests;
	d.registered_bytes = now.registered_bytes - last->registered_bytes;
	d.registrations = now.registrations - last->registrations;
	d.doorbells = now.doorbells - last->doorbells;
	d.atomics = now.atomics - last->atomics;
	*last = now;
	return d;
}

uint64_t lib_bytes(const struct rmem_stats *s)
{
	return s->in_place_bytes + s->inline_bytes + s->slot_bytes + s->registered_bytes;
}

uint64_t lib_seed(uint64_t usual)
{
	const char *given = getenv("RMEM_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : usual;

	printf("seed %" PRIu64 " (RMEM_SEED gives another)\n", seed);
	return seed;
}
