/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptor of a queue, for programs with a loop: readable when there may be something to reap. An epoll descriptor
 * over what the queue's connection announces, a wake-up of ours and a timer. Queues that are watched are in
 * one more, the session's.
 *
 * The queue's thread, unless said otherwise.
 */
#ifndef RMEM_CLIENT_API_DESCRIPTOR_H
#define RMEM_CLIENT_API_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/errinfo.h"

struct rmem;
struct rmem_queue;

/* 0, or a negative errno of the kernel's. It is there from now on: fine if it was. */
int descriptor_make(struct rmem_queue *q, struct errinfo *errinfo);
void descriptor_close(struct rmem_queue *q);

/* Only what descriptor_wake() needs: calls use it too, also of a queue whose descriptor was never asked for. */
int descriptor_make_wake(struct rmem_queue *q, struct errinfo *errinfo);

/* The program that waits for the descriptor comes and reaps, whether or not there is something. */
void descriptor_wake(struct rmem_queue *q);

/* Also in the set that rmem_queues_fd() stands for. */
int descriptor_join_set(struct rmem_queue *q, struct errinfo *errinfo);
void descriptor_leave_set(struct rmem_queue *q);
void descriptor_close_set(struct rmem *rm);

/* Before looking for completions: what the descriptor has announced is being seen to. */
void descriptor_disarm(struct rmem_queue *q);

/* There is nothing: let the descriptor tell when there is. True: look once more, it may have come. */
bool descriptor_arm(struct rmem_queue *q);

/* Grows when the channel has waited for its connection, which takes away what the next completion would tell. */
uint64_t descriptor_waits(const struct rmem_queue *q);

/*
 * While the program may be waiting for the descriptor, what is started must make it readable. Completions do, if they
 * are asked for before anything is posted. False: the program does not wait.
 */
bool descriptor_announce(struct rmem_queue *q);

/* Started: what has completed meanwhile, or goes over another connection now, would not be heard of. */
void descriptor_announced(struct rmem_queue *q, uint64_t waits_before);

#endif
