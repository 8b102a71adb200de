/* SPDX-License-Identifier: BSD-3-Clause */
/* The session table: finding, forgetting, coming back after a restart, and files full of garbage. */
#include "tests/support/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/ledger/sessions.h"
#include "server/ledger/table.h"

#define NAME "sessions"
#define SIZE sizeof(struct session_record)

struct names {
	uint8_t id[ID_SIZE], secret[ID_SIZE];
	struct identity identity;
};

static struct names names_of(uint32_t n)
{
	struct names names;

	memset(&names, 0, sizeof(names));
	memcpy(names.id, &n, sizeof(n));
	memset(names.secret, 0x80 + (int)(n % 64), ID_SIZE);
	names.identity.pid = n;
	strcpy(names.identity.host, "n12");
	snprintf(names.identity.exe, sizeof(names.identity.exe), "/usr/bin/client-%u", n);
	return names;
}

static uint32_t add(struct sessions *s, uint32_t n)
{
	struct names names = names_of(n);
	uint32_t slot = UINT32_MAX;

	assert_int_equal(
		sessions_add(s, names.id, names.secret, &names.identity, 1000 + n, &slot), 0);
	return slot;
}

static struct sessions *reopen(struct sessions *s)
{
	sessions_close(s);
	assert_int_equal(sessions_open(&s, dir, NAME), 0);
	return s;
}

/* Marks are apart from each other, and stay over a restart. Seconds are those that have passed. */
static void test_journal(void **state)
{
	struct sessions *s = reopen(NULL);
	const uint32_t slot = add(s, 1);
	const uint64_t opened_ns = sessions_get(s, slot)->opened_ns;

	(void)state;
	assert_int_equal(sessions_get(s, slot)->marks, 0);
	assert_int_equal(session_journaled_ns(sessions_get(s, slot)), opened_ns);
	sessions_set_journal(s, slot, JOURNAL_EXACT);
	sessions_set_journaled(s, slot, opened_ns + 10 * NSEC_PER_SEC - 1);
	sessions_set_no_sites(s, slot);
	s = reopen(s);
	assert_int_equal(sessions_rejected(s), 0);
	assert_int_equal(sessions_get(s, slot)->marks & SESSION_NO_SITES, SESSION_NO_SITES);
	assert_int_equal(sessions_get(s, slot)->marks & SESSION_EXACT, SESSION_EXACT);
	assert_int_equal(session_journaled_ns(sessions_get(s, slot)), opened_ns + 9 * NSEC_PER_SEC);
	sessions_set_journaled(s, slot, opened_ns + 3600 * NSEC_PER_SEC);
	sessions_set_journal(s, slot, JOURNAL_LAZY);
	assert_int_equal(sessions_get(s, slot)->marks & (SESSION_EXACT | SESSION_NO_SITES),
		SESSION_NO_SITES);
	assert_int_equal(
		session_journaled_ns(sessions_get(s, slot)), opened_ns + 3600 * NSEC_PER_SEC);
	/* What cannot be is as near to it as there is room for. */
	sessions_set_journaled(s, slot, opened_ns - 1);
	assert_int_equal(session_journaled_ns(sessions_get(s, slot)), opened_ns);
	sessions_set_journaled(s, slot, UINT64_MAX);
	assert_int_equal(session_journaled_ns(sessions_get(s, slot)),
		opened_ns + SESSION_JOURNALED_MAX * NSEC_PER_SEC);
	assert_int_equal(sessions_get(s, slot)->marks & (SESSION_EXACT | SESSION_NO_SITES),
		SESSION_NO_SITES);
	sessions_set_journaled(s, 99, opened_ns);
	sessions_close(s);
}

static void test_life(void **state)
{
	struct names names = names_of(1);
	struct sessions *s = reopen(NULL);
	const struct session_record *r;
	uint32_t slot = add(s, 1), found = 77;

	(void)state;
	assert_int_equal(
		sessions_add(s, names.id, names.secret, &names.identity, 0, &found), -EEXIST);
	assert_int_equal(found, 77);
	assert_int_equal(sessions_find(s, names_of(2).id, &found), -ENOENT);
	assert_int_equal(sessions_find(s, names.id, &found), 0);
	assert_int_equal(found, slot);
	r = sessions_get(s, slot);
	assert_int_equal(r->state, SESSION_CONNECTED);
	assert_int_equal(r->serial, 1);
	assert_int_equal(r->opened_ns, 1001);
	assert_string_equal(r->identity.exe, "/usr/bin/client-1");
	sessions_set_last_seq(s, slot, 17);
	sessions_set_no_sites(s, slot);
	sessions_set_expired(s, slot, 5);

	sessions_set_state(s, slot, SESSION_DEAD, HOLDER_PID_GONE, 2000);
	s = reopen(s);
	assert_int_equal(sessions_rejected(s), 0);
	assert_int_equal(sessions_find(s, names.id, &found), 0);
	r = sessions_get(s, found);
	assert_int_equal(r->state, SESSION_DEAD);
	assert_int_equal(r->evidence, HOLDER_PID_GONE);
	assert_int_equal(r->state_since_ns, 2000);
	assert_int_equal(r->last_seq, 17);
	assert_int_equal(r->marks & SESSION_NO_SITES, SESSION_NO_SITES);
	assert_int_equal(r->expired_ns, 5);
	sessions_set_state(s, found, SESSION_CONNECTED, HOLDER_NO_EVIDENCE, 3000);
	assert_int_equal(r->evidence, HOLDER_NO_EVIDENCE);
	sessions_set_state(s, found, SESSION_NONE, HOLDER_NO_EVIDENCE, 3000);
	assert_int_equal(r->state, SESSION_CONNECTED);
	sessions_set_state(s, 99, SESSION_DEAD, HOLDER_PID_GONE, 3000);
	assert_null(sessions_get(s, 99));
	assert_null(sessions_get(s, UINT32_MAX));

	sessions_remove(s, found);
	sessions_remove(s, found);
	assert_int_equal(sessions_count(s), 0);
	assert_int_equal(sessions_find(s, names.id, &found), -ENOENT);
	for (unsigned i = 0; i < ID_SIZE; i++)
		assert_int_equal(r->secret[i], 0);
	/* The slot is used again, the serial number is not: not even by the next rmemd. */
	s = reopen(s);
	assert_int_equal(add(s, 3), 0);
	assert_int_equal(sessions_get(s, 0)->serial, 2);
	assert_int_equal(sessions_get(s, 0)->expired_ns, 0);
	assert_int_equal(sessions_get(s, 0)->last_seq, 0);
	assert_int_equal(sessions_get(s, 0)->marks, 0);
	sessions_close(s);
	sessions_close(NULL);
}

static void test_full(void **state)
{
	struct names names = names_of(SESSIONS_MAX);
	struct sessions *s = reopen(NULL);
	uint32_t slot, cursor = 0, n = 0;

	(void)state;
	for (uint32_t i = 0; i < SESSIONS_MAX; i++)
		assert_int_equal(add(s, i), i);
	assert_int_equal(
		sessions_add(s, names.id, names.secret, &names.identity, 1, &slot), -EUSERS);
	for (uint32_t i = 0; i < SESSIONS_MAX; i += 3)
		sessions_remove(s, i);
	s = reopen(s);
	assert_int_equal(sessions_rejected(s), 0);
	for (const struct session_record *r; (r = sessions_next(s, &cursor, &slot)) != NULL; n++) {
		assert_int_equal(r->identity.pid, slot);
		assert_true(slot % 3 != 0);
		assert_int_equal(r->serial, slot + 1);
	}
	assert_int_equal(n, sessions_count(s));
	for (uint32_t i = 0; i < SESSIONS_MAX; i++) {
		assert_int_equal(sessions_find(s, names_of(i).id, &slot), i % 3 ? 0 : -ENOENT);
		if (i % 3)
			assert_int_equal(slot, i);
	}
	assert_int_equal(add(s, 0), 0);
	sessions_close(s);
}

/* Change bytes of the record in a slot while nobody has the file open. */
static void poke(uint32_t slot, size_t offset, const void *bytes, size_t n)
{
	poke_file(NAME, (off_t)(4096 + slot * SIZE + offset), bytes, n);
}

#define FIELD(name) \
	offsetof(struct session_record, name), sizeof(((struct session_record *)0)->name)

static void test_one_bad_field(void **state)
{
	static const struct {
		size_t offset, size;
		uint64_t fill; /* repeated */
	} bad[] = {
		{ FIELD(state), 0x0505050505050505 },
		{ FIELD(state), UINT64_MAX },
		{ FIELD(evidence), 5 },
		{ FIELD(evidence), UINT64_MAX },
		{ FIELD(serial), 0 },
		{ FIELD(serial), UINT64_MAX },
		{ FIELD(serial), 1 }, /* the neighbour's */
		{ FIELD(fencing_token), 0 },
		{ FIELD(fencing_token), FENCING_TOKEN_MAX + 1 },
		{ FIELD(fencing_token), UINT64_MAX },
		{ FIELD(fencing_token), 1 }, /* the neighbour's */
		{ FIELD(id), 0 },            /* the neighbour's */
		{ FIELD(identity.host), UINT64_MAX },
		{ FIELD(identity.exe), UINT64_MAX },
		{ FIELD(identity.cmdline), UINT64_MAX },
		{ FIELD(identity.job), UINT64_MAX },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sessions *s;
		uint8_t fill[256];
		uint32_t found;

		unlinkat(dir, NAME, 0);
		s = reopen(NULL);
		add(s, 0); /* its id is all zero */
		add(s, 1);
		sessions_close(s);
		for (size_t at = 0; at < sizeof(fill); at += 8)
			memcpy(fill + at, &bad[i].fill, 8);
		poke(1, bad[i].offset, fill, bad[i].size);
		s = reopen(NULL);
		assert_int_equal(sessions_rejected(s), 1);
		assert_int_equal(sessions_count(s), 1);
		assert_null(sessions_get(s, 1));
		assert_int_equal(sessions_find(s, names_of(0).id, &found), 0);
		assert_int_equal(found, 0);
		/* Its slot is not given out. */
		assert_int_equal(add(s, 5), 2);
		sessions_close(s);
	}
}

/* Whatever is retired, renewed, forgotten and restarted: no fencing token is anybody's twice. */
static void test_tokens(void **state)
{
	struct sessions *s = reopen(NULL);
	uint32_t a = add(s, 1), b = add(s, 2), found;

	(void)state;
	assert_int_equal(sessions_get(s, a)->fencing_token, 1);
	assert_int_equal(sessions_get(s, b)->fencing_token, 2);
	assert_int_equal(sessions_find_token(s, 2, &found), 0);
	assert_int_equal(found, b);
	assert_false(sessions_gave_token(s, 0));
	assert_true(sessions_gave_token(s, 2));
	assert_false(sessions_gave_token(s, 3));
	sessions_retire_token(s, b);
	sessions_retire_token(s, b);
	assert_int_equal(sessions_find_token(s, 2, &found), -ENOENT);
	assert_int_equal(sessions_find_token(s, 2 | FENCING_TOKEN_RETIRED, &found), -ENOENT);
	/* The next process knows that it is retired, and that it was given. */
	s = reopen(s);
	assert_int_equal(sessions_rejected(s), 0);
	assert_int_equal(sessions_get(s, b)->fencing_token, 2 | FENCING_TOKEN_RETIRED);
	assert_int_equal(sessions_find_token(s, 2, &found), -ENOENT);
	assert_true(sessions_gave_token(s, 2));
	assert_int_equal(sessions_renew_token(s, b), 0);
	assert_int_equal(sessions_get(s, b)->fencing_token, 3);
	assert_int_equal(sessions_renew_token(s, a), 0);
	assert_int_equal(sessions_find_token(s, 1, &found), -ENOENT);
	assert_int_equal(sessions_find_token(s, 4, &found), 0);
	assert_int_equal(found, a);
	assert_int_equal(sessions_renew_token(s, 99), -EUSERS);
	/* What the last one had is known as long as its slot is not used again. */
	sessions_remove(s, a);
	assert_int_equal(sessions_find_token(s, 4, &found), -ENOENT);
	s = reopen(s);
	assert_int_equal(sessions_get(s, add(s, 5))->fencing_token, 5);
	sessions_close(s);
}

/* So many are given that none are left: only a row of records, one for each sixth of all fencing tokens, makes that credible. */
static void test_no_tokens_left(void **state)
{
	struct sessions *s = reopen(NULL);
	struct names names = names_of(7);
	uint32_t slot;

	(void)state;
	for (uint32_t i = 0; i < 6; i++)
		add(s, i);
	sessions_close(s);
	for (uint32_t i = 0; i < 6; i++) {
		const uint64_t fencing_token =
			FENCING_TOKEN_MAX - (5 - i) * (FENCING_TOKEN_MAX / 6);

		poke(i, offsetof(struct session_record, fencing_token), &fencing_token,
			sizeof(fencing_token));
	}
	s = reopen(NULL);
	assert_int_equal(sessions_rejected(s), 0);
	assert_int_equal(sessions_renew_token(s, 0), -EUSERS);
	assert_int_equal(
		sessions_add(s, names.id, names.secret, &names.identity, 0, &slot), -EUSERS);
	sessions_close(s);
}

/* Give the record in a slot another number, with the checksum that it would have. */
static void forge(uint32_t slot, size_t offset, uint64_t value)
{
	struct session_record r, sum;
	int fd = open_file(NAME);

	assert_int_equal(pread(fd, &r, SIZE, (off_t)(4096 + slot * SIZE)), SIZE);
	close(fd);
	memcpy((char *)&r + offset, &value, sizeof(value));
	memcpy(&sum, &r, SIZE);
	sum.state = sum.evidence = 0;
	sum.fencing_token = sum.seen_ns = sum.state_since_ns = sum.expired_ns = 0;
	sum.last_seq = 0;
	sum.marks = 0;
	sum.check = 0;
	r.check = table_sum(&sum, SIZE);
	poke(slot, 0, &r, SIZE);
}

static const struct {
	size_t offset;
	uint64_t value;
} forged[] = {
	{ offsetof(struct session_record, serial), UINT64_MAX - 1 },
	{ offsetof(struct session_record, serial), 1ULL << 63 },
	{ offsetof(struct session_record, fencing_token), FENCING_TOKEN_MAX },
	{ offsetof(struct session_record, fencing_token), 1ULL << 39 },
	{ offsetof(struct session_record, fencing_token),
		FENCING_TOKEN_MAX | FENCING_TOKEN_RETIRED },
};

/* One record, of a session that is there or was, with a number that was never given: the others go on as if it had none. */
static void test_forged_numbers(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * sizeof(forged) / sizeof(forged[0]); i++) {
		const bool there = i % 2;
		struct sessions *s;
		uint32_t slot;

		unlinkat(dir, NAME, 0);
		s = reopen(NULL);
		for (uint32_t n = 1; n <= 3; n++)
			add(s, n);
		if (!there)
			sessions_remove(s, 1);
		sessions_close(s);
		forge(1, forged[i / 2].offset, forged[i / 2].value);
		s = reopen(NULL);
		assert_int_equal(sessions_rejected(s), there);
		assert_int_equal(sessions_count(s), 2);
		slot = add(s, 4);
		assert_int_equal(slot, there ? 3 : 1);
		assert_int_equal(sessions_get(s, slot)->serial, 4);
		assert_int_equal(sessions_get(s, slot)->fencing_token, 4);
		assert_int_equal(sessions_renew_token(s, 0), 0);
		assert_int_equal(sessions_get(s, 0)->fencing_token, 5);
		assert_false(sessions_gave_token(s, FENCING_TOKEN_MAX));
		/* Nor twice, after the next restart. */
		s = reopen(s);
		assert_int_equal(sessions_get(s, add(s, 5))->serial, 5);
		sessions_close(s);
	}
}

/* What the ledger says of a session: no new session is refused for it, and no other one forgotten. */
static void test_forged_number_in_the_ledger(void **state)
{
	struct sessions *s = reopen(NULL);

	(void)state;
	assert_int_equal(add(s, 1), 0);
	sessions_expect(s, 0, UINT64_MAX - 1);
	sessions_expect(s, 1, UINT64_MAX - 1);
	assert_int_equal(sessions_rejected(s), 1);
	assert_non_null(sessions_get(s, 0));
	assert_int_equal(add(s, 2), 2);
	assert_int_equal(sessions_get(s, 2)->serial, 2);
	sessions_close(s);
}

/* A kill between the two stores of a change of state: stale evidence is no reason to forget anybody. */
static void test_torn_state(void **state)
{
	uint32_t evidence = HOLDER_PID_GONE;
	struct sessions *s = reopen(NULL);

	(void)state;
	add(s, 1);
	sessions_close(s);
	poke(0, offsetof(struct session_record, evidence), &evidence, sizeof(evidence));
	s = reopen(NULL);
	assert_int_equal(sessions_rejected(s), 0);
	assert_int_equal(sessions_get(s, 0)->state, SESSION_CONNECTED);
	sessions_close(s);
}

/* The file is lost: what was lent to its sessions is not handed to those who come next. */
/* Any bit of what says who it is: it is nobody's, and not another's. */
static void test_another_name(void **state)
{
	struct sessions *s = reopen(NULL);

	(void)state;
	add(s, 1);
	sessions_close(s);
	for (size_t at = 0; at < sizeof(struct identity) + 2 * ID_SIZE; at++) {
		const size_t where = at < 2 * ID_SIZE ? offsetof(struct session_record, id) + at
						      : offsetof(struct session_record, identity) +
								at - 2 * ID_SIZE;
		int fd = open_file(NAME);
		uint8_t was, is;

		assert_int_equal(pread(fd, &was, 1, (off_t)(4096 + where)), 1);
		close(fd);
		is = was ^ (uint8_t)(1U << at % 8);
		poke(0, where, &is, 1);
		s = reopen(NULL);
		assert_int_equal(sessions_rejected(s), 1);
		assert_int_equal(sessions_count(s), 0);
		sessions_close(s);
		poke(0, where, &was, 1);
	}
	s = reopen(NULL);
	assert_int_equal(sessions_count(s), 1);
	sessions_close(s);
}

static void test_lost_file(void **state)
{
	struct sessions *s = reopen(NULL);
	uint32_t slot;

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		add(s, i);
	sessions_close(s);
	assert_int_equal(unlinkat(dir, NAME, 0), 0);
	s = reopen(NULL);
	for (unsigned block = 0; block < 4; block++)
		sessions_expect(s, 2, 3);
	sessions_expect(s, 0, 1);
	assert_int_equal(sessions_rejected(s), 2);
	slot = add(s, 7);
	assert_int_equal(slot, 1);
	assert_int_equal(sessions_get(s, slot)->serial, 4);
	assert_int_equal(add(s, 8), 3);
	sessions_expect(s, slot, 4);
	assert_int_equal(sessions_rejected(s), 2);
	sessions_close(s);
}

/* An older copy of the file: a session that was forgotten since does not hold what its successor was lent. */
static void test_older_file(void **state)
{
	struct sessions *s = reopen(NULL);
	uint32_t found;

	(void)state;
	assert_int_equal(add(s, 1), 0);
	sessions_expect(s, 0, 2);
	assert_int_equal(sessions_rejected(s), 1);
	assert_null(sessions_get(s, 0));
	assert_int_equal(sessions_find(s, names_of(1).id, &found), -ENOENT);
	assert_int_equal(add(s, 2), 1);
	assert_int_equal(sessions_get(s, 1)->serial, 3);
	sessions_close(s);
}

static void test_latest_time(void **state)
{
	struct sessions *s = reopen(NULL);

	(void)state;
	assert_int_equal(sessions_latest_ns(s, UINT64_MAX), 0);
	add(s, 1);
	add(s, 2);
	sessions_set_state(s, 0, SESSION_DEAD, HOLDER_NO_EVIDENCE, 5000);
	assert_int_equal(sessions_latest_ns(s, UINT64_MAX), 5000);
	assert_int_equal(sessions_latest_ns(s, 4999), 1002);
	sessions_remove(s, 0);
	assert_int_equal(sessions_latest_ns(s, UINT64_MAX), 1002);
	sessions_close(s);
}

static void test_noise(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15ULL, accepted = 0;

	(void)state;
	for (unsigned round = 0; round < 100; round++) {
		struct sessions *s = reopen(NULL);
		uint32_t cursor = 0, slot, found;

		for (uint32_t i = 0; i < 30; i++)
			add(s, i);
		sessions_close(s);
		for (unsigned i = 0; i < 60; i++) {
			uint8_t byte;

			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			byte = (uint8_t)(seed >> 56);
			poke((uint32_t)(seed >> 20) % 32, (size_t)(seed >> 30) % SIZE, &byte, 1);
		}
		s = reopen(NULL);
		while (sessions_next(s, &cursor, &slot)) {
			const struct session_record *r = sessions_get(s, slot);

			accepted++;
			assert_int_equal(sessions_find(s, r->id, &found), 0);
			assert_int_equal(found, slot);
			assert_true(strlen(r->identity.exe) < sizeof(r->identity.exe));
			sessions_set_state(s, slot, SESSION_DETACHED, HOLDER_NO_EVIDENCE, 1);
		}
		sessions_close(s);
		unlinkat(dir, NAME, 0);
	}
	assert_true(accepted > 100); /* most have a byte of what has a checksum changed */
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(session_state_name(SESSION_CONNECTED), "connected");
	assert_string_equal(session_state_name(SESSION_DETACHED), "detached");
	assert_string_equal(session_state_name(SESSION_CLOSED), "closed");
	assert_string_equal(session_state_name(SESSION_DEAD), "dead");
	assert_string_equal(session_state_name(1234), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_life),
		IN_DIR(test_journal),
		IN_DIR(test_full),
		IN_DIR(test_one_bad_field),
		IN_DIR(test_tokens),
		IN_DIR(test_no_tokens_left),
		IN_DIR(test_forged_numbers),
		IN_DIR(test_forged_number_in_the_ledger),
		IN_DIR(test_torn_state),
		IN_DIR(test_another_name),
		IN_DIR(test_lost_file),
		IN_DIR(test_older_file),
		IN_DIR(test_latest_time),
		IN_DIR(test_noise),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
