/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/identity.h"
#include "common/log.h"
#include "server/lease/holder.h"
#include "server/net/connection.h"

uint64_t leases_time_ns(const struct leases *l)
{
	return timeline_at(l->timeline, clock_boot_ns());
}

uint64_t leases_age_ns(const struct leases *l, uint64_t since_ns)
{
	const uint64_t now_ns = leases_time_ns(l);

	return now_ns > since_ns ? now_ns - since_ns : 0;
}

struct session *session_of(const struct connection *c)
{
	return (struct session *)((char *)c->grantee - offsetof(struct session, grantee));
}

#define GOODBYE_WITHIN_NS (1 * NSEC_PER_SEC)
#define CHECKED_AT_A_TIME 64  /* processes, by system calls: under a millisecond */
#define LOOKED_AT_A_TIME 1024 /* sessions, most of which are connected */

const struct session_record *session_record(const struct session *session)
{
	return sessions_get(session->leases->records, session->grantee.slot);
}

volatile uint64_t *session_heartbeat(const struct session *session)
{
	return (volatile uint64_t *)((char *)session->leases->heartbeat_page +
				     (size_t)session->grantee.slot * HEARTBEAT_LINE_BYTES);
}

static enum session_list list_for(const struct session *session)
{
	const struct session_record *r = session_record(session);

	if (!session->used || !r || session->reclaiming)
		return LISTED_NOWHERE;
	if (session->nconnections)
		return r->state == SESSION_CLOSED ? LISTED_LEAVING : LISTED_NOWHERE;
	switch (r->state) {
	case SESSION_CLOSED:
	case SESSION_DEAD:
		return LISTED_GONE;
	case SESSION_DETACHED:
		return session->lease.state >= LEASE_EXPIRED ? LISTED_EXPIRED : LISTED_DETACHED;
	default:
		return LISTED_NOWHERE;
	}
}

/* A session in these lists has no connection, so what of its memory is LIVE does not change. */
static void count_takeable(struct session *session, bool listed)
{
	struct leases *l = session->leases;

	if (session->listed != LISTED_EXPIRED && session->listed != LISTED_GONE)
		return;
	for (unsigned i = 0; i < l->pool->nnodes; i++) {
		const unsigned node = l->pool->nodes[i].node;
		const uint64_t bytes =
			ledger_session_live(l->pool->ledger, session->grantee.slot, node)
				.block_bytes;

		l->takeable_bytes[node] += listed ? bytes : -bytes;
	}
}

/* Call after every change of what list_for() reads. */
static void relist(struct session *session)
{
	struct session **lists = session->leases->lists;
	enum session_list list = list_for(session);

	if (list == session->listed)
		return;
	count_takeable(session, false);
	if (session->listed != LISTED_NOWHERE)
		DL_DELETE(lists[session->listed], session);
	session->listed = list;
	if (list != LISTED_NOWHERE)
		DL_APPEND(lists[list], session);
	count_takeable(session, true);
}

static void set_state(
	struct session *session, enum session_state state, enum holder_evidence evidence)
{
	sessions_set_state(session->leases->records, session->grantee.slot, state, evidence,
		leases_time_ns(session->leases));
	relist(session);
}

static struct session *use_slot(struct leases *l, uint32_t slot, uint64_t now_ns)
{
	struct session *session = &l->sessions[slot];

	memset(session, 0, sizeof(*session));
	session->used = true;
	session->leases = l;
	session->grantee.slot = slot;
	*session_heartbeat(session) = 0;
	lease_start(&session->lease, now_ns);
	return session;
}

static int by_age(const void *left, const void *right)
{
	const uint64_t a = session_record(left)->state_since_ns;
	const uint64_t b = session_record(right)->state_since_ns;

	return a < b ? -1 : a > b;
}

void sessions_recover(struct leases *l)
{
	uint64_t now_ns = clock_boot_ns();
	const struct session_record *r;
	uint32_t cursor = 0, slot;

	while ((r = sessions_next(l->records, &cursor, &slot))) {
		struct session *session = use_slot(l, slot, now_ns);

		session->sites.over = r->marks & SESSION_NO_SITES;
		if (!session->sites.over)
			sites_recover_holder(l->sites, &session->sites);
		if (r->state == SESSION_CONNECTED)
			set_state(session, SESSION_DETACHED, HOLDER_NO_EVIDENCE);
		sessions_set_expired(l->records, slot, 0);
		relist(session);
		session_forget_if_done(session);
	}
	for (int list = 0; list < SESSION_LISTS; list++)
		DL_SORT(l->lists[list], by_age);
}

/* In constant time. */
static bool same_secret(const uint8_t a[ID_SIZE], const uint8_t b[ID_SIZE])
{
	volatile uint8_t difference = 0;

	for (unsigned i = 0; i < ID_SIZE; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

static void control_closing(struct wait *w, int result);
static void channel_closing(struct wait *w, int result);
static void connection_gone(struct wait *w, int result);

/* Give c to the session, whose waits must be the first on c->closing and c->gone. */
static void adopt(
	struct connection *c, struct session *session, void (*closing)(struct wait *w, int result))
{
	c->grantee = &session->grantee;
	session->nconnections++;
	wait_on(&c->closing, &c->grantee_closing, closing);
	wait_on(&c->gone, &c->grantee_gone, connection_gone);
	relist(session);
}

static void take_control(struct connection *c, struct session *session)
{
	session->control = c;
	connection_move(c, &c->net->controls);
	adopt(c, session, control_closing);
}

static int start(struct leases *l, struct connection *c, const struct hello_request *hello,
	struct errinfo *errinfo)
{
	struct identity who = hello->identity;
	uint8_t secret[ID_SIZE];
	uint32_t slot;
	int err;

	/* Checked before getrandom(): a HELLO that waits for a slot is retried many times. */
	err = sessions_are_full(l->records) ? -EUSERS : 0;
	if (!err && getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		return errinfo_set(errinfo, -EAGAIN, "the server has no random numbers");
	identity_clean(&who);
	if (!err)
		err = sessions_add(
			l->records, hello->session_id, secret, &who, leases_time_ns(l), &slot);
	if (err == -EUSERS)
		return errinfo_set(errinfo, err,
			"the server keeps %u sessions and has no room for more",
			l->options->max_sessions);
	if (err)
		return errinfo_set(
			errinfo, err, "the server refuses the session: %s", strerror(-err));
	sessions_set_journal(l->records, slot, hello->journal);
	take_control(c, use_slot(l, slot, clock_boot_ns()));
	log_debug("session of %s[%u] on %s opened from %s", who.exe, who.pid, who.host, c->peer);
	return 0;
}

/* 0 and the session, if the peer knows its secret. */
static int find(struct leases *l, const uint8_t id[ID_SIZE], const uint8_t secret[ID_SIZE],
	struct session **out, struct errinfo *errinfo)
{
	uint32_t slot;

	if (sessions_find(l->records, id, &slot))
		return errinfo_set(
			errinfo, -ESTALE, "the server does not know this session (any more)");
	if (!same_secret(sessions_get(l->records, slot)->secret, secret))
		return errinfo_set(errinfo, -EACCES, "the session's secret is wrong");
	*out = &l->sessions[slot];
	return 0;
}

static int check_resumable(const struct session *session, struct errinfo *errinfo)
{
	/* A session without memory may have been forgotten with its last connection. */
	if (!session->used)
		return errinfo_set(
			errinfo, -ESTALE, "the server does not know this session (any more)");
	if (session_record(session)->state == SESSION_CLOSED || session->reclaiming)
		return errinfo_set(
			errinfo, -ESTALE, "the session is over and its memory is being taken back");
	return 0;
}

/* Renew the session's fencing token if others may have been told that it is out. */
static int check_token(const struct session *session, struct errinfo *errinfo)
{
	struct leases *l = session->leases;
	const struct session_record *r = session_record(session);

	if (session->lease.state < LEASE_EXPIRED && !(r->fencing_token & FENCING_TOKEN_RETIRED))
		return 0;
	/* A stuck queue pair can still write under the old token, so that cannot be replaced. */
	if (session->grantee.has_stuck_qp)
		return errinfo_set(errinfo, -ESTALE,
			"the device has not confirmed the end of the session's earlier "
			"connections");
	if (sessions_renew_token(l->records, session->grantee.slot))
		return errinfo_set(errinfo, -ESTALE, "the server has no more fencing tokens");
	return 0;
}

int session_resume(struct connection *c, struct session *session, struct errinfo *errinfo)
{
	struct leases *l = session->leases;
	const struct session_record *r;
	int err = check_resumable(session, errinfo);

	if (!err)
		err = check_token(session, errinfo);
	if (err)
		return err;
	if (lease_resume(&session->lease, clock_boot_ns()))
		return errinfo_set(errinfo, -ESTALE, "the session's lease and courtesy are over");
	r = session_record(session);
	session->lease.heartbeat = *session_heartbeat(session);
	take_control(c, session);
	sessions_set_expired(l->records, session->grantee.slot, 0);
	sessions_set_seen(l->records, session->grantee.slot, leases_time_ns(l));
	set_state(session, SESSION_CONNECTED, HOLDER_NO_EVIDENCE);
	l->resumes++;
	log_info("session of %s[%u] on %s is back from %s", r->identity.exe, r->identity.pid,
		r->identity.host, c->peer);
	return 0;
}

/*
 * The reaper tears the earlier connections down in slices, since they may have many grants. Only the newest HELLO
 * waits: the client has given up on earlier ones.
 */
static int end_the_earlier(struct connection *c, struct session *session, struct wait ***out)
{
	static const char reason[] = "its client came back on another connection";

	if (session->drained)
		connection_abort(connection_of_wait(session->drained), "%s", reason);
	if (session->control)
		connection_abort(session->control, "%s", reason);
	(void)lease_renew(&session->lease, clock_boot_ns()); /* no effect once expired */
	c->pending.session = session;
	*out = &session->drained;
	return -EINPROGRESS;
}

static int resume(struct leases *l, struct connection *c, const struct hello_request *hello,
	struct wait ***out, struct errinfo *errinfo)
{
	struct session *session;
	int err = find(l, hello->session_id, hello->secret, &session, errinfo);

	if (!err)
		err = check_resumable(session, errinfo);
	if (err)
		return err;
	sessions_set_journal(l->records, session->grantee.slot, hello->journal);
	if (session->nconnections)
		return end_the_earlier(c, session, out);
	return session_resume(c, session, errinfo);
}

int session_begin(struct leases *l, struct connection *c, const struct hello_request *hello,
	struct wait ***out, struct errinfo *errinfo)
{
	return hello->resume ? resume(l, c, hello, out, errinfo) : start(l, c, hello, errinfo);
}

static bool is_channel(const struct connection *c, const struct session *session, uint32_t number)
{
	return c->grantee == &session->grantee && c->number == number;
}

static struct connection *find_channel(
	struct connection *list, const struct session *session, uint32_t number)
{
	struct connection *c;

	DL_FOREACH (list, c) {
		if (is_channel(c, session, number))
			break;
	}
	return c;
}

/*
 * Operations of a broken channel may still be in flight. The client repeats them on the new channel, so they must not
 * execute after that. Returns the old channel if it is not torn down yet, else NULL.
 */
static struct connection *end_predecessor(const struct connection *c, struct session *session)
{
	static const char reason[] = "another channel takes its place";
	struct connection *old = find_channel(session->channels, session, c->number);

	if (old)
		connection_abort(old, "%s", reason);
	old = find_channel(c->net->dying, session, c->number);
	/* The wait behind the session's own is of an earlier JOIN, which the client has given up. */
	if (old && old->grantee_gone.next)
		connection_abort(connection_of_wait(old->grantee_gone.next), "%s", reason);
	return old;
}

int session_rejoin(struct connection *c, struct session *session, struct errinfo *errinfo)
{
	if (!session->control || session_record(session)->state != SESSION_CONNECTED)
		return errinfo_set(errinfo, -ESTALE,
			"the session is not connected: a channel needs its control connection");
	if (session->nchannels >= CHANNELS_PER_SESSION_MAX)
		return errinfo_set(errinfo, -EUSERS, "a session can have at most %d channels",
			CHANNELS_PER_SESSION_MAX);
	if (c->number && find_channel(c->net->zombies, session, c->number))
		return errinfo_set(errinfo, -EBUSY,
			"the device does not confirm the end of this channel's last connection");
	connection_move(c, &session->channels);
	session->nchannels++;
	session->leases->nchannels++;
	adopt(c, session, channel_closing);
	log_debug("a channel of session %u from %s", session->grantee.slot, c->peer);
	return 0;
}

int session_join(struct leases *l, struct connection *c, const struct join_request *q,
	struct wait ***out, struct errinfo *errinfo)
{
	struct connection *old;
	struct session *session;
	int err = find(l, q->session_id, q->secret, &session, errinfo);

	if (err)
		return err;
	c->number = q->channel;
	old = c->number ? end_predecessor(c, session) : NULL;
	if (!old)
		return session_rejoin(c, session, errinfo);
	c->pending.session = session;
	*out = &old->gone;
	return -EINPROGRESS;
}

static struct connection *of_closing(struct wait *w)
{
	return (struct connection *)((char *)w - offsetof(struct connection, grantee_closing));
}

static void channel_closing(struct wait *w, int result)
{
	struct session *session = session_of(of_closing(w));

	(void)result;
	session->nchannels--;
	session->leases->nchannels--;
}

static void end_channels(struct session *session, const char *reason)
{
	while (session->channels)
		connection_abort(session->channels, "%s", reason);
}

static void control_closing(struct wait *w, int result)
{
	struct session *session = session_of(of_closing(w));

	(void)result;
	session->control = NULL;
	end_channels(session, "its session's control connection ended");
}

static bool is_over(const struct session *session, const struct session_record *r)
{
	return r->state == SESSION_CLOSED || r->state == SESSION_DEAD || session->reclaiming ||
	       session->lease.state >= LEASE_EXPIRED;
}

void session_forget_if_done(struct session *session)
{
	struct leases *l = session->leases;
	const struct session_record *r = session_record(session);

	if (!r || session->nconnections ||
		ledger_session_count(l->pool->ledger, session->grantee.slot))
		return;
	if (session->grantee.has_stuck_qp)
		return; /* its client could keep the slot's next session alive */
	/* Without memory, a session with an expired lease has nothing to come back to. */
	if (!is_over(session, r))
		return;
	session->used = false;
	relist(session);
	sites_release(l->sites, &session->sites);
	sessions_remove(l->records, session->grantee.slot);
}

bool session_is_out(struct leases *l, uint64_t fencing_token)
{
	const struct session_record *r;
	const struct session *session;
	uint32_t slot;

	/* The token was retired or replaced, or its session forgotten: that happens only to tokens that are out. */
	if (sessions_find_token(l->records, fencing_token, &slot))
		return true;
	session = &l->sessions[slot];
	r = session_record(session);
	if (session->nconnections || session->grantee.has_stuck_qp)
		return false;
	if (!is_over(session, r))
		return false;
	sessions_retire_token(l->records, slot);
	return true;
}

void session_close(struct session *session)
{
	end_channels(session, "its client said goodbye");
	set_state(session, SESSION_CLOSED, HOLDER_CLOSED);
	session_forget_if_done(session);
}

bool sessions_give_up_sites(struct leases *l)
{
	struct session *session;
	bool any = false;

	DL_FOREACH (l->lists[LISTED_GONE], session) {
		if (!sites_are_held(&session->sites))
			continue;
		/* Stored first: after a restart, too, its numbers may belong to other sites. */
		sessions_set_no_sites(l->records, session->grantee.slot);
		sites_give_up(l->sites, &session->sites);
		any = true;
	}
	return any;
}

void sessions_end(struct leases *l)
{
	uint32_t cursor = 0, slot;

	while (l->sessions && l->sites && sessions_next(l->records, &cursor, &slot))
		sites_release(l->sites, &l->sessions[slot].sites);
	free(l->sessions);
	l->sessions = NULL;
}

static bool just_restarted(const struct leases *l, uint64_t now_ns)
{
	return now_ns - l->started_boot_ns < l->terms.ttl_ns;
}

/*
 * Mark a DETACHED session DEAD if its holder is provably gone. Judged as of the last tick: rmemd may not have run
 * since, and only a tick excuses clients for that. The grace time begins when rmemd notices that the lease is over:
 * while rmemd was busy, no client could come back.
 */
static void check(struct session *session)
{
	struct leases *l = session->leases;
	const uint64_t now_ns = l->stall_guard.last_ns;
	const struct session_record *r = session_record(session);
	bool expired = session->lease.state >= LEASE_EXPIRED;
	struct holder_facts facts = {
		.connected = session->nconnections > 0,
		.lease_expired = expired,
		.expired_for_ns = expired ? lease_since(&session->lease, now_ns) : 0,
		.grace_ns = l->terms.ttl_ns,
		.server_just_restarted = just_restarted(l, now_ns),
	};
	enum holder_evidence evidence;

	if (r->state != SESSION_DETACHED)
		return;
	facts.process = identity_probe(&r->identity); /* system calls: only if DETACHED */
	evidence = holder_judge(&facts);
	if (evidence == HOLDER_NO_EVIDENCE)
		return;
	log_info("session of %s[%u] on %s is dead (%s): %u blocks left", r->identity.exe,
		r->identity.pid, r->identity.host, holder_evidence_text(evidence),
		ledger_session_count(l->pool->ledger, session->grantee.slot));
	set_state(session, SESSION_DEAD, evidence);
	session_forget_if_done(session);
}

/* Check sessions detached just now, the latest first: their processes may be exiting. */
static void check_latest(struct leases *l, unsigned *left)
{
	struct session *head = l->lists[LISTED_DETACHED];
	struct session *session = head ? head->prev : NULL;

	while (session && *left > CHECKED_AT_A_TIME / 2 &&
		leases_age_ns(l, session_record(session)->state_since_ns) < SESSION_LEAVING_NS) {
		struct session *earlier =
			session != l->lists[LISTED_DETACHED] ? session->prev : NULL;

		check(session);
		(*left)--;
		session = earlier;
	}
}

void session_check_liveness(struct leases *l)
{
	unsigned left = CHECKED_AT_A_TIME;
	uint32_t slot;

	check_latest(l, &left);
	/* All sessions in turn. */
	for (unsigned n = 0; n < LOOKED_AT_A_TIME && left; n++) {
		struct session *session;

		if (!sessions_next(l->records, &l->check_cursor, &slot)) {
			l->check_cursor = 0;
			break;
		}
		session = &l->sessions[slot];
		if (session->listed == LISTED_DETACHED || session->listed == LISTED_EXPIRED) {
			check(session);
			left--;
		}
	}
}

void session_begin_reclaim(struct session *session)
{
	session->reclaiming = true;
	relist(session);
}

void session_evict(struct session *session)
{
	session->evicted = true;
	session_begin_reclaim(session);
	if (session->control)
		connection_abort(session->control, "an operator has evicted its session");
}

void session_lose(struct session *session, const struct allocation *a)
{
	if (session->listed == LISTED_EXPIRED || session->listed == LISTED_GONE)
		session->leases->takeable_bytes[allocation_node(a)] -= allocation_block_bytes(a);
}

void session_keep(struct session *session, const struct allocation *a)
{
	if (session->listed == LISTED_EXPIRED || session->listed == LISTED_GONE)
		session->leases->takeable_bytes[allocation_node(a)] += allocation_block_bytes(a);
}

void session_emptied(void *leases, uint32_t slot)
{
	struct session *session = &((struct leases *)leases)->sessions[slot];

	if (session->used)
		session_forget_if_done(session);
}

static void detach(struct session *session)
{
	if (session_record(session)->state == SESSION_CONNECTED) {
		set_state(session, SESSION_DETACHED, HOLDER_NO_EVIDENCE);
		check(session);
	}
	relist(session);
	session_forget_if_done(session);
}

/* The connection is torn down, or stuck. */
static void connection_gone(struct wait *w, int result)
{
	const struct connection *c =
		(struct connection *)((char *)w - offsetof(struct connection, grantee_gone));
	struct session *session = session_of(c);

	(void)result;
	if (--session->nconnections)
		return;
	detach(session);
	wait_finish(&session->drained, 0);
}

void sessions_drop_leaving(struct leases *l, uint64_t now_ns)
{
	struct session *session, *next;

	for (session = l->lists[LISTED_LEAVING]; session; session = next) {
		next = session->next;
		if (session->control && now_ns - session->control->active_ns > GOODBYE_WITHIN_NS)
			connection_abort(session->control, "it said goodbye and stayed");
	}
}

static void expired(struct session *session)
{
	struct leases *l = session->leases;
	const struct session_record *r = session_record(session);

	sessions_set_expired(l->records, session->grantee.slot, leases_time_ns(l));
	l->expiries++;
	log_info("lease of %s[%u] on %s expired: access revoked, %u blocks kept", r->identity.exe,
		r->identity.pid, r->identity.host,
		ledger_session_count(l->pool->ledger, session->grantee.slot));
	if (session->control)
		connection_abort(session->control, "its lease expired"); /* aborts channels too */
	else
		session_forget_if_done(session);
}

/* Take in the session's line of the heartbeat page. */
static void observe(struct session *session, uint64_t now_ns)
{
	struct sessions *records = session->leases->records;
	const uint64_t heartbeat = *session_heartbeat(session);
	const uint64_t time_ns = leases_time_ns(session->leases);

	if (!lease_observe(&session->lease, heartbeat, now_ns))
		return;
	sessions_set_seen(records, session->grantee.slot, time_ns);
	if (heartbeat & HEARTBEAT_JOURNALED)
		sessions_set_journaled(records, session->grantee.slot, time_ns);
}

static void tick(struct session *session, uint64_t now_ns)
{
	struct leases *l = session->leases;

	if (session->nconnections)
		observe(session, now_ns);
	if (!lease_step(&session->lease, &l->terms, now_ns))
		return;
	relist(session);
	if (session->lease.state == LEASE_EXPIRED)
		expired(session);
}

void session_tick_all(struct leases *l, uint64_t now_ns)
{
	uint64_t gap_ns = stall_guard_tick(&l->stall_guard, now_ns, heart_ran_ns(l->heart, now_ns));
	uint32_t cursor = 0, slot;

	if (gap_ns) {
		l->stalls++;
		l->stalled_ns += gap_ns;
		/* Short stalls are common on a busy machine: warn from a quarter of the ttl on. */
		log_at(gap_ns > l->terms.ttl_ns / 4 ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
			"rmemd itself stood still for %u ms: no lease is charged for that",
			(unsigned)(gap_ns / NSEC_PER_MSEC));
	}
	while (sessions_next(l->records, &cursor, &slot)) {
		struct session *session = &l->sessions[slot];

		if (gap_ns)
			lease_excuse(&session->lease, gap_ns, now_ns);
		if (session->nconnections || session_record(session)->state == SESSION_DETACHED)
			tick(session, now_ns);
	}
}
