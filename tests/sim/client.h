/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A simulated client: a process with one session at a time, its control connection and a few channels. It speaks the
 * protocol of docs/PROTOCOL.md, mostly, and is silent, cut off, killed, or comes back as chance will have it.
 */
#ifndef RMEM_SIM_CLIENT_H
#define RMEM_SIM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/request.h"

#define CHANNELS_MAX_SIM 3

struct link;
struct owner;
struct answer;

struct client {
	unsigned number, process;
	bool alive;
	bool silent; /* it sends nothing and writes no heartbeat */
	struct owner *owner;
	struct link *control;
	struct link *channels[CHANNELS_MAX_SIM];
	bool greeted;        /* control has had an answer to HELLO */
	bool waiting;        /* for the answer to last */
	bool repeat;         /* last has had none, and its connection broke */
	struct request last; /* on control */
	uint64_t beat_ns, beats;
};

/* How seldom it falls silent, hangs up or dies: 1 often, 8 seldom. */
extern unsigned client_calm;

void client_begin(struct client *c, unsigned number);

/* It does something, or not. */
void client_act(struct client *c);

/* Its heartbeat, if it is due. */
void client_beat(struct client *c);

/* The oldest answer on a link of its arrives. */
void client_hear(struct client *c, struct link *link);

/* It learns that a link is cut. */
void client_notice(struct client *c, struct link *link);

/* Its process is gone, and so are its ends of all connections; or it executes another program. */
void client_die(struct client *c, bool exec);

#endif
