/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>
#include <utlist.h>

#include "client/base/wiped.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/denial.h"

#define LEASE_MARGIN_MIN_NS (50 * NSEC_PER_MSEC)
#define RENEWAL_LIMIT_NS (10 * NSEC_PER_SEC) /* the connection is over before that */

static int make_vitals(struct session *s, struct errinfo *errinfo)
{
	void *page = NULL;
	int rc = wiped_map(&page, errinfo);

	_Static_assert(sizeof(struct vitals) <= WIPED_BYTES, "a page holds them");
	s->vitals = page;
	if (rc == 0)
		atomic_init(&s->vitals->epoch, 1);
	return rc;
}

int session_init(struct session *s, struct errinfo *errinfo)
{
	int rc;

	s->wake_fd = s->slab_fd = s->cancel_fd = -1;
	events_init(&s->events);
	s->buffers.heap = s->heap;
	atomic_init(&s->closing_ns, UINT64_MAX);
	fair_lock_init(&s->control);
	fair_lock_init(&s->sender);
	pthread_mutex_init(&s->buffers_lock, NULL);
	pthread_mutex_init(&s->table, NULL);
	grace_init(&s->grace);
	depot_init(&s->depot, s->heap, &s->grace);
	atomic_init(&s->watch_fd, -1);
	rc = make_vitals(s, errinfo);
	if (rc == 0)
		rc = blocks_init(&s->blocks, s->heap, &s->depot);
	if (rc)
		return rc;
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->slab_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0 || s->slab_fd < 0 || s->cancel_fd < 0) {
		rc = -errno;
		return denial_explain(DENIED_FILE, rc, "eventfd", errinfo);
	}
	return 0;
}

void session_disconnect(struct session *s)
{
	struct endpoint *ep = s->endpoint;

	if (!ep)
		return;
	pthread_mutex_lock(&s->table);
	s->generation++;
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
	/* First: it ends the wait of the thread that has the sender. */
	endpoint_break(ep);
	(void)session_sender_lock(s, FAIR_LOCK_FOREVER);
	s->endpoint = NULL;
	atomic_store(&s->watch_fd, -1);
	session_sender_unlock(s);
	endpoint_destroy(ep);
}

void session_abandon(struct session *s)
{
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	if (s->slab_fd >= 0)
		close(s->slab_fd);
	if (s->cancel_fd >= 0)
		close(s->cancel_fd);
	events_abandon(&s->events);
	buffers_destroy(&s->buffers);
	mark_remove(&s->mark);
	free(s->device);
	wiped_unmap(s->vitals);
	explicit_bzero(s->secret, sizeof(s->secret));
}

void session_destroy(struct session *s)
{
	session_abandon(s);
	fair_lock_destroy(&s->control);
	fair_lock_destroy(&s->sender);
	pthread_mutex_destroy(&s->buffers_lock);
	pthread_mutex_destroy(&s->table);
	depot_destroy(&s->depot);
	grace_destroy(&s->grace);
	events_destroy(&s->events);
}

int session_lock(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	if (fair_lock_enter(&s->control, deadline_ns) == 0)
		return 0;
	return errinfo_set(errinfo, -ETIMEDOUT,
		"rmemd does not answer: other threads' requests are still waiting for it");
}

void session_unlock(struct session *s)
{
	fair_lock_leave(&s->control);
}

int session_sender_lock(struct session *s, uint64_t deadline_ns)
{
	return fair_lock_enter(&s->sender, deadline_ns);
}

void session_sender_unlock(struct session *s)
{
	fair_lock_leave(&s->sender);
}

bool session_connected(const struct session *s)
{
	return s->endpoint && !endpoint_broken(s->endpoint);
}

static void tell_revoked(struct session *s, const struct block *block)
{
	if (block->state == BLOCK_LIVE)
		events_add(&s->events, RMEM_EVENT_REVOKED, block->id, block->addr);
}

void session_revoke(struct session *s, struct block *block)
{
	tell_revoked(s, block);
	blocks_set_state(&s->blocks, block, BLOCK_STALE);
}

void session_displace(struct session *s, uint64_t addr, uint64_t bytes)
{
	struct block *block;

	while ((block = blocks_next_present(&s->blocks, addr, bytes)) != NULL)
		session_revoke(s, block);
}

/* A lease that was confirmed at 0 ends then: a little earlier than the server says. */
static uint64_t lease_term_ns(const struct session *s)
{
	const uint64_t ttl = atomic_load(&s->vitals->ttl_ms) * NSEC_PER_MSEC;
	const uint64_t margin = ttl / 20 > LEASE_MARGIN_MIN_NS ? ttl / 20 : LEASE_MARGIN_MIN_NS;

	return ttl > margin ? ttl - margin : 0;
}

uint64_t session_judge(struct session *s, uint64_t until_ns)
{
	/* The clock first: what is confirmed meanwhile is not taken for late. Late is half of the server's term. */
	const uint64_t now = clock_boot_ns();
	const uint64_t half = atomic_load(&s->vitals->ttl_ms) * NSEC_PER_MSEC / 2;
	const uint64_t term = lease_term_ns(s), end = atomic_load(&s->vitals->lease_ns);
	const uint64_t late = term > half ? end - (term - half) : end;
	const uint64_t change = now < late ? late : end;

	if (!end)
		return until_ns; /* there has been none */
	if (now >= end)
		events_begin(&s->events, RMEM_EVENT_EXPIRED);
	else if (now >= late)
		events_begin(&s->events, RMEM_EVENT_LATE);
	return now < change && change < until_ns ? change : until_ns;
}

void session_lease_extend(struct session *s, uint64_t sent_ns)
{
	uint64_t until = sent_ns + lease_term_ns(s);
	uint64_t old = atomic_load(&s->vitals->lease_ns);

	/* The first that runs again after a process was stopped need not be the lease thread. */
	(void)session_judge(s, 0);
	while (old < until && !atomic_compare_exchange_weak(&s->vitals->lease_ns, &old, until))
		;
	if (session_lease_good(s))
		events_end(&s->events);
}

void session_note_age(struct session *s)
{
	const uint64_t age_s = (clock_boot_ns() - s->opened_ns) / NSEC_PER_SEC;

	atomic_store_explicit(&s->birth,
		object_record_birth(age_s < OBJECT_BIRTH_MAX ? (uint32_t)age_s : OBJECT_BIRTH_MAX),
		memory_order_relaxed);
}

void session_begin_time(struct session *s, uint64_t opened_ns)
{
	s->opened_ns = opened_ns;
	session_note_age(s);
}

int session_renew(struct session *s, bool journaled, struct errinfo *errinfo)
{
	uint64_t sent = clock_boot_ns();
	int rc = -ECONNRESET;

	session_note_age(s);
	if (session_sender_lock(s, sent + RENEWAL_LIMIT_NS))
		return errinfo_set(errinfo, -ETIMEDOUT, "others' messages do not get through");
	sent = clock_boot_ns();
	if (sent >= atomic_load(&s->vitals->lease_ns))
		rc = -ESTALE; /* a renewal does not bring back what has expired */
	else if (session_connected(s))
		rc = endpoint_put_word(s->endpoint, s->heartbeat_addr, s->heartbeat_rkey,
			++s->heartbeat_value << 1 | (journaled ? HEARTBEAT_JOURNALED : 0),
			sent + RENEWAL_LIMIT_NS, errinfo);
	session_sender_unlock(s);
	if (rc == 0)
		session_lease_extend(s, sent);
	return rc == -EACCES || rc == -EPERM ? -ECONNRESET : rc == -EBUSY ? -ETIMEDOUT : rc;
}

static void wake(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		log_debug("eventfd: %s", errinfo_errno(errno));
}

void session_wake_lease_thread(struct session *s)
{
	wake(s->wake_fd);
}

void session_wake_slab_thread(struct session *s)
{
	wake(s->slab_fd);
}

void session_sharing_begin(struct session *s, struct sharing_call *call)
{
	struct sharing_call *other;

	pthread_mutex_lock(&s->table);
	DL_FOREACH (s->sharing_calls, other) {
		if (other->addr != call->addr || other->revokes == call->revokes)
			continue;
		call->overlapped |= call->revokes;
		other->overlapped |= other->revokes;
	}
	DL_APPEND(s->sharing_calls, call);
	pthread_mutex_unlock(&s->table);
}

void session_sharing_end(struct session *s, struct sharing_call *call)
{
	pthread_mutex_lock(&s->table);
	DL_DELETE(s->sharing_calls, call);
	pthread_mutex_unlock(&s->table);
}
