/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/lease_thread.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/control/connection.h"
#include "client/control/request.h"
#include "common/thread.h"
#include "common/clock.h"
#include "common/handshake.h"
#include "common/log.h"

#define RETRY_MIN_NS (100 * NSEC_PER_MSEC)
#define RETRY_MAX_NS (2 * NSEC_PER_SEC)

/* A third of the lease, give or take a tenth, so that many clients do not march in step. */
static uint64_t renewal_period_ns(struct session *s, unsigned *seed)
{
	uint64_t third = atomic_load(&s->vitals->ttl_ms) * NSEC_PER_MSEC / 3;

	return third * 9 / 10 + third / 5 * ((uint64_t)rand_r(seed) % 1024) / 1024;
}

/* What the connection manager has to say; is the connection still good? */
static bool watch(struct session *s)
{
	bool good;

	/* Nobody has it for longer than a message may take. */
	(void)session_sender_lock(s, FAIR_LOCK_FOREVER);
	if (s->endpoint)
		endpoint_watch(s->endpoint);
	good = session_connected(s);
	session_sender_unlock(s);
	return good;
}

/* One attempt to get the connection, or the lease, back. */
static int recover(struct session *s)
{
	uint64_t deadline = session_deadline(s);
	struct errinfo errinfo = { "" };
	int rc;

	rc = session_lock(s, deadline, &errinfo);
	if (rc)
		return rc;
	/* The server ends what was given up, also on channels that nobody uses any more, before it lets us in again. */
	if (s->endpoint && grace_is_held_up(&s->grace))
		endpoint_break(s->endpoint);
	if (!session_connected(s))
		rc = connection_open(s, deadline, &errinfo);
	if (rc == 0)
		rc = request_ready(s, deadline, &errinfo);
	session_unlock(s);
	if (rc && rc != -ECANCELED)
		log_info("not connected: %s", errinfo.text);
	return rc;
}

static void drain(int fd)
{
	uint64_t count;

	while (read(fd, &count, sizeof(count)) > 0)
		;
}

static void *lease_thread_main(void *arg)
{
	struct lease_thread *k = arg;
	struct private_entry *const stack = thread_hide_stack();
	struct session *s = k->session;
	unsigned seed = (unsigned)clock_boot_ns();
	uint64_t next = clock_boot_ns() + renewal_period_ns(s, &seed);
	uint64_t retry = RETRY_MIN_NS;
	struct errinfo errinfo;
	bool due;

	while (!atomic_load(&k->stopping)) {
		/* Whatever ends it, everything is looked at; it takes its time, whatever the kernel says. */
		(void)handshake_wait(s->wake_fd, atomic_load(&s->watch_fd), s->cancel_fd,
			session_judge(s, next));
		drain(s->wake_fd);
		if (atomic_load(&k->stopping))
			break;
		(void)session_judge(s, next);
		due = clock_boot_ns() >= next;
		if (!watch(s) || !session_lease_good(s) || (due && grace_is_held_up(&s->grace))) {
			if (recover(s) == 0) {
				next = clock_boot_ns() + renewal_period_ns(s, &seed);
				retry = RETRY_MIN_NS;
			} else {
				next = clock_boot_ns() + retry;
				retry = retry * 2 < RETRY_MAX_NS ? retry * 2 : RETRY_MAX_NS;
			}
			continue;
		}
		if (!due)
			continue;
		if (!depot_is_sent(&s->depot) || atomic_load(&s->depot.kept))
			session_wake_slab_thread(s);
		if (session_renew(s, depot_is_sent(&s->depot), &errinfo) == 0)
			next = clock_boot_ns() + renewal_period_ns(s, &seed);
		else
			next = clock_boot_ns();
	}
	thread_show_stack(stack);
	return NULL;
}

int lease_thread_start(struct lease_thread *k, struct session *s, struct errinfo *errinfo)
{
	int rc;

	k->session = s;
	rc = thread_start(&k->thread, "rmem-lease", lease_thread_main, k, errinfo);
	k->started = rc == 0;
	return rc;
}

void lease_thread_stop(struct lease_thread *k)
{
	if (!k->started)
		return;
	atomic_store(&k->stopping, true);
	session_wake_lease_thread(k->session);
	pthread_join(k->thread, NULL);
	k->started = false;
}
