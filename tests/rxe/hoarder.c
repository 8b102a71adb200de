/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/hoarder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/space/journal.h"
#include "common/clock.h"
#include "rmem/rmem.h"
#include "tests/rxe/rig.h"
#include "tests/support/random.h"

#define HELD_MAX (2 * HOARDER_KEPT)
#define WRITE_MAX 200 /* bytes of an object that are written */
#define TIMEOUT_MS 20000

/* ---- the process ---- */

/* The largest object of the site, and how much smaller others are. */
static const struct {
	uint32_t most, spread;
} sizes[HOARDER_SITES] = { { 48, 8 }, { 320, 32 }, { 2048, 128 }, { 16384, 1024 } };

#define SITE(name) \
	static __attribute__((noinline)) int name(struct rmem *rm, uint64_t bytes, uint64_t *out) \
	{ \
		int rc = rmem_alloc(rm, bytes, NULL, out); \
\
		__asm__ volatile("" ::: "memory"); /* a frame of its own */ \
		return rc; \
	}

SITE(hoard_notes)
SITE(hoard_letters)
SITE(hoard_pages)
SITE(hoard_books)

static int (*const volatile allocate[HOARDER_SITES])(struct rmem *, uint64_t,
	uint64_t *) = { hoard_notes, hoard_letters, hoard_pages, hoard_books };
const char *const hoarder_sites[HOARDER_SITES] = { "hoard_notes", "hoard_letters", "hoard_pages",
	"hoard_books" };

uint64_t hoarder_bytes(uint32_t site)
{
	return sizes[site].most - 3;
}

/*
 * The linker puts these in the place of librmem's (CMake): which changes are known to be on the server, as a renewal has
 * said so? All that were made before the last round of the journal that had ended began.
 */
static _Atomic uint64_t round_ns;
static _Atomic bool tells_rounds;

int __real_journal_flush(struct journal *j, uint64_t deadline_ns, struct errinfo *errinfo);
int __wrap_journal_flush(struct journal *j, uint64_t deadline_ns, struct errinfo *errinfo);
int __real_session_renew(struct session *s, bool journaled, struct errinfo *errinfo);
int __wrap_session_renew(struct session *s, bool journaled, struct errinfo *errinfo);

int __wrap_journal_flush(struct journal *j, uint64_t deadline_ns, struct errinfo *errinfo)
{
	const uint64_t began_ns = clock_boot_ns();
	const int rc = __real_journal_flush(j, deadline_ns, errinfo);

	if (rc == 0)
		atomic_store(&round_ns, began_ns);
	return rc;
}

int __wrap_session_renew(struct session *s, bool journaled, struct errinfo *errinfo)
{
	struct hoarder_news n = { .call = HOARDER_RENEWAL, .time_ns = atomic_load(&round_ns) };
	const int rc = __real_session_renew(s, journaled, errinfo);

	if (rc == 0 && journaled && n.time_ns && atomic_load(&tells_rounds) &&
		write(STDOUT_FILENO, &n, sizeof(n)) != sizeof(n))
		_exit(2);
	return rc;
}

struct self {
	struct rmem *rm;
	struct hoarder_news held[HELD_MAX];
	unsigned nheld;
	uint64_t random;
};

static void tell(struct hoarder_news *n, uint32_t ended, int err)
{
	n->ended = ended;
	n->err = err;
	n->time_ns = clock_boot_ns();
	if (write(STDOUT_FILENO, n, sizeof(*n)) != sizeof(*n))
		_exit(2);
}

static int grow(struct self *self)
{
	const uint32_t site = (uint32_t)random_below(&self->random, HOARDER_SITES);
	struct hoarder_news n = { .call = HOARDER_ALLOC, .site = site };
	int rc;

	n.bytes = sizes[site].most - random_below(&self->random, sizes[site].spread);
	tell(&n, 0, 0);
	rc = allocate[site](self->rm, n.bytes, &n.addr);
	tell(&n, 1, rc);
	self->held[self->nheld++] = n;
	return rc;
}

static int fill(struct self *self, unsigned at)
{
	static const uint8_t data[WRITE_MAX] = { 1, 2, 3 };
	struct hoarder_news n = self->held[at];
	int rc;

	n.call = HOARDER_WRITE;
	tell(&n, 0, 0);
	rc = rmem_write(self->rm, n.addr, data, n.bytes < WRITE_MAX ? n.bytes : WRITE_MAX);
	tell(&n, 1, rc);
	return rc;
}

static int shrink(struct self *self, unsigned at)
{
	struct hoarder_news n = self->held[at];
	int rc;

	n.call = HOARDER_FREE;
	tell(&n, 0, 0);
	rc = rmem_free(self->rm, n.addr);
	tell(&n, 1, rc);
	self->held[at] = self->held[--self->nheld];
	return rc;
}

/* The first ones grow old. */
static unsigned young(struct self *self)
{
	return HOARDER_KEPT + (unsigned)random_below(&self->random, self->nheld - HOARDER_KEPT);
}

static int hoard(struct self *self)
{
	int rc = 0;

	while (rc == 0) {
		const uint64_t chance = random_below(&self->random, 6);
		const bool few = self->nheld <= HOARDER_KEPT;

		if (self->nheld == 0 || (self->nheld < HELD_MAX && chance < (few ? 3 : 2)))
			rc = grow(self);
		else if (few || chance < 4)
			rc = fill(self, (unsigned)random_below(&self->random, self->nheld));
		else
			rc = shrink(self, young(self));
	}
	return rc;
}

static int hoard_many(struct self *self, uint64_t objects)
{
	struct hoarder_news n = { .call = HOARDER_READY };
	uint64_t addr;
	int rc = 0;

	for (uint64_t i = 0; i < 2 * objects && rc == 0; i++)
		rc = allocate[i % 2](self->rm, hoarder_bytes(i % 2), &addr);
	tell(&n, 1, rc);
	return rc ? rc : (int)read(STDIN_FILENO, &n, sizeof(n));
}

static int introduce(struct self *self)
{
	uint64_t addr;
	int rc = 0;

	for (uint32_t i = 0; i < HOARDER_SITES && rc == 0; i++) {
		rc = allocate[i](self->rm, hoarder_bytes(i), &addr);
		if (rc == 0)
			rc = rmem_free(self->rm, addr);
	}
	return rc;
}

/* hoarder SERVER JOURNAL SEED OBJECTS: SEED 0 introduces itself, OBJECTS other than 0 holds so many. */
int hoarder_role(int argc, char **argv)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	static struct self self;
	uint64_t objects;
	int rc;

	if (argc != 6)
		return 2;
	attr.journal = (uint32_t)strtoul(argv[3], NULL, 10);
	attr.timeout_ms = TIMEOUT_MS;
	self.random = strtoull(argv[4], NULL, 10);
	objects = strtoull(argv[5], NULL, 10);
	atomic_store(&tells_rounds, true);
	rc = rmem_open(argv[2], &attr, &self.rm);
	if (rc == 0)
		rc = objects       ? hoard_many(&self, objects)
		     : self.random ? hoard(&self)
				   : introduce(&self);
	if (rc)
		fprintf(stderr, "hoarder: %d, %s\n", rc, rmem_errmsg());
	return rmem_close(self.rm) || rc;
}

/* ---- its books ---- */

static void start(
	struct hoarder *h, const char *server, uint32_t journal, uint64_t seed, uint64_t objects)
{
	char mode[16], random[24], many[24];
	const char *const argv[] = { "/proc/self/exe", "hoarder", server, mode, random, many,
		NULL };
	int news[2], orders[2];

	snprintf(mode, sizeof(mode), "%" PRIu32, journal);
	snprintf(random, sizeof(random), "%" PRIu64, seed);
	snprintf(many, sizeof(many), "%" PRIu64, objects);
	*h = (struct hoarder){ .exact = journal == RMEM_JOURNAL_EXACT };
	h->objects = calloc(HOARDER_OBJECTS_MAX, sizeof(*h->objects));
	assert_non_null(h->objects);
	assert_int_equal(pipe2(news, O_CLOEXEC), 0);
	assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
	fcntl(news[0], F_SETFL, O_NONBLOCK);
	h->news = news[0];
	h->orders = orders[1];
	process_start(&h->process, argv, (const int[]){ orders[0], news[1], -1 });
	h->pid = h->process.pid;
	close(news[1]);
	close(orders[0]);
}

void hoarder_start(struct hoarder *h, const char *server, uint64_t seed, uint32_t journal)
{
	start(h, server, journal, seed | 1, 0);
}

void hoarder_start_full(struct hoarder *h, const char *server, uint64_t objects)
{
	start(h, server, RMEM_JOURNAL_LAZY, 1, objects);
}

void hoarder_introduce(const char *server)
{
	struct hoarder h;

	start(&h, server, RMEM_JOURNAL_LAZY, 0, 0);
	assert_int_equal(process_wait(&h.process, RIG_LIMIT_MS, "hoarder"), 0);
	hoarder_end(&h);
}

static struct hoarder_object *at(struct hoarder *h, uint64_t addr)
{
	for (size_t i = 0; i < h->nobjects; i++)
		if (h->objects[i].addr == addr)
			return &h->objects[i];
	assert_true(h->nobjects < HOARDER_OBJECTS_MAX);
	h->objects[h->nobjects].freed_ns = 1;
	return &h->objects[h->nobjects++];
}

static void learn(struct hoarder *h, const struct hoarder_news *n)
{
	struct hoarder_object *o;

	if (n->call == HOARDER_RENEWAL) {
		if (n->time_ns > h->journaled_ns)
			h->journaled_ns = n->time_ns;
		return;
	}
	if (n->ended && n->err)
		fail_msg("hoarder %d: call %u failed: %d", (int)h->pid, n->call, n->err);
	h->calls += n->ended;
	if (n->call == HOARDER_ALLOC || n->call == HOARDER_FREE)
		h->unsure = n->ended ? (struct hoarder_news){ .call = 0 } : *n;
	if (n->call == HOARDER_READY || (n->call != HOARDER_FREE && !n->ended))
		return;
	o = at(h, n->addr);
	if (n->call == HOARDER_ALLOC) {
		if (!o->freed_ns)
			fail_msg("hoarder %d got 0x%" PRIx64 ", which it holds", (int)h->pid,
				n->addr);
		*o = (struct hoarder_object){ .addr = n->addr,
			.bytes = n->bytes,
			.site = n->site,
			.allocated_ns = n->time_ns };
	} else if (n->call == HOARDER_WRITE) {
		o->written = true;
	} else {
		o->freeing = true;
		o->freed_ns = n->ended ? n->time_ns : 0;
	}
}

bool hoarder_is_due(const struct hoarder *h, const struct hoarder_object *o)
{
	return !o->freeing && ((h->exact && o->written) || o->allocated_ns < h->journaled_ns);
}

bool hoarder_is_settled(const struct hoarder *h)
{
	size_t due = 0;

	/* What it keeps is what it allocated first. */
	while (due < HOARDER_KEPT && due < h->nobjects && hoarder_is_due(h, &h->objects[due]))
		due++;
	return due == HOARDER_KEPT;
}

/* false: it will tell nothing any more. */
static bool drain(struct hoarder *h)
{
	struct hoarder_news news[64];
	ssize_t n;

	while ((n = read(h->news, news, sizeof(news))) > 0) {
		assert_int_equal((size_t)n % sizeof(news[0]), 0);
		for (size_t i = 0; i < (size_t)n / sizeof(news[0]); i++)
			learn(h, &news[i]);
	}
	return n < 0 && errno == EAGAIN;
}

void hoarder_listen(struct hoarder *h, int wait_ms)
{
	struct pollfd news = { .fd = h->news, .events = POLLIN };

	if (poll(&news, 1, wait_ms) > 0 && !drain(h))
		fail_msg("hoarder %d has ended by itself", (int)h->pid);
}

void hoarder_kill(struct hoarder *h)
{
	struct pollfd news = { .fd = h->news, .events = POLLIN };

	h->killed_ns = clock_boot_ns();
	process_signal(&h->process, SIGKILL);
	while (drain(h))
		if (poll(&news, 1, RIG_LIMIT_MS) != 1)
			fail_msg("hoarder %d does not end", (int)h->pid);
	process_wait(&h->process, RIG_LIMIT_MS, "hoarder");
}

void hoarder_end(struct hoarder *h)
{
	if (!h->objects)
		return;
	process_end(&h->process);
	close(h->news);
	close(h->orders);
	free(h->objects);
	h->objects = NULL;
}
