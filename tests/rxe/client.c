/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/rxe/rig.h"

#define CLIENTS_MAX 128

static struct client *clients; /* all that were started and not ended */

static const char *call_name(uint32_t call)
{
	static const char *const names[] = { "?", "open", "close", "alloc", "free",
		"alloc of an object", "fill", "check" };

	return names[call <= CLIENT_CHECK ? call : 0];
}

/* ---- start and end ---- */

static struct client *start(const char *const arguments[])
{
	struct client *c = calloc(1, sizeof(*c));
	const char *argv[12] = { "/proc/self/exe" };
	int orders[2], records[2];

	for (size_t i = 0; arguments[i]; i++)
		argv[i + 1] = arguments[i];
	assert_non_null(c);
	assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
	assert_int_equal(pipe2(records, O_CLOEXEC), 0);
	c->orders = orders[1];
	c->records = records[0];
	fcntl(c->records, F_SETFL, O_NONBLOCK);
	c->process.fd = -1;
	c->next = clients;
	clients = c;
	process_start(&c->process, argv, (const int[]){ orders[0], records[1], -1 });
	c->pid = c->process.pid;
	close(orders[0]);
	close(records[1]);
	return c;
}

struct client *client_start_puppet(const char *server, int timeout_ms)
{
	char timeout[16];

	snprintf(timeout, sizeof(timeout), "%d", timeout_ms);
	return start((const char *const[]){ "puppet", server, timeout, NULL });
}

struct client *client_start_worker(const char *server, const struct client_work *w)
{
	char seed[24], held[16], bytes[16];

	snprintf(seed, sizeof(seed), "%" PRIu64, w->seed);
	snprintf(held, sizeof(held), "%u", w->max_held);
	snprintf(bytes, sizeof(bytes), "%u", w->max_bytes);
	return start((const char *const[]){ "worker", server, seed, held, bytes,
		w->persistent ? "1" : "0", w->idles ? "1" : "0", NULL });
}

void client_end_all(void)
{
	while (clients) {
		struct client *c = clients;

		clients = c->next;
		process_end(&c->process);
		if (c->orders >= 0)
			close(c->orders);
		if (c->records >= 0)
			close(c->records);
		free(c->held);
		free(c);
	}
}

/* ---- what a client tells ---- */

static void hold(struct client *c, uint64_t addr, uint64_t bytes)
{
	if (c->nheld == c->capacity) {
		c->capacity = c->capacity * 2 + 16;
		c->held = realloc(c->held, c->capacity * sizeof(*c->held));
		assert_non_null(c->held);
	}
	c->held[c->nheld++] = (struct client_block){ addr, bytes };
}

static void let_go(struct client *c, uint64_t addr)
{
	for (size_t i = 0; i < c->nheld; i++) {
		if (c->held[i].addr == addr) {
			c->held[i] = c->held[--c->nheld];
			return;
		}
	}
	fail_msg("client %d freed 0x%" PRIx64 ", which it does not hold", (int)c->pid, addr);
}

/* Does the caller know what came of it? */
static bool is_certain(int err)
{
	return err != -ECONNRESET && err != -ETIMEDOUT && err != -ECANCELED;
}

static void learn(struct client *c, const struct client_record *r)
{
	const bool allocates = r->call == CLIENT_ALLOC || r->call == CLIENT_ALLOC_OBJECT;
	const bool changes = allocates || r->call == CLIENT_FREE;

	if (!r->ended) {
		if (changes)
			c->unsure = *r;
		return;
	}
	c->last = *r;
	if (r->err == 0) {
		c->calls++;
	} else {
		if (c->failures++ == 0)
			c->failure = *r;
	}
	if (changes && is_certain(r->err))
		c->unsure.call = 0;
	if (r->err == 0 && allocates)
		hold(c, r->addr, r->bytes);
	if (r->err == 0 && r->call == CLIENT_FREE)
		let_go(c, r->addr);
}

/* Take in all that is there. Records are written whole. False: it will tell nothing any more. */
static bool drain(struct client *c)
{
	struct client_record records[32];
	ssize_t n;

	if (c->records < 0)
		return false;
	while ((n = read(c->records, records, sizeof(records))) > 0) {
		if ((size_t)n % sizeof(records[0]))
			fail_msg("client %d: a torn record", (int)c->pid);
		for (size_t i = 0; i < (size_t)n / sizeof(records[0]); i++)
			learn(c, &records[i]);
	}
	if (n < 0 && errno == EAGAIN)
		return true;
	close(c->records);
	c->records = -1;
	return false;
}

void client_listen(int wait_ms)
{
	struct pollfd fds[CLIENTS_MAX];
	nfds_t n = 0;

	for (struct client *c = clients; c; c = c->next) {
		if (c->records < 0)
			continue;
		assert_true(n < CLIENTS_MAX);
		fds[n++] = (struct pollfd){ .fd = c->records, .events = POLLIN };
	}
	if (poll(fds, n, wait_ms) <= 0)
		return;
	for (struct client *c = clients; c; c = c->next)
		drain(c);
}

static void fail_of(const struct client *c, const char *what)
{
	fail_msg("client %d %s; first failure: %s of %" PRIu64 " bytes at 0x%" PRIx64 ": %d, %s",
		(int)c->pid, what, call_name(c->failure.call), c->failure.bytes, c->failure.addr,
		c->failure.err, c->failure.errinfo);
}

void client_await_calls(struct client *c, uint64_t calls)
{
	uint64_t until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;

	while (c->calls < calls) {
		if (c->records < 0)
			fail_of(c, "has ended by itself");
		if (clock_boot_ns() > until_ns)
			fail_of(c, "does not get on");
		client_listen(1000);
	}
}

/* ---- puppets ---- */

const struct client_record *client_do(struct client *c, const struct client_order *order)
{
	uint64_t until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;
	struct pollfd news = { .fd = c->records, .events = POLLIN };

	c->last.call = 0;
	if (write(c->orders, order, sizeof(*order)) != sizeof(*order))
		fail_msg("client %d takes no orders: %s", (int)c->pid, strerror(errno));
	while (c->last.call != order->call) {
		if (clock_boot_ns() > until_ns)
			fail_msg("client %d: %s did not return", (int)c->pid,
				call_name(order->call));
		poll(&news, 1, 1000);
		if (!drain(c))
			fail_msg("client %d ended during %s", (int)c->pid, call_name(order->call));
	}
	return &c->last;
}

static const struct client_record *must(struct client *c, const struct client_order *order)
{
	const struct client_record *r = client_do(c, order);

	if (r->err)
		fail_msg("client %d: %s of %" PRIu64 " bytes at 0x%" PRIx64 ": %s: %s", (int)c->pid,
			call_name(r->call), order->bytes, order->addr,
			r->err < 0 ? strerror(-r->err) : "wrong bytes", r->errinfo);
	return r;
}

void client_open(struct client *c)
{
	must(c, &(struct client_order){ .call = CLIENT_OPEN });
}

void client_close(struct client *c)
{
	must(c, &(struct client_order){ .call = CLIENT_CLOSE });
}

uint64_t client_alloc(struct client *c, uint64_t bytes, int node)
{
	return must(c, &(struct client_order){ .call = CLIENT_ALLOC, .bytes = bytes, .node = node })
		->addr;
}

uint64_t client_alloc_object(struct client *c, uint64_t bytes)
{
	return must(c, &(struct client_order){ .call = CLIENT_ALLOC_OBJECT, .bytes = bytes })->addr;
}

void client_free(struct client *c, uint64_t addr)
{
	must(c, &(struct client_order){ .call = CLIENT_FREE, .addr = addr });
}

void client_fill(struct client *c, uint64_t addr, uint64_t bytes, uint64_t seed)
{
	must(c, &(struct client_order){
			.call = CLIENT_FILL, .addr = addr, .bytes = bytes, .seed = seed });
}

void client_check(struct client *c, uint64_t addr, uint64_t bytes, uint64_t seed)
{
	must(c, &(struct client_order){
			.call = CLIENT_CHECK, .addr = addr, .bytes = bytes, .seed = seed });
}

/* ---- signals ---- */

static void drain_to_the_end(struct client *c)
{
	struct pollfd news = { .events = POLLIN };

	do {
		news.fd = c->records;
		if (poll(&news, 1, RIG_LIMIT_MS) != 1)
			fail_msg("client %d does not end", (int)c->pid);
	} while (drain(c));
}

void client_kill(struct client *c)
{
	process_signal(&c->process, SIGKILL);
	drain_to_the_end(c);
	process_wait(&c->process, RIG_LIMIT_MS, "client");
}

void client_freeze(struct client *c)
{
	siginfo_t info;

	process_signal(&c->process, SIGSTOP);
	assert_int_equal(waitid(P_PID, (id_t)c->pid, &info, WSTOPPED | WEXITED | WNOWAIT), 0);
	assert_int_equal(info.si_code, CLD_STOPPED);
	drain(c);
}

void client_thaw(struct client *c)
{
	process_signal(&c->process, SIGCONT);
}

int client_end(struct client *c)
{
	int status;

	close(c->orders);
	c->orders = -1;
	drain_to_the_end(c);
	status = process_wait(&c->process, RIG_LIMIT_MS, "client");
	if (!WIFEXITED(status))
		fail_of(c, "crashed");
	return WEXITSTATUS(status);
}

void client_finish(struct client *c)
{
	if (client_end(c) != 0)
		fail_of(c, "did not end well");
}

/* ---- against the server's report ---- */

static const struct client_block *find_held(const struct client *c, uint64_t addr)
{
	for (size_t i = 0; i < c->nheld; i++) {
		if (c->held[i].addr == addr)
			return &c->held[i];
	}
	return NULL;
}

static bool may_be_extra(const struct client *c, long long bytes)
{
	return c->unsure.call == CLIENT_ALLOC && c->unsure.bytes == (uint64_t)bytes;
}

struct client_total client_assert_map(const struct client *c, const json_t *map)
{
	struct client_total total = { 0, 0 };
	size_t i, found = 0, extra = 0, missing;
	const json_t *block;

	assert_int_equal(
		rig_number(map, "blocks_total"), json_array_size(json_object_get(map, "blocks")));
	json_array_foreach(json_object_get(map, "blocks"), i, block)
	{
		uint64_t addr = strtoull(rig_text(block, "addr"), NULL, 16);
		long long bytes = rig_number(block, "bytes");
		const struct client_block *held;

		if (rig_number(block, "pid") != c->pid ||
			strcmp(rig_text(block, "state"), "live") != 0)
			continue;
		total.blocks++;
		total.bytes += bytes;
		held = find_held(c, addr);
		if (held && held->bytes == (uint64_t)bytes)
			found++;
		else if (!held && may_be_extra(c, bytes))
			extra++;
		else
			fail_msg("client %d: the server says %lld bytes at 0x%" PRIx64
				 ", the client %" PRIu64,
				(int)c->pid, bytes, addr, held ? held->bytes : 0);
	}
	missing = c->nheld - found;
	if (extra > 1)
		fail_msg("client %d: %zu blocks more than it knows of", (int)c->pid, extra);
	if (missing > (c->unsure.call == CLIENT_FREE))
		fail_msg("client %d: %zu of its %zu blocks are not there", (int)c->pid, missing,
			c->nheld);
	return total;
}
