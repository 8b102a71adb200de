/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/crowd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/random.h"
#include "tests/torture/board.h"
#include "tests/torture/heart.h"

#define MS 1000000LL
#define SERVER_LIMIT_MS 90000 /* to become ready, or to end */
#define OWNERS_PER_HOST 2048U

void crowd_init(struct crowd *c, const struct crowd_config *config)
{
	memset(c, 0, sizeof(*c));
	c->config = *config;
	snprintf(c->log, sizeof(c->log), "%s/rmemd.log", config->dir);
}

/* Become a program that does not outlive this one. */
static pid_t spawn(const char *const argv[], const char *log)
{
	pid_t parent = getpid(), pid = fork();
	int fd;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

/* ---- rmemd ---- */

static void start_server(struct crowd *c)
{
	char path[256], data[256], size[32], ttl[32];
	const char *argv[] = { path, "--size", size, "--ttl", ttl, "--data", data, "--reclaim",
		"pressure", "--courtesy", NULL, "--audit-interval", "5s", NULL };
	struct crowd_config *f = &c->config;
	FILE *log = fopen(c->log, "a");

	snprintf(path, sizeof(path), "%s/rmemd", f->bin);
	snprintf(data, sizeof(data), "%s/data", f->dir);
	snprintf(size, sizeof(size), "%s", f->size);
	snprintf(ttl, sizeof(ttl), "%s", f->ttl);
	argv[10] = random_below(&f->seed, 2) ? "24h" : "10s";
	if (log) {
		fseek(log, 0, SEEK_END);
		c->log_offset = ftell(log);
		fclose(log);
	}
	c->server = spawn(argv, c->log);
	c->server_since = heart_now();
	c->server_ready = c->server_stopped = c->server_ending = false;
}

/* A line from here on says so. */
static uint64_t log_lines(const struct crowd *c, long offset, const char *text)
{
	FILE *f = fopen(c->log, "r");
	char line[4096];
	uint64_t n = 0;

	if (!f)
		return 0;
	fseek(f, offset, SEEK_SET);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, text) != NULL;
	fclose(f);
	return n;
}

uint64_t crowd_log_lines(const struct crowd *c, const char *text)
{
	return log_lines(c, 0, text);
}

static void tend_server(struct crowd *c)
{
	int64_t now = heart_now();

	if (c->config.host != 1)
		return;
	if (!c->server) {
		if (now >= c->server_start_at)
			start_server(c);
		return;
	}
	if (!c->server_ready && !c->server_ending)
		c->server_ready = log_lines(c, c->log_offset, "rmemd: ready") > 0;
	if ((!c->server_ready || c->server_ending) &&
		now - c->server_since > SERVER_LIMIT_MS * MS) {
		board_complain(EVENT_CRASHED, 1, 0, 0, "CRASHED: rmemd did not %s in %d s",
			c->server_ending ? "end" : "become ready", SERVER_LIMIT_MS / 1000);
		kill(c->server, SIGKILL);
		c->server_ending = true;
		c->server_since = now;
	}
}

static void server_ended(struct crowd *c, int status)
{
	if (!c->server_ending || (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) ||
		(WIFEXITED(status) && WEXITSTATUS(status)))
		board_complain(EVENT_CRASHED, 1, 0, 0, "CRASHED: rmemd ended with wait status 0x%x",
			status);
	c->server = 0;
	c->server_ready = c->server_stopped = c->server_ending = false;
}

bool crowd_server_works(const struct crowd *c)
{
	return c->server && c->server_ready && !c->server_stopped && !c->server_ending;
}

void crowd_end_server(struct crowd *c, int signo, int pause_ms)
{
	if (!crowd_server_works(c))
		return;
	board_event(signo == SIGKILL ? EVENT_RMEMD_KILLS : EVENT_RMEMD_TERMS, 1);
	c->server_ending = true;
	c->server_since = heart_now();
	c->server_start_at = heart_now() + pause_ms * MS;
	kill(c->server, signo);
}

void crowd_stop_server(struct crowd *c, bool stop)
{
	if (!c->server || c->server_stopped == stop)
		return;
	kill(c->server, stop ? SIGSTOP : SIGCONT);
	c->server_stopped = stop;
	board_event(EVENT_RMEMD_STOPS, stop);
}

/* ---- clients ---- */

static void start_client(struct crowd *c, struct crowd_client *client, bool hog)
{
	char self[256], path[256], server[64], owner[16], seed[32], slack[16];
	const char *argv[] = { self, "client", path, server, owner, seed, slack, hog ? "hog" : NULL,
		NULL };
	struct crowd_config *f = &c->config;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0 || c->nowners >= OWNERS_PER_HOST - 1)
		return;
	self[n] = 0;
	*client = (struct crowd_client){ .owner = (f->host - 1) * OWNERS_PER_HOST + ++c->nowners };
	snprintf(path, sizeof(path), "%s/board", f->dir);
	snprintf(server, sizeof(server), "%s", f->server);
	snprintf(owner, sizeof(owner), "%u", client->owner);
	snprintf(seed, sizeof(seed), "0x%llx", (unsigned long long)random_u64(&f->seed));
	snprintf(slack, sizeof(slack), "%u", f->slack_ms);
	client->pid = spawn(argv, NULL);
	board_event(EVENT_CLIENTS, !hog);
}

static void client_ended(struct crowd_client *client, int status)
{
	bool fine = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3);

	if (!fine && !client->killed)
		board_complain(EVENT_CRASHED, 1, 0, 0,
			"CRASHED: owner %u (process %d) ended with wait status 0x%x", client->owner,
			client->pid, status);
	client->pid = 0;
}

void crowd_hog(struct crowd *c)
{
	for (unsigned i = 0; i < CROWD_HOGS; i++)
		if (c->clients[CROWD_CLIENTS + i].pid)
			return;
	start_client(c, &c->clients[CROWD_CLIENTS], true);
}

void crowd_signal(struct crowd_client *client, int signo)
{
	if (!client->pid)
		return;
	kill(client->pid, signo);
	client->stopped = signo == SIGSTOP;
	client->killed |= signo == SIGKILL;
}

static struct crowd_client *find(struct crowd *c, pid_t pid)
{
	for (unsigned i = 0; i < CROWD_CLIENTS + CROWD_HOGS; i++)
		if (c->clients[i].pid == pid)
			return &c->clients[i];
	return NULL;
}

void crowd_tend(struct crowd *c, bool clients)
{
	struct crowd_client *client;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		client = find(c, pid);
		if (pid == c->server)
			server_ended(c, status);
		else if (client)
			client_ended(client, status);
	}
	tend_server(c);
	for (unsigned i = 0; clients && i < c->config.clients; i++)
		if (!c->clients[i].pid)
			start_client(c, &c->clients[i], false);
}

unsigned crowd_count(const struct crowd *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CROWD_CLIENTS + CROWD_HOGS; i++)
		n += c->clients[i].pid != 0;
	return n;
}
