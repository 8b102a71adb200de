/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/channel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/explain.h"
#include "client/poison.h"
#include "client/request.h"
#include "common/clock.h"
#include "common/handshake.h"
#include "common/log.h"
#include "common/verbs.h"

/* Coming back gets at least this long, however much of the time-out a dead connection has eaten. */
#define RECOVER_MIN_NS NSEC_PER_SEC
#define BACKOFF_MIN_NS (20 * NSEC_PER_MSEC)
#define FAILURES_MAX 2 /* connections that one operation may break */

/* ---- what is remembered of the session ---- */

/* With the table. */
static int copy_buffers(struct channel *ch)
{
	const struct buffers *from = &ch->session->buffers;
	struct buffers *to = &ch->buffers;
	struct buffer *items = realloc(to->items, (from->count + 1) * sizeof(*items));

	if (items)
		to->items = items;
	to->count = items ? from->count : 0;
	if (items && from->count)
		memcpy(items, from->items, from->count * sizeof(*items));
	return items ? 0 : -ENOMEM;
}

/* Look at the session again, if anything has changed since the last time. */
static void refresh(struct channel *ch)
{
	struct session *s = ch->session;
	uint64_t epoch = atomic_load_explicit(&s->epoch, memory_order_acquire);

	if (epoch == ch->epoch)
		return;
	keys_forget_near(&ch->keys);
	pthread_mutex_lock(&s->table);
	/* Without memory for the copy, registered buffers are used like any other memory. */
	if (ch->buffers_version != s->buffers_version && copy_buffers(ch) == 0)
		ch->buffers_version = s->buffers_version;
	/* The server ends our connection with the one we belong to. */
	if (ch->pipeline.ep && ch->generation != s->generation)
		endpoint_break(ch->pipeline.ep);
	pthread_mutex_unlock(&s->table);
	ch->epoch = epoch;
}

/* A copy of the allocation that holds the range, if it may be used. */
static int find_own(
	struct session *s, uint64_t addr, size_t bytes, struct own *out, struct why *why)
{
	const struct own *own;
	int rc = 0;

	*out = (struct own){ 0 };
	pthread_mutex_lock(&s->table);
	own = allocations_find_range(&s->allocations, addr, bytes);
	if (!own)
		rc = explain_range(&s->allocations, addr, bytes, why);
	else if (own->state != OWN_LIVE)
		rc = explain_state(own, why);
	else
		*out = *own;
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* A pipeline_key_fn on a channel; -EAGAIN and *own: there is no key for it yet. */
static int find_key(struct channel *ch, uint64_t addr, size_t bytes, struct own *own,
	uint32_t *out_rkey, struct why *why)
{
	int rc;

	if (keys_find(&ch->keys, addr, bytes, out_rkey))
		return 0;
	rc = find_own(ch->session, addr, bytes, own, why);
	if (rc)
		return rc;
	if (!keys_get(&ch->keys, own->slot, own->serial, out_rkey))
		return -EAGAIN;
	keys_cache(&ch->keys, addr, own->addr, own->bytes, *out_rkey);
	return 0;
}

static int known_key(void *ctx, uint64_t addr, size_t bytes, uint32_t *out_rkey, struct why *why)
{
	struct own own;
	int rc = find_key(ctx, addr, bytes, &own, out_rkey, why);

	/* It was checked before it was started: it has been freed and allocated anew meanwhile. */
	return rc == -EAGAIN ? why_set(why, -EFAULT, "0x%" PRIx64 " was freed meanwhile", addr)
			     : rc;
}

/* ---- life ---- */

struct channel *channel_create(struct session *s)
{
	struct channel *ch = aligned_alloc(64, (sizeof(*ch) + 63) / 64 * 64);

	if (!ch)
		return NULL;
	memset(ch, 0, sizeof(*ch));
	ch->session = s;
	ch->number = atomic_fetch_add(&s->channels, 1) + 1;
	ch->buffers_version = UINT64_MAX;
	ch->epoch = UINT64_MAX;
	ch->pipeline.buffers = &ch->buffers;
	ch->pipeline.key = known_key;
	ch->pipeline.ctx = ch;
	ch->shortcut.wr.sg_list = &ch->shortcut.sge;
	ch->shortcut.wr.num_sge = 1;
	if (pipeline_init(&ch->pipeline)) {
		channel_destroy(ch);
		return NULL;
	}
	return ch;
}

void channel_abandon(struct channel *ch)
{
	bounce_destroy(&ch->pipeline.bounce);
	keys_destroy(&ch->keys);
	free(ch->buffers.items); /* what is registered is the session's */
	free(ch);
}

void channel_destroy(struct channel *ch)
{
	if (!ch)
		return;
	pipeline_detach(&ch->pipeline);
	pipeline_destroy(&ch->pipeline);
	channel_abandon(ch);
}

/* ---- connecting ---- */

/* What joining needs to know, as of a moment when the session was connected. */
struct invitation {
	struct join_request request;
	struct domain *domain;
	uint64_t generation, tenure;
};

/* With control: may this channel join? Not for what was begun before something that is held was lost. */
static int check_tenure(struct channel *ch, struct why *why)
{
	struct session *s = ch->session;
	int rc;

	pthread_mutex_lock(&s->table);
	rc = tenure_check(s, why);
	pthread_mutex_unlock(&s->table);
	if (rc == 0 && ch->fences != atomic_load(&s->tenure.fences))
		rc = why_set(why, -EOWNERDEAD,
			"a lock was lost while this was on its way: it is not repeated");
	return rc;
}

static int get_invitation(
	struct channel *ch, uint64_t deadline_ns, struct invitation *out, struct why *why)
{
	struct session *s = ch->session;
	int rc = session_lock(s, deadline_ns, why);

	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, why);
	if (rc == 0)
		rc = check_tenure(ch, why);
	if (rc == 0) {
		memcpy(out->request.session_id, s->id, sizeof(s->id));
		memcpy(out->request.secret, s->secret, sizeof(s->secret));
		out->request.channel = ch->number;
		out->domain = domain_hold(s->domain);
		out->generation = s->generation;
		out->tenure = s->tenure.number; /* which control keeps as it is, too */
	}
	session_unlock(s);
	return rc;
}

static int join(struct channel *ch, struct endpoint *ep, const struct join_request *request,
	uint64_t deadline_ns, struct why *why)
{
	uint8_t buf[sizeof(*request)];
	struct wire body = wire_over(buf, sizeof(buf)), reply;
	int rc;

	join_request_put(&body, request);
	rc = endpoint_call(ep, MESSAGE_JOIN, ++ch->seq, &body, deadline_ns, &reply, why);
	explicit_bzero(buf, sizeof(buf));
	return rc;
}

/* One attempt. */
static int connect_once(struct channel *ch, uint64_t deadline_ns, struct why *why)
{
	struct session *s = ch->session;
	struct invitation invitation;
	struct endpoint_attr attr = {
		.target = &s->target,
		.purpose = PURPOSE_CHANNEL,
		.deadline_ns = deadline_ns,
		.cancel_fd = s->cancel_fd,
		.send_depth = PIPELINE_DEPTH,
	};
	struct endpoint *ep = NULL;
	int rc;

	rc = get_invitation(ch, deadline_ns, &invitation, why);
	if (rc)
		return rc;
	attr.domain = invitation.domain;
	attr.device = ibv_get_device_name(domain_pd(invitation.domain)->context->device);
	rc = endpoint_connect(&attr, &ep, why);
	if (rc == 0)
		rc = join(ch, ep, &invitation.request, deadline_ns, why);
	if (rc == 0 && endpoint_domain(ep) != invitation.domain)
		rc = why_set(why, -ECONNRESET, "the RDMA device is not the session's any more");
	if (rc == 0)
		rc = pipeline_attach(&ch->pipeline, ep, why);
	explicit_bzero(&invitation.request, sizeof(invitation.request));
	domain_release(invitation.domain);
	if (rc) {
		endpoint_destroy(ep);
		return rc;
	}
	ch->generation = invitation.generation;
	ch->tenure = invitation.tenure;
	ch->connects++;
	keys_clear(&ch->keys);
	ch->epoch = UINT64_MAX;
	refresh(ch);
	log_debug("channel connected to %s", endpoint_peer(ep));
	return 0;
}

/* Worth another attempt: the session's own connection has broken, or is about to. */
static bool is_passing(int rc)
{
	return rc == -ECONNRESET || rc == -ESTALE || rc == -EAGAIN;
}

/* Connect, trying until the deadline. */
static int reconnect(struct channel *ch, uint64_t deadline_ns, struct why *why)
{
	uint64_t backoff = BACKOFF_MIN_NS;
	int rc;

	for (;;) {
		rc = connect_once(ch, deadline_ns, why);
		if (rc == 0 || !is_passing(rc) || clock_boot_ns() + backoff >= deadline_ns)
			break;
		log_debug("channel: %s", why->text);
		if (handshake_wait(-1, -1, ch->session->cancel_fd, clock_boot_ns() + backoff) ==
			-ECANCELED)
			return why_set(why, -ECANCELED, "closing");
		backoff *= 2;
	}
	switch (rc) {
	case 0:
	case -ETIMEDOUT:
	case -ECANCELED:
	case -ENOMEM:
	case -EUSERS:
	case -EOWNERDEAD:
		return rc;
	default: /* what connecting can end in besides is no news for an open session */
		return -ECONNRESET;
	}
}

static bool is_connected(const struct channel *ch)
{
	return ch->pipeline.ep && !endpoint_broken(ch->pipeline.ep);
}

/* Past the lease the memory may be somebody else's: not even try. */
static bool is_usable(const struct channel *ch)
{
	return is_connected(ch) && session_lease_good(ch->session);
}

/* Ask whether the lease is good, or get a new one. */
static int prove_lease(struct session *s, uint64_t deadline_ns, struct why *why)
{
	int rc = session_lock(s, deadline_ns, why);

	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, why);
	session_unlock(s);
	return rc;
}

/* What the first request that failed says; if none was on its way, the first operation that waits. */
static void explain_break(const struct channel *ch, struct why *why)
{
	struct operation *first = ch->pipeline.first;
	struct failure f = ch->pipeline.failure;
	struct plan_segment seg;

	if (!f.op && first && operation_is_copy(first) && plan_peek(&first->left, &seg))
		f = (struct failure){ .op = first, .remote = seg.remote, .bytes = seg.len };
	else if (!f.op && first && !operation_is_copy(first))
		f = (struct failure){ .op = first, .remote = first->addr, .bytes = 8 };
	explain_failure(&f, ch->session, endpoint_peer(ch->pipeline.ep), why);
	log_info("%s", why->text);
}

/* Something broke: say what, and give up the operation if that happens to it again and again. */
static void note_failure(struct channel *ch, struct why *why)
{
	const struct failure *f = &ch->pipeline.failure;
	struct operation *op = f->op ? f->op : ch->pipeline.first;

	explain_break(ch, why);
	if (!op)
		return;
	op->failures += !f->op;
	if (f->status == IBV_WC_REM_INV_REQ_ERR && !operation_is_copy(op))
		op->status = -EOPNOTSUPP;
	else if (op->failures >= FAILURES_MAX)
		op->status = -ECONNRESET;
}

/* ---- keys ---- */

/* Everything outstanding completes. 0 or -ECONNRESET. */
static int drain(struct channel *ch, struct why *why)
{
	int rc = 0;

	while (rc == 0 && !pipeline_is_idle(&ch->pipeline))
		rc = pipeline_wait(&ch->pipeline, PIPELINE_FOREVER);
	if (rc)
		note_failure(ch, why);
	return rc;
}

/* The server says that it has nothing of ours there. */
static int mark_stale(struct session *s, const struct own *gone, struct why *why)
{
	struct own *own;

	pthread_mutex_lock(&s->table);
	own = allocations_find(&s->allocations, gone->addr);
	if (own && own->serial == gone->serial)
		own->state = OWN_STALE;
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
	return explain_stale(gone, why);
}

/* Have a window bound on this connection. -ECONNRESET: it broke. */
static int attach(struct channel *ch, const struct own *own, struct why *why)
{
	struct attach_request request = { .addr = own->addr };
	uint8_t buf[MESSAGE_MAX];
	struct wire body = wire_over(buf, sizeof(buf)), reply;
	struct grant_reply grant;
	int rc = drain(ch, why);

	if (rc)
		return rc;
	memcpy(request.key, own->key, sizeof(request.key)); /* all zero if it is our own */
	attach_request_put(&body, &request);
	rc = endpoint_call(ch->pipeline.ep, MESSAGE_ATTACH, ++ch->seq, &body,
		clock_boot_ns() + ch->session->timeout_ns, &reply, why);
	if (rc == -ESTALE || rc == -ENOENT)
		return mark_stale(ch->session, own, why);
	if (rc == -ETIMEDOUT) /* a reply that comes later would be taken for another's */
		endpoint_break(ch->pipeline.ep);
	if (rc)
		return rc;
	grant_reply_get(&reply, &grant);
	if (wire_finish(&reply) || grant.addr != own->addr || grant.bytes != own->bytes)
		return why_set(why, -EPROTO, "rmemd sent a malformed grant");
	if (keys_set(&ch->keys, own->slot, own->serial, grant.rkey))
		return why_set(why, -ENOMEM, "out of memory");
	return 0;
}

typedef int visit_fn(struct channel *ch, uint64_t addr, size_t bytes, struct why *why);

/* Every remote piece of an operation, until one fails. */
static int for_each_piece(
	struct channel *ch, const struct operation *op, visit_fn *visit, struct why *why)
{
	int rc = 0;

	if (!operation_is_copy(op))
		return visit(ch, op->addr, sizeof(uint64_t), why);
	for (int i = 0; i < op->left.nremote && rc == 0; i++)
		if (op->left.remote[i].len)
			rc = visit(ch, op->left.remote[i].base, op->left.remote[i].len, why);
	return rc;
}

/* Is the piece inside one allocation that may be used? */
static int check_piece(struct channel *ch, uint64_t addr, size_t bytes, struct why *why)
{
	struct own own;
	uint32_t rkey;
	int rc = find_key(ch, addr, bytes, &own, &rkey, why);

	return rc == -EAGAIN ? 0 : rc;
}

/* Have a key for it on this connection. */
static int attach_piece(struct channel *ch, uint64_t addr, size_t bytes, struct why *why)
{
	struct own own;
	uint32_t rkey;
	int rc = find_key(ch, addr, bytes, &own, &rkey, why);

	return rc == -EAGAIN ? attach(ch, &own, why) : rc;
}

/* ---- coming back ---- */

/*
 * May it go over this connection? What is to be done in a tenure that is over must not be done in the next.
 */
static int check_sending(const struct channel *ch, const struct operation *op, struct why *why)
{
	if (!operation_is_copy(op) && !endpoint_has_atomics(ch->pipeline.ep))
		return why_set(
			why, -EOPNOTSUPP, "this machine's RDMA device has no atomic operations");
	if (!op->tenure || op->tenure == ch->tenure)
		return 0;
	return why_set(why, -ESTALE, "the lease had ended before this was sent");
}

/* On the new connection every operation that is left needs its keys again. */
static int reattach(struct channel *ch, struct why *why)
{
	for (struct operation *op = ch->pipeline.first; op; op = op->following) {
		int rc = op->status ? 0 : check_sending(ch, op, why);

		if (rc == 0 && !op->status)
			rc = for_each_piece(ch, op, attach_piece, why);

		if (rc == -ECONNRESET)
			return rc;
		if (rc)
			op->status = rc;
	}
	return 0;
}

/* Is there anything left that another connection could do? */
static bool is_worth_it(const struct channel *ch)
{
	const struct operation *op = ch->pipeline.first;

	while (op && op->status)
		op = op->following;
	return op;
}

/* Has any of them come to its end on the way? */
static bool has_failed(const struct channel *ch)
{
	const struct operation *op = ch->pipeline.first;

	while (op && !op->status)
		op = op->following;
	return op != NULL;
}

/* Connected, lease good, and a key for every piece; trying until the deadline. */
static int come_back(struct channel *ch, uint64_t deadline_ns, struct why *why)
{
	int rc;

	do {
		if (is_connected(ch)) {
			rc = prove_lease(ch->session, deadline_ns, why);
		} else {
			pipeline_detach(&ch->pipeline);
			session_wake_keeper(ch->session);
			rc = reconnect(ch, deadline_ns, why);
		}
		if (rc)
			break;
		refresh(ch);
		rc = is_connected(ch) ? reattach(ch, why) : -ECONNRESET;
	} while (rc == -ECONNRESET && clock_boot_ns() < deadline_ns);
	return rc;
}

/* It was broken from elsewhere, while operations were on their way: the first of them tells what. */
static void flush(struct channel *ch, struct why *why)
{
	struct pipeline *p = &ch->pipeline;

	if (!p->ep || (pipeline_is_idle(p) && (p->failure.op || !p->first)))
		return; /* said already, or nothing to say */
	while (!pipeline_is_idle(p) && pipeline_wait(p, PIPELINE_FOREVER) == 0)
		;
	explain_break(ch, why);
}

/* After what broke the connection, if that is known: why there is no other. */
static void add_trouble(struct why *why, const struct why *trouble)
{
	const struct why failure = *why;

	if (failure.text[0])
		why_fill(why, "%.350s; then: %s", failure.text, trouble->text);
	else
		*why = *trouble;
}

/*
 * The connection broke, or there is none, or the lease may be over: get what the operations need to go on,
 * or let them fail. wanted: whatever becomes of them, somebody needs the connection.
 */
static int recover(struct channel *ch, bool wanted, uint64_t began_ns, struct why *why)
{
	uint64_t deadline = began_ns + ch->session->timeout_ns;
	uint64_t least = clock_boot_ns() + RECOVER_MIN_NS;
	struct why trouble = { "" };
	int rc = -ECONNRESET;

	if (deadline < least)
		deadline = least;
	if (!is_connected(ch)) {
		flush(ch, why);
		pipeline_detach(&ch->pipeline);
	}
	if (wanted || is_worth_it(ch)) {
		rc = come_back(ch, deadline, &trouble);
		/* What went wrong on the way does not matter to those who got there. */
		if ((rc || has_failed(ch)) && trouble.text[0])
			add_trouble(why, &trouble);
		if (rc == 0)
			return 0;
	}
	pipeline_detach(&ch->pipeline);
	pipeline_fail(&ch->pipeline, rc);
	return rc;
}

int channel_connect(struct channel *ch, struct why *why)
{
	ch->fences = atomic_load(&ch->session->tenure.fences);
	refresh(ch);
	return is_usable(ch) ? 0 : recover(ch, true, clock_boot_ns(), why);
}

/* ---- operations ---- */

static int check_local(const struct operation *op, struct why *why)
{
	const struct plan *p = &op->left;
	const struct iovec old = { op->old, op->old ? sizeof(*op->old) : 0 };
	const struct iovec *pieces = operation_is_copy(op) ? p->local : &old;
	int n = operation_is_copy(op) ? p->nlocal : 1;

	for (int i = 0; i < n; i++) {
		const void *bad = poison_find(pieces[i].iov_base, pieces[i].iov_len);

		if (bad)
			return explain_poison(&pieces[i], bad, why);
	}
	return 0;
}

int channel_start(struct channel *ch, struct operation *op, struct why *why)
{
	uint64_t began = ch->began_ns ? ch->began_ns : clock_boot_ns();
	bool recovered = false;
	int rc = check_local(op, why);

	if (ch->began_ns && rc == 0)
		*why = ch->shortcut_failure;
	ch->began_ns = 0;
	if (!ch->pipeline.first)
		ch->fences =
			atomic_load_explicit(&ch->session->tenure.fences, memory_order_relaxed);
	while (rc == 0) {
		refresh(ch);
		rc = for_each_piece(ch, op, check_piece, why);
		if (rc)
			break;
		rc = is_usable(ch) ? check_sending(ch, op, why) : -ECONNRESET;
		if (rc == 0)
			rc = for_each_piece(ch, op, attach_piece, why);
		if (rc == 0 && is_usable(ch)) {
			pipeline_add(&ch->pipeline, op);
			pipeline_build(&ch->pipeline, why);
			return 0;
		}
		if (rc && rc != -ECONNRESET)
			break;
		if (recovered && clock_boot_ns() > began + ch->session->timeout_ns)
			return why_set(why, -ETIMEDOUT, "the lease ends faster than rmemd answers");
		rc = recover(ch, true, began, why);
		recovered = true;
	}
	return rc;
}

void channel_post(struct channel *ch, struct why *why)
{
	/* If the connection has broken, whoever waits for the operations will find out. */
	if (ch->pipeline.ep)
		(void)pipeline_post(&ch->pipeline, why);
}

void channel_advance(struct channel *ch, uint64_t deadline_ns, struct why *why)
{
	const struct operation *first = ch->pipeline.first;
	uint64_t began = clock_boot_ns();
	int rc = 0;

	while (first && ch->pipeline.first == first) {
		refresh(ch);
		if ((rc || !is_usable(ch)) && recover(ch, false, began, why))
			return;
		pipeline_build(&ch->pipeline, why);
		rc = pipeline_post(&ch->pipeline, why);
		if (rc == 0 && !pipeline_is_idle(&ch->pipeline))
			rc = deadline_ns ? pipeline_wait(&ch->pipeline, deadline_ns)
					 : pipeline_poll(&ch->pipeline);
		if (rc)
			note_failure(ch, why);
		else if (deadline_ns != PIPELINE_FOREVER && clock_boot_ns() >= deadline_ns)
			break;
	}
	/* What has become possible, while the caller looks at what has completed. */
	if (rc == 0 && ch->pipeline.building && is_connected(ch)) {
		pipeline_build(&ch->pipeline, why);
		channel_post(ch, why);
	}
}

int channel_run(struct channel *ch, struct operation *op, struct why *why)
{
	int rc = channel_start(ch, op, why);

	while (rc == 0 && channel_is_busy(ch))
		channel_advance(ch, PIPELINE_FOREVER, why);
	return rc ? rc : op->status;
}
