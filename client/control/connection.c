/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/connection.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "client/control/registry.h"
#include "common/clock.h"
#include "common/log.h"

/* The server does not know us any more: whatever we had there is gone. */
static void forget_session(struct session *s)
{
	log_warn("the server has reclaimed this session: its allocations are gone");
	pthread_mutex_lock(&s->table);
	blocks_mark_stale(&s->blocks);
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
	events_add(&s->events, RMEM_EVENT_RECLAIMED, 0, 0);
	s->resumable = false;
	s->pending.active = false;
	s->seq = 0;
	s->serial++;
	atomic_fetch_add(&s->numbering, 1);
}

/* Open (or resume) the session on a fresh connection. */
static int greet(struct session *s, struct endpoint *ep, uint64_t deadline_ns,
	struct hello_reply *reply, struct errinfo *errinfo)
{
	struct hello_request hello = { .resume = s->resumable,
		.journal = s->exact ? JOURNAL_EXACT : JOURNAL_LAZY,
		.identity = s->identity };
	uint8_t buf[MESSAGE_MAX];
	struct wire body = wire_over(buf, sizeof(buf)), in;
	int rc;

	if (!s->resumable && getrandom(s->id, sizeof(s->id), 0) != sizeof(s->id))
		return errinfo_set(errinfo, -EIO, "getrandom: %s", errinfo_errno(errno));
	memcpy(hello.session_id, s->id, sizeof(hello.session_id));
	if (s->resumable)
		memcpy(hello.secret, s->secret, sizeof(hello.secret));
	hello_request_put(&body, &hello);
	rc = endpoint_call(ep, MESSAGE_HELLO, 0, &body, deadline_ns, &in, errinfo);
	explicit_bzero(buf, sizeof(buf));
	explicit_bzero(&hello.secret, sizeof(hello.secret));
	if (rc)
		return rc;
	hello_reply_get(&in, reply);
	if (wire_finish(&in) || reply->ttl_ms == 0 || reply->part_bytes < SLAB_PAGE_BYTES ||
		(reply->part_bytes & (reply->part_bytes - 1)))
		return errinfo_set(errinfo, -EPROTO, "rmemd at %s sent a malformed greeting",
			endpoint_peer(ep));
	return 0;
}

/* The connection is good: everybody may use it. */
static void install(
	struct session *s, struct endpoint *ep, const struct hello_reply *reply, uint64_t sent_ns)
{
	memcpy(s->secret, reply->secret, sizeof(s->secret));
	if (!s->resumable)
		session_begin_time(s, sent_ns);
	s->resumable = true;
	atomic_store(&s->pool, reply->pool);
	atomic_store(&s->max_alloc_bytes, reply->max_alloc_bytes);
	atomic_store(&s->part_bytes, reply->part_bytes);
	atomic_store(&s->windows, reply->windows);
	atomic_store(&s->atomics, reply->atomics && endpoint_has_atomics(ep));
	pthread_mutex_lock(&s->table);
	s->generation++;
	lease_epoch_begin(&s->lease_epoch, s->serial, reply->fencing_token);
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
	(void)session_sender_lock(s, FAIR_LOCK_FOREVER); /* nobody has anything to send on */
	s->endpoint = ep;
	s->paths[0] = *endpoint_path(ep);
	s->npaths = 1;
	s->heartbeat_addr = reply->heartbeat_addr;
	s->heartbeat_rkey = reply->heartbeat_rkey;
	atomic_store(&s->watch_fd, endpoint_fd(ep));
	session_sender_unlock(s);
	atomic_store(&s->vitals->ttl_ms, reply->ttl_ms);
	session_lease_extend(s, sent_ns);
	/* Before it answered, the server has ended the connections before and their channels. */
	grace_settle(&s->grace);
	session_wake_lease_thread(s);
}

/*
 * A name is looked up once. This machine's own address is found each time: no name server is needed for that, and
 * it may have changed.
 */
static int find_server(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	int n;

	if (s->npaths && !s->target.local)
		return 0;
	n = target_resolve(&s->target, s->device, deadline_ns, s->paths, errinfo);
	if (n < 0)
		return n;
	s->npaths = n;
	return 0;
}

static int connect_once(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct endpoint_attr attr = {
		.paths = s->paths,
		.device = s->device,
		.purpose = PURPOSE_SESSION,
		.deadline_ns = deadline_ns,
		.cancel_fd = s->cancel_fd,
		.heap = s->heap,
		.domain = s->domain,
	};
	struct hello_reply reply;
	struct endpoint *ep;
	uint64_t sent;
	int rc;

	rc = find_server(s, deadline_ns, errinfo);
	if (rc)
		return rc;
	attr.npaths = s->npaths;
	rc = endpoint_connect(&attr, &ep, errinfo);
	if (rc)
		return rc;
	sent = clock_boot_ns();
	rc = greet(s, ep, deadline_ns, &reply, errinfo);
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

int connection_error(int rc)
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

int connection_open(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	int rc;

	session_disconnect(s);
	rc = connect_once(s, deadline_ns, errinfo);
	if (rc == -ESTALE && s->resumable) {
		forget_session(s);
		rc = connect_once(s, deadline_ns, errinfo);
	}
	if (rc && rc != -ECANCELED)
		events_begin(&s->events, RMEM_EVENT_GONE);
	return rc;
}
