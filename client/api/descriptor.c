/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/api/descriptor.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/api/queue.h"
#include "client/space/call.h"
#include "common/clock.h"
#include "common/denial.h"

#define READY_MAX 64 /* queues that one call tells of */

void descriptor_close(struct rmem_queue *q)
{
	if (q->epoll_fd >= 0)
		close(q->epoll_fd);
	if (q->wake_fd >= 0)
		close(q->wake_fd);
	if (q->timer_fd >= 0)
		close(q->timer_fd);
}

/* That it is there from an earlier try is fine. */
static bool watch(struct rmem_queue *q, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 || errno == EEXIST;
}

void descriptor_wake(struct rmem_queue *q)
{
	uint64_t one = 1;

	(void)!write(q->wake_fd, &one, sizeof(one));
}

/* Put the descriptors of the channel's present connection where the caller's one looks. */
static void watch_connection(struct rmem_queue *q)
{
	struct endpoint *ep = q->channel->pipeline.ep;

	if (!ep || q->connects == q->channel->connects)
		return;
	/* The descriptors of the one before are closed, and have left by that. */
	if (watch(q, endpoint_completion_fd(ep)) && watch(q, endpoint_fd(ep)))
		q->connects = q->channel->connects;
	else
		descriptor_wake(q); /* the next reap tries again */
	q->armed = false;
}

/*
 * Of a connection that is dead nothing may ever come: the caller is to look after a while, and finds out. So it is to
 * when the time of an operation is over.
 */
static void set_timer(struct rmem_queue *q)
{
	const uint64_t end = q->channel->pipeline.deadline_ns;
	struct itimerspec when = { 0 };
	uint64_t until;

	if (q->timer_ns && q->timer_ns <= end)
		return;
	until = clock_boot_ns() + PIPELINE_LOOK_NS;
	if (until > end)
		until = end;
	when.it_value.tv_sec = (time_t)(until / NSEC_PER_SEC);
	when.it_value.tv_nsec = (long)(until % NSEC_PER_SEC);
	if (timerfd_settime(q->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
		q->timer_ns = until;
}

void descriptor_disarm(struct rmem_queue *q)
{
	struct endpoint *ep = q->channel->pipeline.ep;
	uint64_t unused;

	(void)!read(q->wake_fd, &unused, sizeof(unused));
	if (q->timer_ns && clock_boot_ns() >= q->timer_ns &&
		read(q->timer_fd, &unused, sizeof(unused)) > 0)
		q->timer_ns = 0;
	if (!ep || q->connects != q->channel->connects)
		return;
	if (q->armed)
		endpoint_disarm(ep);
	q->armed = false;
	(void)endpoint_watch(ep);
}

bool descriptor_arm(struct rmem_queue *q)
{
	watch_connection(q);
	set_timer(q);
	if (q->armed || !q->channel->pipeline.ep)
		return false;
	q->armed = endpoint_arm(q->channel->pipeline.ep) == 0;
	if (!q->armed)
		descriptor_wake(q); /* nothing else would: the next reap tries again */
	return q->armed;
}

bool descriptor_announce(struct rmem_queue *q)
{
	if (q->epoll_fd < 0 || !q->quiet)
		return false;
	if (!channel_is_busy(q->channel))
		(void)descriptor_arm(q);
	return true;
}

uint64_t descriptor_waits(const struct rmem_queue *q)
{
	return q->channel->pipeline.done + q->channel->seq;
}

void descriptor_announced(struct rmem_queue *q, uint64_t waits_before)
{
	if (channel_is_busy(q->channel))
		set_timer(q);
	if (queue_completed(q) || descriptor_waits(q) != waits_before ||
		q->connects != q->channel->connects)
		descriptor_wake(q);
}

int descriptor_make_wake(struct rmem_queue *q, struct errinfo *errinfo)
{
	if (q->wake_fd < 0)
		q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return q->wake_fd < 0 ? denial_explain(DENIED_FILE, -errno, "eventfd", errinfo) : 0;
}

int descriptor_make(struct rmem_queue *q, struct errinfo *errinfo)
{
	int rc;

	if (q->epoll_fd >= 0)
		return 0;
	rc = descriptor_make_wake(q, errinfo);
	if (rc)
		return rc;
	if (q->timer_fd < 0)
		q->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (q->timer_fd < 0)
		return denial_explain(DENIED_FILE, -errno, "timerfd_create", errinfo);
	q->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (q->epoll_fd < 0 || !watch(q, q->wake_fd) || !watch(q, q->timer_fd)) {
		rc = -errno;
		if (q->epoll_fd >= 0)
			close(q->epoll_fd);
		q->epoll_fd = -1;
		return denial_explain(DENIED_FILE, rc, "epoll", errinfo);
	}
	watch_connection(q);
	queue_set_short_end(q);
	return 0;
}

RMEM_API int rmem_queue_fd(struct rmem_queue *q)
{
	struct errinfo errinfo;
	int rc = queue_enter(q, &errinfo);

	if (rc == 0)
		rc = descriptor_make(q, &errinfo);
	return rc ? call_done(rc, "rmem_queue_fd", &errinfo) : q->epoll_fd;
}

/* ---- those of all queues ---- */

/* Under queues_lock. */
static int make_set(struct rmem *rm, struct errinfo *errinfo)
{
	if (rm->queues_fd < 0)
		rm->queues_fd = epoll_create1(EPOLL_CLOEXEC);
	return rm->queues_fd >= 0 ? 0 : denial_explain(DENIED_FILE, -errno, "epoll", errinfo);
}

int descriptor_join_set(struct rmem_queue *q, struct errinfo *errinfo)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = q };
	struct rmem *rm = q->rm;
	int rc = descriptor_make(q, errinfo);

	if (rc)
		return rc;
	pthread_mutex_lock(&rm->queues_lock);
	rc = make_set(rm, errinfo);
	if (rc == 0 && epoll_ctl(rm->queues_fd, EPOLL_CTL_ADD, q->epoll_fd, &event))
		rc = denial_explain(DENIED_FILE, -errno, "epoll", errinfo);
	pthread_mutex_unlock(&rm->queues_lock);
	return rc;
}

/* Under queues_lock. */
void descriptor_leave_set(struct rmem_queue *q)
{
	/* Closing is not enough: a child may have the descriptor too. */
	if (q->rm->queues_fd >= 0 && q->epoll_fd >= 0)
		(void)epoll_ctl(q->rm->queues_fd, EPOLL_CTL_DEL, q->epoll_fd, NULL);
}

void descriptor_close_set(struct rmem *rm)
{
	if (rm->queues_fd >= 0)
		close(rm->queues_fd);
	rm->queues_fd = -1;
}

RMEM_API int rmem_queues_fd(struct rmem *rm)
{
	struct errinfo errinfo;
	int fd = -1, rc = call_enter(rm, &errinfo);

	if (rc == 0) {
		pthread_mutex_lock(&rm->queues_lock);
		rc = make_set(rm, &errinfo);
		fd = rm->queues_fd;
		pthread_mutex_unlock(&rm->queues_lock);
	}
	return rc ? call_done(rc, "rmem_queues_fd", &errinfo) : fd;
}

RMEM_API int rmem_queues_ready(struct rmem *rm, struct rmem_queue **out, int max)
{
	struct epoll_event events[READY_MAX];
	struct errinfo errinfo;
	int n = 0, rc = call_enter(rm, &errinfo);

	if (rc == 0 && (max < 1 || !out))
		rc = errinfo_set(&errinfo, -EINVAL, "there is no room for queues");
	if (rc)
		return call_done(rc, "rmem_queues_ready", &errinfo);
	if (rm->queues_fd >= 0)
		n = epoll_wait(rm->queues_fd, events, max < READY_MAX ? max : READY_MAX, 0);
	for (int i = 0; i < n; i++)
		out[i] = events[i].data.ptr;
	return n < 0 ? 0 : n; /* interrupted: it is called again */
}
