/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/peer.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/rxe/lib.h"

/* ---- the test's side ---- */

void peer_start(struct peer *p, const struct peer_task *t)
{
	char addr[24], key[2 * sizeof(t->key) + 1], number[24];
	const char *argv[] = { "/proc/self/exe", t->role, t->server, addr, key, number, NULL };
	int orders[2], news[2];

	snprintf(addr, sizeof(addr), "%" PRIu64, t->addr);
	snprintf(number, sizeof(number), "%" PRIu64, t->number);
	for (size_t i = 0; i < sizeof(t->key); i++)
		snprintf(key + 2 * i, 3, "%02x", t->key.bytes[i]);
	assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
	assert_int_equal(pipe2(news, O_CLOEXEC), 0);
	process_start(&p->process, argv, (const int[]){ orders[0], news[1], -1 });
	close(orders[0]);
	close(news[1]);
	p->orders = orders[1];
	p->news = news[0];
}

int64_t peer_hear(struct peer *p)
{
	struct pollfd news = { .fd = p->news, .events = POLLIN };
	int64_t number;

	if (poll(&news, 1, RIG_LIMIT_MS) != 1)
		fail_msg("peer %d says nothing", (int)p->process.pid);
	return read(p->news, &number, sizeof(number)) == sizeof(number) ? number : PEER_DEAD;
}

void peer_tell(struct peer *p)
{
	assert_int_equal(write(p->orders, "", 1), 1);
}

static void close_pipes(struct peer *p)
{
	if (p->orders > 0)
		close(p->orders);
	if (p->news > 0)
		close(p->news);
	p->orders = p->news = -1;
}

void peer_kill(struct peer *p)
{
	process_signal(&p->process, SIGKILL);
	process_wait(&p->process, RIG_LIMIT_MS, "peer");
}

void peer_freeze(struct peer *p)
{
	siginfo_t info;

	process_signal(&p->process, SIGSTOP);
	assert_int_equal(
		waitid(P_PID, (id_t)p->process.pid, &info, WSTOPPED | WEXITED | WNOWAIT), 0);
	assert_int_equal(info.si_code, CLD_STOPPED);
}

void peer_thaw(struct peer *p)
{
	process_signal(&p->process, SIGCONT);
}

void peer_finish(struct peer *p)
{
	int status = process_wait(&p->process, RIG_LIMIT_MS, "peer");

	close_pipes(p);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("a peer ended with status 0x%x", (unsigned)status);
}

void peer_end(struct peer *p)
{
	if (p->process.pid)
		process_end(&p->process);
	close_pipes(p);
}

/* ---- where they meet ---- */

const char *const peer_patient[] = { "--ttl", "10m", NULL };
const char *const peer_brief[] = { "--ttl", "5s", NULL };

static struct peer peers[PEERS];

int peer_teardown(void **state)
{
	for (int i = 0; i < PEERS; i++)
		peer_end(&peers[i]);
	return rig_teardown(state);
}

void peer_scene_open(
	struct peer_scene *sc, struct rig *r, const char *const options[], size_t bytes)
{
	*sc = (struct peer_scene){ .rig = r, .peers = peers };
	rig_start(r, options);
	sc->rm = lib_open(r->server, 0);
	sc->task.server = r->server;
	sc->task.addr = lib_alloc(sc->rm, bytes);
	lib_succeed(rmem_share(sc->rm, sc->task.addr, &sc->task.key));
}

void peer_scene_close(struct peer_scene *sc)
{
	lib_succeed(rmem_free(sc->rm, sc->task.addr));
	lib_succeed(rmem_close(sc->rm));
	rig_stop(sc->rig, false);
}

struct peer *peer_scene_start(struct peer_scene *sc, int i, const char *role, uint64_t number)
{
	sc->task.role = role;
	sc->task.number = number;
	peer_start(&peers[i], &sc->task);
	return &peers[i];
}

/* ---- the peer's side ---- */

void peer_say(int64_t number)
{
	if (write(STDOUT_FILENO, &number, sizeof(number)) != sizeof(number))
		_exit(PEER_FAILED);
}

void peer_wait(void)
{
	char order;

	if (read(STDIN_FILENO, &order, 1) != 1)
		_exit(PEER_FAILED);
}

int peer_must(int rc, const char *what)
{
	if (rc >= 0)
		return rc;
	fprintf(stderr, "peer %d: %s: %s\n", (int)getpid(), what, rmem_errmsg());
	_exit(PEER_FAILED);
}

int peer_main(char **argv, const struct peer_role roles[])
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct peer_task t = { .role = argv[1], .server = argv[2] };
	struct rmem *rm = NULL;

	attr.timeout_ms = RIG_LIMIT_MS;
	t.addr = strtoull(argv[3], NULL, 10);
	for (size_t i = 0; i < sizeof(t.key); i++) {
		char digits[3] = { argv[4][2 * i], argv[4][2 * i + 1], '\0' };

		t.key.bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	t.number = strtoull(argv[5], NULL, 10);
	peer_must(rmem_open(t.server, &attr, &rm), "open");
	peer_must(rmem_attach(rm, t.addr, &t.key, NULL), "attach");
	for (size_t i = 0; roles[i].name; i++)
		if (strcmp(roles[i].name, t.role) == 0)
			return roles[i].play(rm, &t);
	return PEER_FAILED;
}
