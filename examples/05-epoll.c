/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 05-epoll: a queue of operations in an event loop, beside a timer.
 *
 * Records go to remote memory and come back, each from and to two places of local memory. Nothing here
 * waits for one of them: the loop sleeps until a descriptor has something, the queue's like any other.
 *
 *	05-epoll [HOST[:PORT]]
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <rmem/rmem.h>

#define RECORDS 256U
#define STORED 224U /* bytes of each */

/*
 * What an operation needs stays where it is until it has been reaped: the bytes, and the lists that say
 * where they are.
 */
struct record {
	char name[24], body[200];
	struct iovec local[2];
	struct rmem_iovec remote;
};

struct loop {
	struct rmem_queue *q;
	struct record records[RECORDS];
	unsigned back, ticks;
};

/* Tags are any numbers: here the record's, and whether it was on its way back. */
static int advance(struct loop *l, const struct rmem_completion *done)
{
	struct record *r = &l->records[done->tag / 2];

	if (done->status)
		return done->status;
	if (done->tag % 2) {
		l->back++;
		return strncmp(r->name, "record", 6);
	}
	memset(r->name, 0, sizeof(r->name));
	return rmem_start_readv(l->q, r->local, 2, &r->remote, 1, done->tag + 1);
}

/* The descriptor is readable: take what there is, until there is nothing. Only then sleep on it. */
static int reap(struct loop *l)
{
	struct rmem_completion done[16];
	int n = 0, err = 0;

	while (err == 0 && (n = rmem_reap(l->q, done, 16, 0)) > 0)
		for (int i = 0; i < n && err == 0; i++)
			err = advance(l, &done[i]);
	return n < 0 ? n : err;
}

static int watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return fd < 0 ? -1 : epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int run(struct loop *l, int epoll, int timer, rmem_addr_t base)
{
	int fd = rmem_queue_fd(l->q); /* before anything is started */
	int err = watch(epoll, timer) || watch(epoll, fd);
	struct epoll_event ready;
	uint64_t expired;

	for (unsigned i = 0; i < RECORDS && !err; i++) {
		struct record *r = &l->records[i];

		snprintf(r->name, sizeof(r->name), "record %u", i);
		r->local[0] = (struct iovec){ r->name, sizeof(r->name) };
		r->local[1] = (struct iovec){ r->body, sizeof(r->body) };
		r->remote = (struct rmem_iovec){ base + i * STORED, STORED };
		err = rmem_start_writev(l->q, r->local, 2, &r->remote, 1, 2 * i);
	}
	while (!err && (l->back < RECORDS || !l->ticks)) {
		if (epoll_wait(epoll, &ready, 1, -1) < 1)
			err = -1;
		else if (ready.data.fd == fd)
			err = reap(l);
		else
			l->ticks += read(timer, &expired, sizeof(expired)) > 0;
	}
	return err;
}

int main(int argc, char **argv)
{
	static const struct itimerspec every = { { 0, 2000000 }, { 0, 2000000 } }; /* 2 ms */
	const struct rmem_queue_attr attr = { .size = sizeof(attr), .depth = RECORDS };
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	static struct loop l;
	struct rmem *rm = NULL;
	rmem_addr_t base = 0;

	timerfd_settime(timer, 0, &every, NULL);
	if (rmem_open(argc > 1 ? argv[1] : NULL, NULL, &rm) ||
		rmem_alloc(rm, RECORDS * STORED, NULL, &base) ||
		rmem_queue_create(rm, &attr, &l.q) || run(&l, epoll_create1(0), timer, base))
		fprintf(stderr, "05-epoll: %s\n", rmem_errmsg());
	else
		printf("%u of %u records came back, beside a timer\n", l.back, RECORDS);
	rmem_free(rm, base);
	return rmem_close(rm) || l.back < RECORDS; /* destroys the queue too */
}
