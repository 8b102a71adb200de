/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What has happened to a session, kept for the program until it asks: a ring, and a descriptor that is readable as
 * long as something is in it. Where the program is slow the oldest goes, and is counted: the newest says how it is.
 *
 * Any thread, whatever locks of ours it has: its own is the last that is taken, for a few instructions and at most
 * a write to an eventfd. Nothing is allocated.
 */
#ifndef RMEM_CLIENT_CONTROL_EVENTS_H
#define RMEM_CLIENT_CONTROL_EVENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/errinfo.h"
#include "rmem/rmem.h"

#define EVENTS_MAX 64U

struct events {
	pthread_mutex_t lock;
	int fd;         /* -1: nobody has asked for it */
	unsigned first; /* where the oldest is */
	unsigned count;
	uint32_t lost; /* before the oldest, since one was taken */
	_Atomic uint32_t
		open; /* troubles that have begun: a bit for each kind. Changed with the lock */
	struct rmem_event ring[EVENTS_MAX];
};

void events_init(struct events *e);
void events_destroy(struct events *e);
/* In a child after fork(), whose parent may have had the lock. */
void events_abandon(struct events *e);

/* serial and addr: of an allocation, else 0. */
void events_add(struct events *e, enum rmem_event_kind kind, uint64_t serial, uint64_t addr);

/* LATE, EXPIRED or GONE begins: one event, until all is well. */
void events_begin(struct events *e, enum rmem_event_kind trouble);
/* All is well: CONNECTED, if it was not. */
void events_end(struct events *e);

/* The oldest. false: there is none. */
bool events_take(struct events *e, struct rmem_event *out);

/* 0, or a negative errno: too many open files. */
int events_descriptor(struct events *e, int *out, struct errinfo *errinfo);

#endif
