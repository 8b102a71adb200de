/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's side of tests/rxe/client.h: orders on standard input, records on standard output. */
#include "tests/rxe/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "rmem/rmem.h"
#include "tests/rxe/pattern.h"
#include "tests/support/random.h"

#define PUPPET_BYTES (16UL << 20) /* the longest FILL or CHECK */
#define PERSIST_NS (60 * NSEC_PER_SEC)
#define WORKER_TIMEOUT_MS 20000
#define SMALL_BYTES 6000 /* most of a worker's blocks are no longer */

enum { EXIT_DONE = 0, EXIT_CALL_FAILED = 1, EXIT_NO_PARENT = 2 };

struct self {
	const char *server;
	int timeout_ms;
	struct rmem *rm;
	uint8_t *buffer;
	bool persistent;
};

static void tell(const struct client_record *r)
{
	if (write(STDOUT_FILENO, r, sizeof(*r)) != sizeof(*r))
		_exit(EXIT_NO_PARENT);
}

static int check(struct self *self, const struct client_order *o)
{
	int err = rmem_read(self->rm, self->buffer, o->addr, o->bytes);

	if (err)
		return err;
	return pattern_check(self->buffer, o->bytes, o->seed) < 0 ? 0 : CLIENT_WRONG_BYTES;
}

static int make(struct self *self, const struct client_order *o, uint64_t *addr)
{
	const struct rmem_open_attr open_attr = { .size = sizeof(open_attr),
		.timeout_ms = self->timeout_ms };
	const struct rmem_alloc_attr alloc_attr = {
		.size = sizeof(alloc_attr), .node = o->node, .flags = RMEM_ALLOC_ISOLATED
	};
	int err;

	switch (o->call) {
	case CLIENT_OPEN:
		return rmem_open(self->server, &open_attr, &self->rm);
	case CLIENT_CLOSE:
		err = rmem_close(self->rm);
		self->rm = NULL;
		return err;
	case CLIENT_ALLOC:
		return rmem_alloc(self->rm, o->bytes, &alloc_attr, addr);
	case CLIENT_ALLOC_OBJECT:
		return rmem_alloc(self->rm, o->bytes, NULL, addr);
	case CLIENT_FREE:
		return rmem_free(self->rm, o->addr);
	case CLIENT_FILL:
		pattern_fill(self->buffer, o->bytes, o->seed);
		return rmem_write(self->rm, o->addr, self->buffer, o->bytes);
	case CLIENT_CHECK:
		return check(self, o);
	default:
		return -ENOSYS;
	}
}

/* One call, told before and after. */
static int call(struct self *self, const struct client_order *o, uint64_t *addr)
{
	struct client_record r = { .call = o->call, .addr = o->addr, .bytes = o->bytes };
	uint64_t began_ns = clock_boot_ns();

	tell(&r);
	r.err = make(self, o, &r.addr);
	r.ended = 1;
	r.took_ms = (uint32_t)((clock_boot_ns() - began_ns) / NSEC_PER_MSEC);
	if (r.err < 0)
		snprintf(r.errinfo, sizeof(r.errinfo), "%.200s", rmem_errmsg());
	if (addr)
		*addr = r.addr;
	tell(&r);
	return r.err;
}

static int puppet(struct self *self)
{
	struct client_order o;
	ssize_t n;

	while ((n = read(STDIN_FILENO, &o, sizeof(o))) == sizeof(o)) {
		if (o.bytes > PUPPET_BYTES && o.call > CLIENT_FREE)
			return EXIT_NO_PARENT;
		call(self, &o, NULL);
	}
	return n == 0 ? EXIT_DONE : EXIT_NO_PARENT;
}

/* ---- worker ---- */

struct piece {
	uint64_t addr, bytes, seed;
};

struct worker {
	struct self self;
	struct client_work work;
	struct piece *held;
	unsigned nheld;
	uint64_t random;
};

/* A call that a broken connection spoilt is made again, if the worker is of that kind. */
static int insist(struct worker *w, const struct client_order *o, uint64_t *addr)
{
	uint64_t until_ns = clock_boot_ns() + PERSIST_NS;
	int err;

	do
		err = call(&w->self, o, addr);
	while (w->work.persistent && (err == -ECONNRESET || err == -ETIMEDOUT) &&
		clock_boot_ns() < until_ns);
	return err;
}

static int grow(struct worker *w)
{
	struct client_order o = { .call = CLIENT_ALLOC, .node = RMEM_NODE_ANY };
	struct piece *piece = &w->held[w->nheld];
	int err;

	o.bytes = 1 + random_below(&w->random,
			      random_below(&w->random, 4) ? SMALL_BYTES : w->work.max_bytes);
	err = insist(w, &o, &o.addr);
	if (err)
		return err;
	*piece = (struct piece){ o.addr, o.bytes, random_u64(&w->random) | 1 };
	w->nheld++;
	o.call = CLIENT_CHECK; /* fresh memory is zeroed, whoever had it before */
	err = insist(w, &o, NULL);
	o.call = CLIENT_FILL;
	o.seed = piece->seed;
	return err ? err : insist(w, &o, NULL);
}

static int verify(struct worker *w, unsigned index)
{
	const struct piece *p = &w->held[index];
	const struct client_order o = {
		.call = CLIENT_CHECK, .addr = p->addr, .bytes = p->bytes, .seed = p->seed
	};

	return insist(w, &o, NULL);
}

static int shrink(struct worker *w, unsigned index)
{
	const struct client_order o = { .call = CLIENT_FREE, .addr = w->held[index].addr };
	int err = verify(w, index);

	if (!err)
		err = insist(w, &o, NULL);
	if (!err)
		w->held[index] = w->held[--w->nheld];
	return err;
}

/* The parent closes our standard input. */
static bool told_to_stop(void)
{
	struct pollfd orders = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&orders, 1, 0) != 0;
}

static int work(struct worker *w)
{
	bool idle = false;
	int err = insist(w, &(struct client_order){ .call = CLIENT_OPEN }, NULL);

	while (!err && !told_to_stop()) {
		unsigned any = w->nheld ? (unsigned)random_below(&w->random, w->nheld) : 0;

		idle |= w->work.idles && w->nheld == w->work.max_held;
		if (idle)
			err = verify(w, any);
		else if (w->nheld == 0 ||
			 (w->nheld < w->work.max_held && random_below(&w->random, 5) < 3))
			err = grow(w);
		else
			err = shrink(w, any);
	}
	while (!err && w->nheld)
		err = shrink(w, w->nheld - 1);
	if (!err)
		err = call(&w->self, &(struct client_order){ .call = CLIENT_CLOSE }, NULL);
	return err ? EXIT_CALL_FAILED : EXIT_DONE;
}

static int be_puppet(char **argv)
{
	struct self self = { .server = argv[2], .timeout_ms = (int)strtol(argv[3], NULL, 10) };
	int status = EXIT_NO_PARENT;

	self.buffer = malloc(PUPPET_BYTES);
	if (self.buffer)
		status = puppet(&self);
	free(self.buffer);
	return status;
}

static int be_worker(char **argv)
{
	struct worker w = {
		.self = { .server = argv[2], .timeout_ms = WORKER_TIMEOUT_MS },
		.random = strtoull(argv[3], NULL, 10),
		.work = { .max_held = (unsigned)strtoul(argv[4], NULL, 10),
			.max_bytes = (unsigned)strtoul(argv[5], NULL, 10),
			.persistent = argv[6][0] == '1',
			.idles = argv[7][0] == '1' },
	};
	int status = EXIT_NO_PARENT;

	w.held = calloc(w.work.max_held, sizeof(*w.held));
	w.self.buffer = malloc(w.work.max_bytes > SMALL_BYTES ? w.work.max_bytes : SMALL_BYTES);
	if (w.held && w.self.buffer)
		status = work(&w);
	free(w.self.buffer);
	free(w.held);
	return status;
}

int client_role(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "puppet") == 0)
		return be_puppet(argv);
	if (argc == 8 && strcmp(argv[1], "worker") == 0)
		return be_worker(argv);
	return EXIT_NO_PARENT;
}
