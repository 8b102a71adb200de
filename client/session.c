/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/handshake.h"
#include "common/log.h"

#define BACKOFF_MIN_NS (20 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (500 * NSEC_PER_MSEC)
#define LEASE_MARGIN_MIN_NS (50 * NSEC_PER_MSEC)

int session_init(struct session *s, struct why *why)
{
	int rc;

	turnstile_init(&s->control);
	turnstile_init(&s->channel);
	pthread_mutex_init(&s->buffers_lock, NULL);
	pthread_mutex_init(&s->table, NULL);
	atomic_init(&s->watch_fd, -1);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0 || s->cancel_fd < 0) {
		rc = -errno;
		return why_set(why, rc, "eventfd: %s", strerror(-rc));
	}
	return transfer_create(&s->buffers, &s->transfer, why);
}

/* Control and channel held, or nobody else here: let go of the connection. */
static void drop_endpoint(struct session *s)
{
	struct endpoint *ep = s->endpoint;

	if (!ep)
		return;
	endpoint_break(ep);
	s->endpoint = NULL;
	atomic_store(&s->watch_fd, -1);
	transfer_detach(s->transfer);
	endpoint_destroy(ep);
}

/* Nobody uses the protection domain any more: let go of it, and of all that is registered there. */
static void leave_domain(struct session *s)
{
	for (size_t i = 0; i < s->buffers.count; i++)
		buffer_deregister(&s->buffers.items[i]);
	if (s->transfer)
		transfer_leave_domain(s->transfer);
	endpoint_domain_close(&s->domain);
}

void session_abandon(struct session *s)
{
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	if (s->cancel_fd >= 0)
		close(s->cancel_fd);
	allocations_destroy(&s->allocations);
	buffers_destroy(&s->buffers);
	free(s->device);
	explicit_bzero(s->secret, sizeof(s->secret));
}

void session_destroy(struct session *s)
{
	drop_endpoint(s);
	leave_domain(s);
	transfer_destroy(s->transfer);
	session_abandon(s);
	turnstile_destroy(&s->control);
	turnstile_destroy(&s->channel);
	pthread_mutex_destroy(&s->buffers_lock);
	pthread_mutex_destroy(&s->table);
}

int session_lock(struct session *s, uint64_t deadline_ns, struct why *why)
{
	if (turnstile_enter(&s->control, false, deadline_ns) == 0)
		return 0;
	return why_set(why, -ETIMEDOUT,
		"rmemd does not answer: other threads' requests are still waiting for it");
}

void session_unlock(struct session *s)
{
	turnstile_leave(&s->control);
}

void session_channel_lock(struct session *s)
{
	(void)turnstile_enter(&s->channel, false, TURNSTILE_FOREVER);
}

void session_urgent_lock(struct session *s)
{
	(void)turnstile_enter(&s->channel, true, TURNSTILE_FOREVER);
}

void session_channel_unlock(struct session *s)
{
	turnstile_leave(&s->channel);
}

bool session_connected(const struct session *s)
{
	return s->endpoint && !endpoint_broken(s->endpoint);
}

/* With the buffers: registered, and in the table. */
static int add_buffer_locked(struct session *s, struct buffer *b, struct why *why)
{
	int rc;

	/* The table may move: the channel, so that nobody looks. */
	session_urgent_lock(s);
	rc = buffers_reserve(&s->buffers);
	session_channel_unlock(s);
	if (rc)
		return why_set(why, rc, "out of memory");
	rc = buffers_check(&s->buffers, b, why);
	if (rc == 0)
		rc = buffer_register(b, s->domain.pd, why);
	if (rc)
		return rc;
	session_urgent_lock(s);
	buffers_add(&s->buffers, b);
	session_channel_unlock(s);
	return 0;
}

int session_add_buffer(struct session *s, struct buffer *b, bool map, struct why *why)
{
	int rc = 0;

	/* An empty one is refused below, in one place. */
	if (map && b->bytes)
		rc = buffer_map(b, why);
	if (rc)
		return rc;
	pthread_mutex_lock(&s->buffers_lock);
	rc = add_buffer_locked(s, b, why);
	pthread_mutex_unlock(&s->buffers_lock);
	if (rc)
		buffer_unmap(b);
	return rc;
}

static int explain_unknown(const struct session *s, uintptr_t start, struct why *why)
{
	const struct buffer *b = buffers_find_range(&s->buffers, start, 1);

	if (b)
		return why_set(why, -EINVAL,
			"%p is inside the registered buffer at %p, not its beginning",
			(void *)start, (void *)b->start);
	return why_set(why, -EINVAL,
		"%p was released already, or is not what rmem_buf_alloc() returned or "
		"rmem_buf_register() was given",
		(void *)start);
}

int session_remove_buffer(struct session *s, uintptr_t start, struct why *why)
{
	struct buffer *b, gone;
	int rc = 0;

	pthread_mutex_lock(&s->buffers_lock);
	b = buffers_find(&s->buffers, start);
	if (!b) {
		rc = explain_unknown(s, start, why);
	} else {
		gone = *b;
		session_urgent_lock(s);
		buffers_remove(&s->buffers, b);
		session_channel_unlock(s);
		buffer_deregister(&gone);
		buffer_unmap(&gone);
	}
	pthread_mutex_unlock(&s->buffers_lock);
	return rc;
}

bool session_lease_good(const struct session *s)
{
	return clock_boot_ns() < atomic_load_explicit(&s->lease_ns, memory_order_relaxed);
}

void session_lease_extend(struct session *s, uint64_t sent_ns)
{
	uint64_t ttl = atomic_load(&s->ttl_ms) * NSEC_PER_MSEC;
	uint64_t margin = ttl / 20 > LEASE_MARGIN_MIN_NS ? ttl / 20 : LEASE_MARGIN_MIN_NS;
	uint64_t until = sent_ns + (ttl > margin ? ttl - margin : 0);
	uint64_t old = atomic_load(&s->lease_ns);

	while (old < until && !atomic_compare_exchange_weak(&s->lease_ns, &old, until))
		;
}

int session_renew(struct session *s, struct why *why)
{
	uint64_t sent;
	int rc = -ECONNRESET;

	session_urgent_lock(s);
	sent = clock_boot_ns();
	if (sent >= atomic_load(&s->lease_ns))
		rc = -ESTALE; /* a renewal does not bring back what has expired */
	else if (session_connected(s))
		rc = transfer_put_word(
			s->transfer, s->board_addr, s->board_rkey, ++s->board_value, why);
	session_channel_unlock(s);
	if (rc == 0)
		session_lease_extend(s, sent);
	return rc == -EACCES ? -ECONNRESET : rc;
}

void session_wake_keeper(struct session *s)
{
	uint64_t one = 1;

	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		log_debug("eventfd: %s", strerror(errno));
}

/* The server does not know us any more: whatever we had there is gone. */
static void forget_session(struct session *s)
{
	log_warn("the server has reclaimed this session: its allocations are gone");
	pthread_mutex_lock(&s->table);
	allocations_mark_stale(&s->allocations);
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
		return why_set(why, -EIO, "getrandom: %s", strerror(errno));
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

/*
 * The new connection goes over another device than the last: everything local moves there. Nobody
 * looks at the buffers meanwhile, since there is no connection yet. One that cannot be registered
 * there is used like any other memory.
 */
static void change_domain(struct session *s, struct endpoint *ep)
{
	struct why why;

	pthread_mutex_lock(&s->buffers_lock);
	leave_domain(s);
	endpoint_keep_domain(ep, &s->domain);
	for (size_t i = 0; i < s->buffers.count; i++)
		if (buffer_register(&s->buffers.items[i], s->domain.pd, &why))
			log_warn("a registered buffer is used by copying: %s", why.text);
	pthread_mutex_unlock(&s->buffers_lock);
}

/* The connection is good: everybody may use it. */
static void install(
	struct session *s, struct endpoint *ep, const struct hello_reply *reply, uint64_t sent_ns)
{
	memcpy(s->secret, reply->secret, sizeof(s->secret));
	s->resumable = true;
	session_urgent_lock(s);
	s->endpoint = ep;
	s->board_addr = reply->board_addr;
	s->board_rkey = reply->board_rkey;
	atomic_fetch_add(&s->generation, 1);
	atomic_store(&s->watch_fd, endpoint_fd(ep));
	session_channel_unlock(s);
	atomic_store(&s->ttl_ms, reply->ttl_ms);
	session_lease_extend(s, sent_ns);
	session_wake_keeper(s);
}

static int connect_once(struct session *s, uint64_t deadline_ns, struct why *why)
{
	struct endpoint_attr attr = {
		.target = &s->target,
		.device = s->device,
		.purpose = PURPOSE_SESSION,
		.deadline_ns = deadline_ns,
		.cancel_fd = s->cancel_fd,
		.domain = &s->domain,
	};
	struct hello_reply reply;
	struct endpoint *ep;
	uint64_t sent;
	int rc;

	rc = endpoint_connect(&attr, &ep, why);
	if (rc)
		return rc;
	sent = clock_boot_ns();
	rc = greet(s, ep, deadline_ns, &reply, why);
	if (rc == 0 && endpoint_pd(ep) != s->domain.pd)
		change_domain(s, ep);
	if (rc == 0)
		rc = transfer_attach(s->transfer, ep, why);
	if (rc) {
		endpoint_destroy(ep);
		return rc;
	}
	log_debug("%s at %s, ttl %u ms", s->resumable ? "resumed" : "connected", endpoint_peer(ep),
		reply.ttl_ms);
	install(s, ep, &reply, sent);
	return 0;
}

int session_connect(struct session *s, uint64_t deadline_ns, struct why *why)
{
	int rc;

	session_urgent_lock(s);
	drop_endpoint(s);
	session_channel_unlock(s);
	rc = connect_once(s, deadline_ns, why);
	if (rc != -ESTALE || !s->resumable)
		return rc;
	forget_session(s);
	return connect_once(s, deadline_ns, why);
}

/* What a failed attempt to come back means to a call on an open session. */
static int connect_error(int rc)
{
	switch (rc) {
	case -ETIMEDOUT:
	case -ECANCELED:
	case -ENOMEM:
		return rc;
	default:
		return -ECONNRESET;
	}
}

static int ensure_connected(struct session *s, uint64_t deadline_ns, struct why *why)
{
	uint64_t backoff = BACKOFF_MIN_NS;

	while (!session_connected(s)) {
		int rc = session_connect(s, deadline_ns, why);

		if (rc == 0)
			return 0;
		log_info("cannot come back: %s", why->text);
		if (connect_error(rc) != -ECONNRESET || clock_boot_ns() + backoff >= deadline_ns)
			return connect_error(rc);
		if (handshake_wait(-1, -1, s->cancel_fd, clock_boot_ns() + backoff) == -ECANCELED)
			return why_set(why, -ECANCELED, "closing");
		backoff = backoff * 2 < BACKOFF_MAX_NS ? backoff * 2 : BACKOFF_MAX_NS;
	}
	return 0;
}

static int send_pending(struct session *s, struct why *why)
{
	struct request *r = &s->pending;
	struct wire body = wire_over(r->body, sizeof(r->body));
	int rc;

	body.pos = r->bytes;
	r->generation = atomic_load(&s->generation);
	session_urgent_lock(s);
	r->sent_ns = clock_boot_ns();
	rc = endpoint_send(s->endpoint, r->type, r->seq, &body, why);
	session_channel_unlock(s);
	return rc;
}

/* Carry the pending request through: 0 and the reply, the server's refusal, or an error. */
static int finish_pending(
	struct session *s, uint64_t deadline_ns, struct wire *out, bool *refused, struct why *why)
{
	struct request *r = &s->pending;
	int rc;

	*refused = false;
	for (;;) {
		rc = ensure_connected(s, deadline_ns, why);
		if (rc)
			return rc;
		if (!r->active)
			return why_set(why, -ESTALE,
				"the lease had ended and the server has reclaimed the session");
		if (r->generation != atomic_load(&s->generation)) {
			rc = send_pending(s, why);
			if (rc == -ECONNRESET && clock_boot_ns() < deadline_ns)
				continue;
			if (rc == -EMSGSIZE)
				r->active = false;
			if (rc)
				return rc;
		}
		rc = endpoint_receive(s->endpoint, r->type, r->seq, deadline_ns, out, refused, why);
		if (rc == 0 || *refused || rc == -EPROTO)
			r->active = false;
		if (rc == -ECONNRESET && clock_boot_ns() < deadline_ns && !*refused)
			continue;
		break;
	}
	if ((rc == 0 || *refused) && rc != -ESTALE)
		session_lease_extend(s, r->sent_ns);
	return rc;
}

struct wire *session_begin(struct session *s)
{
	s->body = wire_over(s->body_bytes, sizeof(s->body_bytes));
	return &s->body;
}

static void make_pending(
	struct session *s, enum message_type type, const uint8_t *body, size_t bytes)
{
	struct request *r = &s->pending;

	r->active = true;
	r->type = type;
	r->seq = ++s->seq;
	r->generation = 0;
	r->bytes = bytes;
	memcpy(r->body, body, bytes);
}

static void make_pending_free(struct session *s, uint64_t addr)
{
	struct free_request request = { .addr = addr };
	uint8_t buf[16];
	struct wire w = wire_over(buf, sizeof(buf));

	free_request_put(&w, &request);
	make_pending(s, MESSAGE_FREE, buf, w.pos);
}

/* A FREE was answered after its caller had gone: the caller will ask again. */
static void note_late_free(struct session *s, const struct request *r, bool done)
{
	struct free_request request;
	struct wire w = wire_over((void *)(uintptr_t)r->body, r->bytes);
	struct own *own;

	free_request_get(&w, &request);
	pthread_mutex_lock(&s->table);
	own = allocations_find(&s->allocations, request.addr);
	if (own && own->state == OWN_FREEING)
		own->state = done ? OWN_FREED : OWN_STALE;
	pthread_mutex_unlock(&s->table);
}

/* Finish a request that an earlier call gave up on, and undo what it brought. */
static int settle_pending(struct session *s, uint64_t deadline_ns, struct why *why)
{
	while (s->pending.active) {
		struct request *r = &s->pending;
		struct alloc_reply lent;
		struct wire reply;
		bool refused;
		int rc;

		rc = finish_pending(s, deadline_ns, &reply, &refused, why);
		if (r->active)
			return rc;
		if (r->type == MESSAGE_FREE && (rc == 0 || refused))
			note_late_free(s, r, rc == 0);
		if (r->type == MESSAGE_ALLOC && rc == 0) {
			alloc_reply_get(&reply, &lent);
			if (wire_finish(&reply) == 0)
				make_pending_free(s, lent.addr);
		}
	}
	return 0;
}

/* Ask the server whether the lease still holds; if not, prove ourselves on a new connection. */
static int prove(struct session *s, uint64_t deadline_ns, struct why *why)
{
	struct renew_reply reply;
	struct wire in;
	bool refused;
	int rc;

	make_pending(s, MESSAGE_RENEW, s->body_bytes, 0);
	rc = finish_pending(s, deadline_ns, &in, &refused, why);
	if (rc == 0) {
		renew_reply_get(&in, &reply);
		if (wire_finish(&in) == 0 && reply.ttl_ms)
			atomic_store(&s->ttl_ms, reply.ttl_ms);
		return 0;
	}
	if (!refused)
		return rc == -ESTALE ? 0 : rc; /* replaced: the new session's lease is good */
	session_urgent_lock(s);
	endpoint_break(s->endpoint);
	session_channel_unlock(s);
	return ensure_connected(s, deadline_ns, why);
}

int session_ready(struct session *s, uint64_t deadline_ns, struct why *why)
{
	int rc;

	rc = settle_pending(s, deadline_ns, why);
	if (rc == 0)
		rc = ensure_connected(s, deadline_ns, why);
	if (rc == 0 && !session_lease_good(s))
		rc = prove(s, deadline_ns, why);
	return rc;
}

int session_call(struct session *s, enum message_type type, uint64_t deadline_ns, struct wire *out,
	struct why *why)
{
	size_t bytes = s->body.pos;
	uint32_t generation;
	uint64_t serial = s->serial;
	bool refused;
	int rc;

	if (s->body.failed)
		return why_set(why, -EMSGSIZE, "a %s request does not fit into a message",
			message_name((uint8_t)type));
	rc = session_ready(s, deadline_ns, why);
	for (int tries = 0; rc == 0; tries++) {
		if (s->serial != serial)
			return why_set(why, -ESTALE,
				"the lease had ended and the server has reclaimed the session");
		generation = atomic_load(&s->generation);
		make_pending(s, type, s->body_bytes, bytes);
		rc = finish_pending(s, deadline_ns, out, &refused, why);
		/* Was it about the request, or is the whole lease over? */
		if (rc != -ESTALE || !refused || tries > 0 || type == MESSAGE_BYE)
			break;
		rc = prove(s, deadline_ns, why);
		if (rc == 0 && s->serial == serial && generation == atomic_load(&s->generation))
			return -ESTALE;
	}
	return rc;
}
