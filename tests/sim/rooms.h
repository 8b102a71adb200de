/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rooms of a server, put together as server/server.c does it, without devices, listener, audit and admin. There is
 * one server at a time; its files are in a directory of their own. What is not code of the server calls
 * rooms_do(), so that the server can be killed in it.
 */
#ifndef RMEM_SIM_ROOMS_H
#define RMEM_SIM_ROOMS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/options.h"
#include "server/base/work.h"
#include "server/grant/access.h"
#include "server/lease/reaper.h"
#include "server/lease/reclaim.h"
#include "server/lease/session.h"
#include "server/ledger/history.h"
#include "server/ledger/sites.h"
#include "server/memory/datadir.h"
#include "server/memory/pool.h"
#include "server/net/net.h"
#include "server/rpc/handlers.h"

struct rooms {
	bool open;
	struct options options;
	enum protection protection;
	uint64_t part_bytes; /* the most that a window of the device covers */
	struct sizes sizes;
	uint64_t tick_ns, next_tick_ns, judged_ns;
	struct work work;
	struct datadir data;
	struct pool pool;
	struct sites *sites;
	struct history *history;
	struct net net;
	struct access access;
	struct leases leases;
	struct reclaim reclaim;
	struct reaper reaper;
	struct rpc rpc;
	unsigned killed; /* servers so far */
};

extern struct rooms rooms;

/* A directory for the files of all seeds; at the end it is gone. */
void rooms_make_directory(void);
void rooms_remove_directory(void);

/* Nothing is open and there are no files. Options, protection and sizes are to be set then. */
void rooms_begin(void);

/* As rmemd starts. False: killed meanwhile. */
bool rooms_start(void);
/* As it stops. *out_forgot_all: nobody held anything, and the files are gone. False: killed meanwhile. */
bool rooms_stop(bool *out_forgot_all);

/* Run some of its code. False: it was killed in there. */
bool rooms_do(void (*act)(void *arg), void *arg);
void rooms_kill(void);

/* As growth.c does it when its thread is done: a node gets a segment more, or loses one that is empty. */
void rooms_resize(unsigned node, bool larger);

/* What its loop does at each tick. */
void rooms_tick(void);

#endif
