/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The processes of one host: rmemd (host 1 only), clients and hogs. They are started, awaited without blocking, and
 * started again; whoever ends otherwise than it should is a crash. One thread.
 */
#ifndef RMEM_TESTS_TORTURE_CROWD_H
#define RMEM_TESTS_TORTURE_CROWD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CROWD_CLIENTS 4 /* at most */
#define CROWD_HOGS 2

struct crowd_config {
	const char *bin;    /* where rmemd is */
	const char *dir;    /* of this run: the board, rmemd's data and log */
	const char *server; /* as clients are told */
	const char *size, *ttl;
	unsigned host, clients, slack_ms;
	uint64_t seed;
};

struct crowd_client {
	pid_t pid; /* 0: none */
	unsigned owner;
	bool stopped, killed;
};

struct crowd {
	struct crowd_config config;
	struct crowd_client clients[CROWD_CLIENTS + CROWD_HOGS]; /* hogs are the last */
	unsigned nowners;
	/* rmemd */
	pid_t server;
	bool server_ready, server_stopped, server_ending;
	int64_t server_start_at; /* when there is none */
	int64_t server_since;
	long log_offset;
	char log[256];
};

void crowd_init(struct crowd *c, const struct crowd_config *config);

/* Look who has ended, and start who is missing; clients only if wanted. */
void crowd_tend(struct crowd *c, bool clients);

/* Start a hog, if none is at work. */
void crowd_hog(struct crowd *c);

/* SIGSTOP, SIGCONT, SIGKILL. */
void crowd_signal(struct crowd_client *client, int signo);

/* End rmemd; it is started again after so long. */
void crowd_end_server(struct crowd *c, int signo, int pause_ms);
void crowd_stop_server(struct crowd *c, bool stop);
bool crowd_server_works(const struct crowd *c);

/* So many clients and hogs are there. */
unsigned crowd_count(const struct crowd *c);

/* Lines of rmemd's log with this text. */
uint64_t crowd_log_lines(const struct crowd *c, const char *text);

#endif
