/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/sessions.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "server/ledger/ledger.h"
#include "server/ledger/numbering.h"
#include "server/ledger/slotmap.h"
#include "server/ledger/table.h"

/* Lasts six years at 1000 tokens per second. FENCING_TOKEN_MAX is 5.5 times as much. */
#define TOKEN_REACH 200000000000ULL

struct sessions {
	struct table table;
	struct slots slots;
	struct slotmap by_id;
	struct slotmap by_token; /* tokens that are not retired */
	struct numbering serials, tokens;
	uint32_t rejected;
	uint32_t max; /* limit on sessions */
	uint32_t in_state[SESSION_DEAD + 1];
	struct ledger *ledger; /* sessions_tell(); or NULL */
};

static const struct session_record *record(const struct sessions *s, uint32_t slot)
{
	return table_record(&s->table, slot);
}

/* The record, for writing. NULL if the slot is not in use. */
static struct session_record *edit(struct sessions *s, uint32_t slot)
{
	return slots_has(&s->slots, slot) ? table_edit(&s->table, slot) : NULL;
}

/* Hash both halves: clients choose the ids. */
static uint32_t hash_id(const uint8_t id[ID_SIZE])
{
	uint64_t halves[2];

	memcpy(halves, id, sizeof(halves));
	return slotmap_hash(halves[0] ^ slotmap_hash(halves[1]));
}

static bool is_terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static uint64_t token_of(const struct session_record *r)
{
	return r->fencing_token & ~FENCING_TOKEN_RETIRED;
}

/* Covers what identifies the holder: with one wrong bit in a pid, a live holder would be called dead. */
static uint64_t check_of(const struct session_record *r)
{
	struct session_record copy;

	memcpy(&copy, r, sizeof(copy)); /* padding too */
	copy.state = copy.evidence = 0;
	copy.fencing_token = copy.seen_ns = copy.state_since_ns = copy.expired_ns = 0;
	copy.last_seq = 0;
	copy.marks = 0;
	copy.check = 0;
	return table_sum(&copy, sizeof(copy));
}

/* Call after find_numbers(). */
static bool is_possible(const struct sessions *s, const struct session_record *r)
{
	const struct identity *who = &r->identity;

	return r->check == check_of(r) && r->state >= SESSION_CONNECTED &&
	       r->state <= SESSION_DEAD && r->evidence <= HOLDER_LET_GO &&
	       numbering_is_valid(&s->serials, r->serial) &&
	       numbering_is_valid(&s->tokens, token_of(r)) &&
	       is_terminated(who->host, sizeof(who->host)) &&
	       is_terminated(who->exe, sizeof(who->exe)) &&
	       is_terminated(who->cmdline, sizeof(who->cmdline)) &&
	       is_terminated(who->job, sizeof(who->job));
}

static bool serial_is_known(
	const struct sessions *s, const struct slotmap *by_serial, uint64_t serial)
{
	uint32_t slot = slotmap_first(by_serial, slotmap_hash(serial));

	while (slot != SLOT_NONE && record(s, slot)->serial != serial)
		slot = slotmap_next(by_serial, slot);
	return slot != SLOT_NONE;
}

/* Include the numbers of removed sessions: no number is given again. */
static void find_numbers(struct sessions *s)
{
	uint32_t begin = 0, end = 0;

	numbering_begin(&s->serials, SERIAL_MAX, SERIAL_REACH);
	numbering_begin(&s->tokens, FENCING_TOKEN_MAX, TOKEN_REACH);
	while (table_next_extent(&s->table, end, &begin, &end)) {
		for (uint32_t slot = begin; slot < end; slot++) {
			numbering_found(&s->serials, record(s, slot)->serial);
			numbering_found(&s->tokens, token_of(record(s, slot)));
		}
	}
}

static void recover_record(struct sessions *s, struct slotmap *by_serial, uint32_t slot)
{
	const struct session_record *r = record(s, slot);
	uint32_t other;

	if (r->state == SESSION_NONE)
		return;
	slots_set_aside(&s->slots, slot);
	if (!is_possible(s, r) || sessions_find(s, r->id, &other) == 0 ||
		serial_is_known(s, by_serial, r->serial) ||
		sessions_find_token(s, token_of(r), &other) == 0) {
		s->rejected++;
		return;
	}
	slots_occupy(&s->slots, slot);
	s->in_state[r->state]++;
	slotmap_put(&s->by_id, slot, hash_id(r->id));
	slotmap_put(by_serial, slot, slotmap_hash(r->serial));
	if (!(r->fencing_token & FENCING_TOKEN_RETIRED))
		slotmap_put(&s->by_token, slot, slotmap_hash(r->fencing_token));
}

static int recover(struct sessions *s)
{
	uint32_t begin = 0, end = 0;
	struct slotmap by_serial;
	int err = slotmap_create(&by_serial, SESSIONS_MAX);

	if (err)
		return err;
	find_numbers(s);
	while (table_next_extent(&s->table, end, &begin, &end)) {
		for (uint32_t slot = begin; slot < end; slot++)
			recover_record(s, &by_serial, slot);
	}
	slotmap_destroy(&by_serial);
	return 0;
}

int sessions_open(struct sessions **out, int dir, const char *name)
{
	const struct table_layout layout = { .magic = { 'r', 'm', 'e', 'm', 's', 'e', 's', 's' },
		.version = SESSIONS_FORMAT,
		.oldest = SESSIONS_OLDEST,
		.adopt_later = true,
		.record_bytes = sizeof(struct session_record),
		.count = SESSIONS_MAX };
	struct sessions *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->max = SESSIONS_MAX;
	err = slots_create(&s->slots, SESSIONS_MAX);
	if (!err)
		err = slotmap_create(&s->by_id, SESSIONS_MAX);
	if (!err)
		err = slotmap_create(&s->by_token, SESSIONS_MAX);
	if (!err)
		err = table_open(&s->table, dir, name, &layout, NULL);
	if (!err)
		err = recover(s);
	if (err) {
		sessions_close(s);
		return err;
	}
	*out = s;
	return 0;
}

void sessions_settle(struct sessions *s)
{
	table_adopt(&s->table);
}

void sessions_close(struct sessions *s)
{
	if (!s)
		return;
	table_close(&s->table);
	slotmap_destroy(&s->by_token);
	slotmap_destroy(&s->by_id);
	slots_destroy(&s->slots);
	free(s);
}

void sessions_expect(struct sessions *s, uint32_t slot, uint64_t serial)
{
	const struct session_record *r = sessions_get(s, slot);

	numbering_found(&s->serials, serial);
	/* Keep the record if it is this session or a later one, or if the ledger's number was never given. */
	if (r && (r->serial >= serial || !numbering_is_valid(&s->serials, serial)))
		return;
	/* An earlier session had been removed: the file is an older copy. */
	if (r)
		sessions_remove(s, slot);
	s->rejected += !slots_is_aside(&s->slots, slot);
	slots_set_aside(&s->slots, slot);
}

void sessions_skip(struct sessions *s, uint64_t serial)
{
	numbering_found(&s->serials, serial);
}

/* Tell the ledger whether the session of the slot is connected. */
static void tell_ledger(const struct sessions *s, uint32_t slot)
{
	const struct session_record *r = record(s, slot);

	if (s->ledger)
		ledger_connect(s->ledger, slot, r->state == SESSION_CONNECTED ? r->serial : 0);
}

static void join_ledger(const struct sessions *s, uint32_t slot)
{
	const struct session_record *r = record(s, slot);

	if (s->ledger)
		ledger_join(s->ledger, slot, r->serial, &r->identity);
}

void sessions_tell(struct sessions *s, struct ledger *ledger)
{
	uint32_t cursor = 0, slot;

	s->ledger = ledger;
	while (sessions_next(s, &cursor, &slot) != NULL) {
		join_ledger(s, slot);
		tell_ledger(s, slot);
	}
}

uint32_t sessions_rejected(const struct sessions *s)
{
	return s->rejected;
}

static void publish(struct session_record *r, const uint8_t id[ID_SIZE],
	const uint8_t secret[ID_SIZE], const struct identity *identity, uint64_t now_ns)
{
	memcpy(r->id, id, ID_SIZE);
	memcpy(r->secret, secret, ID_SIZE);
	r->evidence = HOLDER_NO_EVIDENCE;
	r->opened_ns = now_ns;
	r->seen_ns = now_ns;
	r->state_since_ns = now_ns;
	r->expired_ns = 0;
	r->last_seq = 0;
	r->marks = 0;
	r->identity = *identity;
	r->check = check_of(r);
	__atomic_store_n(&r->state, SESSION_CONNECTED, __ATOMIC_RELEASE);
}

void sessions_limit(struct sessions *s, uint32_t max)
{
	s->max = max < SESSIONS_MAX ? max : SESSIONS_MAX;
}

bool sessions_are_full(const struct sessions *s)
{
	return s->slots.count >= s->max;
}

int sessions_add(struct sessions *s, const uint8_t id[ID_SIZE], const uint8_t secret[ID_SIZE],
	const struct identity *identity, uint64_t now_ns, uint32_t *out_slot)
{
	struct session_record *r;
	uint32_t slot;
	int err;

	if (sessions_find(s, id, &slot) == 0)
		return -EEXIST;
	if (sessions_are_full(s) || !numbering_next(&s->serials) || !numbering_next(&s->tokens) ||
		slots_take(&s->slots, &slot) != 0)
		return -EUSERS;
	err = table_back(&s->table, slot);
	if (err) {
		slots_give(&s->slots, slot);
		return err;
	}
	r = table_edit(&s->table, slot);
	/* One store: a torn serial number could be mistaken for a later one. */
	__atomic_store_n(&r->serial, numbering_give(&s->serials), __ATOMIC_RELAXED);
	__atomic_store_n(&r->fencing_token, numbering_give(&s->tokens), __ATOMIC_RELAXED);
	publish(r, id, secret, identity, now_ns);
	slotmap_put(&s->by_token, slot, slotmap_hash(r->fencing_token));
	slotmap_put(&s->by_id, slot, hash_id(id));
	s->in_state[SESSION_CONNECTED]++;
	join_ledger(s, slot);
	tell_ledger(s, slot);
	*out_slot = slot;
	return 0;
}

int sessions_find(const struct sessions *s, const uint8_t id[ID_SIZE], uint32_t *out_slot)
{
	uint32_t slot = slotmap_first(&s->by_id, hash_id(id));

	while (slot != SLOT_NONE && memcmp(record(s, slot)->id, id, ID_SIZE) != 0)
		slot = slotmap_next(&s->by_id, slot);
	if (slot == SLOT_NONE)
		return -ENOENT;
	*out_slot = slot;
	return 0;
}

int sessions_find_token(const struct sessions *s, uint64_t fencing_token, uint32_t *out_slot)
{
	uint32_t slot = slotmap_first(&s->by_token, slotmap_hash(fencing_token));

	while (slot != SLOT_NONE && record(s, slot)->fencing_token != fencing_token)
		slot = slotmap_next(&s->by_token, slot);
	if (slot == SLOT_NONE)
		return -ENOENT;
	*out_slot = slot;
	return 0;
}

bool sessions_gave_token(const struct sessions *s, uint64_t fencing_token)
{
	return numbering_is_valid(&s->tokens, fencing_token);
}

/* Tokens are stored with one store: a torn token could equal another session's. */
void sessions_retire_token(struct sessions *s, uint32_t slot)
{
	struct session_record *r = edit(s, slot);

	if (!r || r->fencing_token & FENCING_TOKEN_RETIRED)
		return;
	slotmap_remove(&s->by_token, slot);
	__atomic_store_n(
		&r->fencing_token, r->fencing_token | FENCING_TOKEN_RETIRED, __ATOMIC_SEQ_CST);
}

int sessions_renew_token(struct sessions *s, uint32_t slot)
{
	struct session_record *r = edit(s, slot);

	if (!r || !numbering_next(&s->tokens))
		return -EUSERS;
	if (!(r->fencing_token & FENCING_TOKEN_RETIRED))
		slotmap_remove(&s->by_token, slot);
	__atomic_store_n(&r->fencing_token, numbering_give(&s->tokens), __ATOMIC_SEQ_CST);
	slotmap_put(&s->by_token, slot, slotmap_hash(r->fencing_token));
	return 0;
}

const struct session_record *sessions_get(const struct sessions *s, uint32_t slot)
{
	return slots_has(&s->slots, slot) ? record(s, slot) : NULL;
}

void sessions_set_last_seq(struct sessions *s, uint32_t slot, uint32_t seq)
{
	struct session_record *r = edit(s, slot);

	if (r)
		r->last_seq = seq;
}

void sessions_set_seen(struct sessions *s, uint32_t slot, uint64_t seen_ns)
{
	struct session_record *r = edit(s, slot);

	if (r)
		r->seen_ns = seen_ns;
}

void sessions_set_expired(struct sessions *s, uint32_t slot, uint64_t expired_ns)
{
	struct session_record *r = edit(s, slot);

	if (r)
		r->expired_ns = expired_ns;
}

static void set_marks(struct sessions *s, uint32_t slot, uint32_t cleared, uint32_t set)
{
	struct session_record *r = edit(s, slot);

	if (r)
		__atomic_store_n(&r->marks, (r->marks & ~cleared) | set, __ATOMIC_SEQ_CST);
}

void sessions_set_no_sites(struct sessions *s, uint32_t slot)
{
	set_marks(s, slot, 0, SESSION_NO_SITES);
}

void sessions_set_journal(struct sessions *s, uint32_t slot, enum journal_mode mode)
{
	set_marks(s, slot, SESSION_EXACT, mode == JOURNAL_EXACT ? SESSION_EXACT : 0);
}

void sessions_set_journaled(struct sessions *s, uint32_t slot, uint64_t journaled_ns)
{
	const struct session_record *r = sessions_get(s, slot);
	uint64_t after_s = 0;

	if (r && journaled_ns > r->opened_ns)
		after_s = (journaled_ns - r->opened_ns) / NSEC_PER_SEC;
	if (after_s > SESSION_JOURNALED_MAX)
		after_s = SESSION_JOURNALED_MAX;
	set_marks(s, slot, SESSION_JOURNALED_MAX << SESSION_JOURNALED_SHIFT,
		(uint32_t)after_s << SESSION_JOURNALED_SHIFT);
}

void sessions_set_state(struct sessions *s, uint32_t slot, enum session_state state,
	enum holder_evidence evidence, uint64_t now_ns)
{
	struct session_record *r = edit(s, slot);
	bool with_evidence = state == SESSION_DEAD || state == SESSION_CLOSED;

	if (!r || state == SESSION_NONE)
		return;
	s->in_state[r->state]--;
	s->in_state[state]++;
	/* Store evidence before the state: a kill in between must not leave a DEAD session without evidence. */
	if (with_evidence) {
		r->evidence = evidence;
		r->state_since_ns = now_ns;
	}
	__atomic_store_n(&r->state, state, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!with_evidence) {
		r->evidence = evidence;
		r->state_since_ns = now_ns;
	}
	tell_ledger(s, slot);
}

void sessions_remove(struct sessions *s, uint32_t slot)
{
	struct session_record *r = edit(s, slot);

	if (!r)
		return;
	slotmap_remove(&s->by_id, slot);
	if (!(r->fencing_token & FENCING_TOKEN_RETIRED))
		slotmap_remove(&s->by_token, slot);
	s->in_state[r->state]--;
	__atomic_store_n(&r->state, SESSION_NONE, __ATOMIC_RELEASE);
	tell_ledger(s, slot);
	if (s->ledger)
		ledger_leave(s->ledger, slot);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memset(r->secret, 0, sizeof(r->secret));
	slots_give(&s->slots, slot);
}

const struct session_record *sessions_next(
	const struct sessions *s, uint32_t *cursor, uint32_t *out_slot)
{
	uint32_t slot = slots_next(&s->slots, *cursor);

	if (slot == SLOT_NONE)
		return NULL;
	*cursor = slot + 1;
	*out_slot = slot;
	return record(s, slot);
}

uint64_t sessions_latest_ns(const struct sessions *s, uint64_t limit_ns)
{
	const struct session_record *r;
	uint64_t latest_ns = 0;
	uint32_t cursor = 0, slot;

	while ((r = sessions_next(s, &cursor, &slot)) != NULL) {
		const uint64_t times[] = { r->opened_ns, r->seen_ns, r->state_since_ns,
			r->expired_ns };

		for (unsigned i = 0; i < sizeof(times) / sizeof(times[0]); i++)
			if (times[i] > latest_ns && times[i] <= limit_ns)
				latest_ns = times[i];
	}
	return latest_ns;
}

uint32_t sessions_high(const struct sessions *s)
{
	return s->slots.high;
}

uint32_t sessions_count(const struct sessions *s)
{
	return s->slots.count;
}

uint32_t sessions_count_in(const struct sessions *s, enum session_state state)
{
	return s->in_state[state];
}

const char *session_state_name(uint32_t state)
{
	switch (state) {
	case SESSION_NONE:
		return "none";
	case SESSION_CONNECTED:
		return "connected";
	case SESSION_DETACHED:
		return "detached";
	case SESSION_CLOSED:
		return "closed";
	case SESSION_DEAD:
		return "dead";
	default:
		return "unknown";
	}
}
