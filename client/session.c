/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "client/registry.h"
#include "client/wiped.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/denial.h"

#define LEASE_MARGIN_MIN_NS (50 * NSEC_PER_MSEC)
#define RENEWAL_LIMIT_NS (10 * NSEC_PER_SEC) /* the connection is over before that */

static int make_vitals(struct session *s, struct why *why)
{
	void *page = NULL;
	int rc = wiped_map(&page, why);

	_Static_assert(sizeof(struct vitals) <= WIPED_BYTES, "a page holds them");
	s->vitals = page;
	if (rc == 0)
		atomic_init(&s->vitals->epoch, 1);
	return rc;
}

int session_init(struct session *s, struct why *why)
{
	int rc;

	s->wake_fd = s->cancel_fd = -1;
	atomic_init(&s->closing_ns, UINT64_MAX);
	turnstile_init(&s->control);
	turnstile_init(&s->sender);
	pthread_mutex_init(&s->buffers_lock, NULL);
	pthread_mutex_init(&s->table, NULL);
	atomic_init(&s->watch_fd, -1);
	rc = make_vitals(s, why);
	if (rc)
		return rc;
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0 || s->cancel_fd < 0) {
		rc = -errno;
		return denial_explain(DENIED_FILE, rc, "eventfd", why);
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
	(void)session_sender_lock(s, TURNSTILE_FOREVER);
	s->endpoint = NULL;
	atomic_store(&s->watch_fd, -1);
	session_sender_unlock(s);
	endpoint_destroy(ep);
}

void session_abandon(struct session *s)
{
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	if (s->cancel_fd >= 0)
		close(s->cancel_fd);
	allocations_destroy(&s->allocations);
	buffers_destroy(&s->buffers);
	mark_remove(&s->mark);
	free(s->device);
	wiped_unmap(s->vitals);
	explicit_bzero(s->secret, sizeof(s->secret));
}

void session_destroy(struct session *s)
{
	session_disconnect(s);
	registry_clear(s);
	session_abandon(s);
	turnstile_destroy(&s->control);
	turnstile_destroy(&s->sender);
	pthread_mutex_destroy(&s->buffers_lock);
	pthread_mutex_destroy(&s->table);
}

int session_lock(struct session *s, uint64_t deadline_ns, struct why *why)
{
	if (turnstile_enter(&s->control, deadline_ns) == 0)
		return 0;
	return why_set(why, -ETIMEDOUT,
		"rmemd does not answer: other threads' requests are still waiting for it");
}

void session_unlock(struct session *s)
{
	turnstile_leave(&s->control);
}

int session_sender_lock(struct session *s, uint64_t deadline_ns)
{
	return turnstile_enter(&s->sender, deadline_ns);
}

void session_sender_unlock(struct session *s)
{
	turnstile_leave(&s->sender);
}

bool session_connected(const struct session *s)
{
	return s->endpoint && !endpoint_broken(s->endpoint);
}

void session_lease_extend(struct session *s, uint64_t sent_ns)
{
	uint64_t ttl = atomic_load(&s->vitals->ttl_ms) * NSEC_PER_MSEC;
	uint64_t margin = ttl / 20 > LEASE_MARGIN_MIN_NS ? ttl / 20 : LEASE_MARGIN_MIN_NS;
	uint64_t until = sent_ns + (ttl > margin ? ttl - margin : 0);
	uint64_t old = atomic_load(&s->vitals->lease_ns);

	while (old < until && !atomic_compare_exchange_weak(&s->vitals->lease_ns, &old, until))
		;
}

int session_renew(struct session *s, struct why *why)
{
	uint64_t sent = clock_boot_ns();
	int rc = -ECONNRESET;

	if (session_sender_lock(s, sent + RENEWAL_LIMIT_NS))
		return why_set(why, -ETIMEDOUT, "others' messages do not get through");
	sent = clock_boot_ns();
	if (sent >= atomic_load(&s->vitals->lease_ns))
		rc = -ESTALE; /* a renewal does not bring back what has expired */
	else if (session_connected(s))
		rc = endpoint_put_word(s->endpoint, s->heartbeat_addr, s->heartbeat_rkey,
			++s->heartbeat_value, sent + RENEWAL_LIMIT_NS, why);
	session_sender_unlock(s);
	if (rc == 0)
		session_lease_extend(s, sent);
	return rc == -EACCES || rc == -EPERM ? -ECONNRESET : rc == -EBUSY ? -ETIMEDOUT : rc;
}

void session_wake_keeper(struct session *s)
{
	uint64_t one = 1;

	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		log_debug("eventfd: %s", why_errno(errno));
}

/* The server does not know us any more: whatever we had there is gone. */
static void forget_session(struct session *s)
{
	log_warn("the server has reclaimed this session: its allocations are gone");
	pthread_mutex_lock(&s->table);
	allocations_mark_stale(&s->allocations);
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
	s->resumable = false;
	s->pending.active = false;
	s->seq = 0;
	s->serial++;
}

/* Open (or resume) the session on a fresh connection. */
static int greet(struct session *s, struct endpoint *ep, uint64_t deadline_ns,
	struct hello_reply *reply, struct why *why)
{
	struct hello_request hello = { .resume = s->resumable, .identity = s->identity };
	uint8_t buf[MESSAGE_MAX];
	struct wire body = wire_over(buf, sizeof(buf)), in;
	int rc;

	if (!s->resumable && getrandom(s->id, sizeof(s->id), 0) != sizeof(s->id))
		return why_set(why, -EIO, "getrandom: %s", why_errno(errno));
	memcpy(hello.session_id, s->id, sizeof(hello.session_id));
	if (s->resumable)
		memcpy(hello.secret, s->secret, sizeof(hello.secret));
	hello_request_put(&body, &hello);
	rc = endpoint_call(ep, MESSAGE_HELLO, 0, &body, deadline_ns, &in, why);
	explicit_bzero(buf, sizeof(buf));
	explicit_bzero(&hello.secret, sizeof(hello.secret));
	if (rc)
		return rc;
	hello_reply_get(&in, reply);
	if (wire_finish(&in) || reply->ttl_ms == 0)
		return why_set(
			why, -EPROTO, "rmemd at %s sent a malformed greeting", endpoint_peer(ep));
	return 0;
}

/* The connection is good: everybody may use it. */
static void install(
	struct session *s, struct endpoint *ep, const struct hello_reply *reply, uint64_t sent_ns)
{
	memcpy(s->secret, reply->secret, sizeof(s->secret));
	s->resumable = true;
	pthread_mutex_lock(&s->table);
	s->generation++;
	tenure_begin(s, reply->fencing_token);
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
	(void)session_sender_lock(s, TURNSTILE_FOREVER); /* nobody has anything to send on */
	s->endpoint = ep;
	s->paths[0] = *endpoint_path(ep);
	s->npaths = 1;
	s->heartbeat_addr = reply->heartbeat_addr;
	s->heartbeat_rkey = reply->heartbeat_rkey;
	atomic_store(&s->watch_fd, endpoint_fd(ep));
	session_sender_unlock(s);
	atomic_store(&s->vitals->ttl_ms, reply->ttl_ms);
	session_lease_extend(s, sent_ns);
	session_wake_keeper(s);
}

/*
 * A name is looked up once. This machine's own address is found each time: no name server is needed for that, and
 * it may have changed.
 */
static int find_server(struct session *s, uint64_t deadline_ns, struct why *why)
{
	int n;

	if (s->npaths && !s->target.local)
		return 0;
	n = target_resolve(&s->target, s->device, deadline_ns, s->paths, why);
	if (n < 0)
		return n;
	s->npaths = n;
	return 0;
}

static int connect_once(struct session *s, uint64_t deadline_ns, struct why *why)
{
	struct endpoint_attr attr = {
		.paths = s->paths,
		.device = s->device,
		.purpose = PURPOSE_SESSION,
		.deadline_ns = deadline_ns,
		.cancel_fd = s->cancel_fd,
		.domain = s->domain,
	};
	struct hello_reply reply;
	struct endpoint *ep;
	uint64_t sent;
	int rc;

	rc = find_server(s, deadline_ns, why);
	if (rc)
		return rc;
	attr.npaths = s->npaths;
	rc = endpoint_connect(&attr, &ep, why);
	if (rc)
		return rc;
	sent = clock_boot_ns();
	rc = greet(s, ep, deadline_ns, &reply, why);
	if (rc) {
		endpoint_destroy(ep);
		return rc;
	}
	if (endpoint_domain(ep) != s->domain)
		registry_move(s, endpoint_domain(ep));
	log_debug("%s at %s, ttl %u ms", s->resumable ? "resumed" : "connected", endpoint_peer(ep),
		reply.ttl_ms);
	install(s, ep, &reply, sent);
	return 0;
}

int session_connect_error(int rc)
{
	switch (rc) {
	case -ETIMEDOUT:
	case -ECANCELED:
	case -ENOMEM:
	case -EPERM:
		return rc;
	default:
		return -ECONNRESET;
	}
}

int session_connect(struct session *s, uint64_t deadline_ns, struct why *why)
{
	int rc;

	session_disconnect(s);
	rc = connect_once(s, deadline_ns, why);
	if (rc != -ESTALE || !s->resumable)
		return rc;
	forget_session(s);
	return connect_once(s, deadline_ns, why);
}
