/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks that processes share: what is done under one is done by one, whoever is killed or stopped meanwhile,
 * and nobody who has lost it can still write.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "rmem/objects.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/peer.h"

#define WORDS 512U
#define BYTES 8192UL
#define WRITES 512 /* in a queue: several times what is given to the device */
#define TRIES 10
#define NOTE 64UL /* where the words begin that the lock protects */

/* ---- what the peers do ---- */

static uint64_t words[WORDS];

/* Every word is the same, or somebody was in the middle of it. */
static int read_note(struct rmem *rm, rmem_addr_t addr, uint64_t *out)
{
	int rc = rmem_read(rm, words, addr + NOTE, sizeof(words));

	if (rc)
		return rc;
	for (unsigned i = 1; i < WORDS; i++)
		if (words[i] != words[0])
			return -EBADMSG;
	*out = words[0];
	return 0;
}

/* In two halves, so that there is a middle. */
static int write_note(struct rmem *rm, rmem_addr_t addr, uint64_t value)
{
	int rc;

	for (unsigned i = 0; i < WORDS; i++)
		words[i] = value;
	rc = rmem_write(rm, addr + NOTE, words, sizeof(words) / 2);
	if (rc)
		return rc;
	return rmem_write(rm, addr + NOTE + sizeof(words) / 2, words, sizeof(words) / 2);
}

/* Again, if only the connection was in the way. */
static bool is_passing(int rc)
{
	return rc == -ECONNRESET || rc == -ETIMEDOUT || rc == -EREMOTEIO;
}

/* Has somebody else had the lock when we came? */
static bool add_one(struct rmem *rm, struct rmem_lock *lock, rmem_addr_t addr)
{
	uint64_t note = 0;
	bool contended = false;
	int rc;

	while (is_passing(rc = rmem_lock_acquire(lock, contended ? -1 : 0)))
		contended = contended || rc == -ETIMEDOUT;
	peer_must(rc, "acquire");
	while (is_passing(rc = read_note(rm, addr, &note)))
		;
	peer_must(rc, "read");
	while (is_passing(rc = write_note(rm, addr, note + 1)))
		;
	peer_must(rc, "write");
	while (is_passing(rc = rmem_lock_release(lock)))
		;
	peer_must(rc, "release");
	return contended;
}

/* Begins when it is told to, and says how often it had to wait for the lock. */
static int play_adder(struct rmem *rm, const struct peer_task *t)
{
	struct rmem_lock *lock = NULL;
	int64_t contended = 0;

	peer_must(rmem_lock_create(rm, t->addr, &lock), "create");
	peer_say(0);
	peer_wait();
	for (uint64_t i = 0; i < t->number; i++)
		contended += add_one(rm, lock, t->addr);
	peer_say(contended);
	rmem_lock_destroy(lock);
	return peer_must(rmem_close(rm), "close");
}

/* Takes the lock and writes as fast as it can, until it cannot any more. */
static int play_writer(struct rmem *rm, const struct peer_task *t)
{
	struct rmem_lock *lock = NULL;
	uint64_t note;
	int rc = 0;

	peer_must(rmem_lock_create(rm, t->addr, &lock), "create");
	peer_say(peer_must(rmem_lock_acquire(lock, -1), "acquire"));
	for (uint64_t i = 0; rc == 0; i++)
		rc = write_note(rm, t->addr, t->number + i);
	peer_say(rc);
	peer_say(rmem_read(rm, &note, t->addr + NOTE, sizeof(note)));
	peer_say(rmem_lock_release(lock));
	peer_say(rmem_read(rm, &note, t->addr + NOTE, sizeof(note)));
	peer_wait();
	rmem_lock_destroy(lock);
	return peer_must(rmem_close(rm), "close");
}

/* Reap all of them. How many were done; the others ended with *error. */
static int reap_writes(struct rmem_queue *q, int64_t *error)
{
	struct rmem_completion done[64];
	int done_well = 0;

	*error = 0;
	for (int left = WRITES; left > 0;) {
		int n = peer_must(rmem_reap(q, done, 64, -1), "reap");

		for (int i = 0; i < n; i++) {
			done_well += done[i].status == 0;
			*error = done[i].status ? done[i].status : *error;
		}
		left -= n;
	}
	return done_well;
}

/* Starts writes on a queue, more than the device takes at once, and does not reap them before it is told to. */
static int play_queuer(struct rmem *rm, const struct peer_task *t)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	struct rmem_queue *q = NULL;
	struct rmem_lock *lock = NULL;
	int64_t error;

	for (unsigned i = 0; i < WORDS; i++)
		words[i] = t->number;
	attr.depth = WRITES;
	peer_must(rmem_lock_create(rm, t->addr, &lock), "create");
	peer_must(rmem_queue_create(rm, &attr, &q), "queue");
	peer_must(rmem_lock_acquire(lock, -1), "acquire");
	for (int i = 0; i < WRITES; i++)
		peer_must(rmem_start_write(q, t->addr + NOTE, words, sizeof(words), 0), "start");
	peer_say(0);
	peer_wait();
	peer_say(rmem_lock_release(lock));
	peer_say(reap_writes(q, &error));
	peer_say(error);
	peer_wait();
	rmem_queue_destroy(q);
	rmem_lock_destroy(lock);
	return peer_must(rmem_close(rm), "close");
}

static int play_holder(struct rmem *rm, const struct peer_task *t)
{
	struct rmem_lock *lock = NULL;

	peer_must(rmem_lock_create(rm, t->addr, &lock), "create");
	peer_say(peer_must(rmem_lock_acquire(lock, -1), "acquire"));
	peer_wait();
	peer_say(rmem_lock_release(lock));
	rmem_lock_destroy(lock);
	return peer_must(rmem_close(rm), "close");
}

/* Has two locks, and wants the first again after it has lost both. The number is how far the second is from it. */
static int play_asker(struct rmem *rm, const struct peer_task *t)
{
	struct rmem_lock *lock = NULL, *other = NULL;
	uint64_t note;

	peer_must(rmem_lock_create(rm, t->addr, &lock), "create");
	peer_must(rmem_lock_create(rm, t->addr + t->number, &other), "create");
	peer_must(rmem_lock_acquire(other, -1), "acquire");
	peer_say(peer_must(rmem_lock_acquire(lock, -1), "acquire"));
	peer_wait();
	peer_say(rmem_lock_acquire(lock, 0));
	peer_say(rmem_lock_acquire(lock, 0));
	peer_say(rmem_read(rm, &note, t->addr + NOTE, sizeof(note)));
	peer_say(rmem_lock_acquire(other, 0));
	peer_say(rmem_lock_acquire(other, 0));
	peer_say(rmem_lock_acquire(lock, 0));
	peer_say(rmem_lock_release(lock));
	peer_wait();
	rmem_lock_destroy(other);
	rmem_lock_destroy(lock);
	return peer_must(rmem_close(rm), "close");
}

/* ---- the tests ---- */

struct scene {
	struct peer_scene at;
	struct rmem_lock *lock;
};

static void open_scene(struct scene *sc, struct rig *r, const char *const options[])
{
	peer_scene_open(&sc->at, r, options, BYTES);
	lib_succeed(rmem_lock_create(sc->at.rm, sc->at.task.addr, &sc->lock));
}

static void close_scene(struct scene *sc)
{
	rmem_lock_destroy(sc->lock);
	peer_scene_close(&sc->at);
}

static void note_is(struct scene *sc, uint64_t wanted)
{
	uint64_t note = 0;
	int rc = read_note(sc->at.rm, sc->at.task.addr, &note);

	if (rc)
		fail_msg("the note: %d %s", rc, rmem_errmsg());
	assert_int_equal(note, wanted);
}

/* Adders, each at the same time as the others. */
static void start_adders(struct scene *sc, uint64_t number)
{
	for (int i = 0; i < PEERS; i++)
		peer_scene_start(&sc->at, i, "adder", number);
	for (int i = 0; i < PEERS; i++)
		assert_int_equal(peer_hear(&sc->at.peers[i]), 0);
	for (int i = 0; i < PEERS; i++)
		peer_tell(&sc->at.peers[i]);
}

/* How often did they have to wait for the lock? */
static int64_t finish_adders(struct scene *sc)
{
	int64_t sum = 0;

	for (int i = 0; i < PEERS; i++) {
		int64_t contended = peer_hear(&sc->at.peers[i]);

		assert_true(contended >= 0);
		sum += contended;
		peer_finish(&sc->at.peers[i]);
	}
	return sum;
}

static void test_contention(void **state)
{
	int64_t contended = 0;
	struct scene sc;
	int rounds = 0;

	open_scene(&sc, *state, peer_patient);
	do {
		start_adders(&sc, 60);
		for (int i = 0; i < 40; i++)
			(void)add_one(sc.at.rm, sc.lock, sc.at.task.addr);
		contended += finish_adders(&sc);
		note_is(&sc, ++rounds * (60 * PEERS + 40));
	} while (contended < PEERS && rounds < TRIES);
	printf("%lld of %d had to wait\n", (long long)contended, rounds * 60 * PEERS);
	assert_true(contended >= PEERS); /* or nothing was tested */
	close_scene(&sc);
}

static struct scene shared;

static void *add_in_thread(void *arg)
{
	struct rmem_lock *lock = NULL;
	uint64_t word;

	(void)arg;
	if (rmem_lock_create(shared.at.rm, shared.at.task.addr, &lock))
		return NULL;
	for (int i = 0; i < 50; i++) {
		if (rmem_lock_acquire(lock, -1) ||
			rmem_read(shared.at.rm, &word, shared.at.task.addr + 8, 8))
			break;
		word++;
		if (rmem_write(shared.at.rm, shared.at.task.addr + 8, &word, 8) ||
			rmem_lock_release(lock))
			break;
	}
	rmem_lock_destroy(lock);
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];
	uint64_t word = 0;

	open_scene(&shared, *state, peer_patient);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_in_thread, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(rmem_read(shared.at.rm, &word, shared.at.task.addr + 8, 8), 0);
	assert_int_equal(word, 200);
	close_scene(&shared);
}

static bool is_connected(struct scene *sc, pid_t pid)
{
	json_t *sessions = rig_ask(sc->at.rig, "sessions");
	const json_t *session = rig_session(sessions, pid);
	bool connected = session && strcmp(rig_text(session, "state"), "connected") == 0;

	json_decref(sessions);
	return connected;
}

/* Have the lock, from somebody who is out; what we write stays. */
static void take_over(struct scene *sc, pid_t pid)
{
	if (rmem_lock_acquire(sc->lock, RIG_LIMIT_MS) != RMEM_LOCK_OWNER_DIED)
		fail_msg("%s", rmem_errmsg());
	assert_false(is_connected(sc, pid));
	assert_int_equal(write_note(sc->at.rm, sc->at.task.addr, 77), 0);
}

static void test_killed_holder(void **state)
{
	struct scene sc;

	open_scene(&sc, *state, peer_patient);
	for (int i = 0; i < 5; i++) {
		struct peer *p = peer_scene_start(&sc.at, 0, "writer", 1000);
		pid_t pid = p->process.pid;

		assert_int_equal(peer_hear(p), 0);
		assert_int_equal(rmem_lock_acquire(sc.lock, 0), -ETIMEDOUT);
		peer_kill(p);
		peer_end(p);
		take_over(&sc, pid);
		for (int k = 0; k < 20; k++)
			note_is(&sc, 77);
		assert_int_equal(rmem_lock_release(sc.lock), 0);
		/* Who comes next is told nothing. */
		assert_int_equal(rmem_lock_acquire(sc.lock, 0), 0);
		assert_int_equal(rmem_lock_release(sc.lock), 0);
	}
	/* A dead holder leaves no allocation behind here: it only attached ours. */
	close_scene(&sc);
}

/* Take it over from one that stands still. */
static struct peer *stop_and_take_over(struct scene *sc, const char *role, uint64_t number)
{
	struct peer *p = peer_scene_start(&sc->at, 0, role, number);

	assert_int_equal(peer_hear(p), 0);
	peer_freeze(p);
	take_over(sc, p->process.pid);
	return p;
}

/* It goes on, and ends: what we wrote stays. */
static void outlast(struct scene *sc, struct peer *p)
{
	for (int k = 0; k < 20; k++)
		note_is(sc, 77);
	peer_tell(p);
	peer_finish(p);
	note_is(sc, 77);
	assert_int_equal(rmem_lock_release(sc->lock), 0);
}

static void test_stopped_holder(void **state)
{
	struct scene sc;
	struct peer *p;

	open_scene(&sc, *state, peer_brief);
	p = stop_and_take_over(&sc, "writer", 1000);
	peer_thaw(p);
	assert_int_equal(peer_hear(p), -EOWNERDEAD); /* its write */
	assert_int_equal(peer_hear(p), -EOWNERDEAD); /* its read */
	assert_int_equal(peer_hear(p), -ESTALE);     /* its release */
	assert_int_equal(peer_hear(p), 0);           /* then it may read again */
	outlast(&sc, p);
	close_scene(&sc);
}

/* It acquires where it should have released: that says once that it was lost, and never that it is held. */
static void test_stopped_holder_asks(void **state)
{
	struct scene sc;
	struct peer *p;

	open_scene(&sc, *state, peer_brief);
	p = stop_and_take_over(&sc, "asker", BYTES - RMEM_LOCK_BYTES);
	peer_tell(p);
	peer_thaw(p);
	assert_int_equal(peer_hear(p), -ESTALE);
	assert_int_equal(peer_hear(p), -EOWNERDEAD);          /* the other one */
	assert_int_equal(peer_hear(p), -EOWNERDEAD);          /* its read */
	assert_int_equal(peer_hear(p), -ESTALE);              /* the other one, in the same way */
	assert_int_equal(peer_hear(p), RMEM_LOCK_OWNER_DIED); /* which nobody has had since */
	assert_int_equal(peer_hear(p), -ETIMEDOUT);           /* we have that */
	assert_int_equal(peer_hear(p), -EINVAL);
	outlast(&sc, p);
	close_scene(&sc);
}

/* What it had started before it lost the lock is not repeated after it has given it up. */
static void test_stopped_with_writes_in_a_queue(void **state)
{
	struct scene sc;
	struct peer *p;
	int64_t done;

	open_scene(&sc, *state, peer_brief);
	p = stop_and_take_over(&sc, "queuer", 4711);
	peer_tell(p);
	peer_thaw(p);
	assert_int_equal(peer_hear(p), -ESTALE);
	/* Those that had arrived before are done; the device cannot have had all. */
	done = peer_hear(p);
	printf("%lld of %d writes were done before the freeze\n", (long long)done, WRITES);
	assert_in_range(done, 0, WRITES - 1);
	assert_int_equal(peer_hear(p), -EOWNERDEAD);
	outlast(&sc, p);
	close_scene(&sc);
}

/* A restart of rmemd takes the lock from nobody. */
static void test_restart(void **state)
{
	struct scene sc;
	struct peer *p;

	open_scene(&sc, *state, peer_patient);
	p = peer_scene_start(&sc.at, 0, "holder", 0);
	assert_int_equal(peer_hear(p), 0);
	rig_kill(sc.at.rig);
	rig_start(sc.at.rig, peer_patient);
	assert_int_equal(rmem_lock_acquire(sc.lock, 500), -ETIMEDOUT);
	peer_tell(p);
	assert_int_equal(peer_hear(p), 0);
	assert_int_equal(rmem_lock_acquire(sc.lock, RIG_LIMIT_MS), 0);
	assert_int_equal(rmem_lock_release(sc.lock), 0);
	peer_finish(p);
	close_scene(&sc);
}

/* It is restarted again and again under those who contend. */
static void test_restarts_under_contention(void **state)
{
	int64_t contended;
	struct scene sc;
	int rounds = 0;

	open_scene(&sc, *state, peer_patient);
	do {
		start_adders(&sc, 100);
		for (int i = 0; i < 4; i++) {
			for (int k = 0; k < 10; k++)
				(void)add_one(sc.at.rm, sc.lock, sc.at.task.addr);
			rig_kill(sc.at.rig);
			rig_start(sc.at.rig, peer_patient);
		}
		contended = finish_adders(&sc);
		note_is(&sc, ++rounds * (100 * PEERS + 40));
	} while (contended == 0 && rounds < TRIES);
	assert_true(contended > 0); /* or nothing was tested */
	close_scene(&sc);
}

/* Another session's handle for a lock in memory that is the scene's own. */
struct guest {
	struct rmem *rm;
	struct rmem_share_key key;
	rmem_addr_t addr;
	struct rmem_lock *lock;
};

static struct guest guest_open(struct scene *sc)
{
	struct guest g = { .rm = lib_open(sc->at.rig->server, 0),
		.addr = lib_alloc(sc->at.rm, 64) };

	lib_succeed(rmem_share(sc->at.rm, g.addr, &g.key));
	lib_succeed(rmem_attach(g.rm, g.addr, &g.key, NULL));
	lib_succeed(rmem_lock_create(g.rm, g.addr, &g.lock));
	assert_int_equal(rmem_lock_acquire(g.lock, 0), 0);
	return g;
}

static void guest_close(struct guest *g)
{
	rmem_lock_destroy(g->lock);
	lib_succeed(rmem_close(g->rm));
}

static void is_gone(int rc)
{
	if (rc != -ESTALE && rc != -EFAULT)
		fail_msg("%d %s", rc, rmem_errmsg());
}

/* Its owner frees the memory, with the lock in it: the handle says so, and has nothing any more. */
static void test_memory_gone(void **state)
{
	struct scene sc;
	struct guest g;

	open_scene(&sc, *state, peer_patient);
	g = guest_open(&sc);
	lib_succeed(rmem_free(sc.at.rm, g.addr));
	lib_expect(rmem_lock_release(g.lock), -ESTALE, "is not held any more");
	assert_int_equal(rmem_lock_release(g.lock), -EINVAL);
	is_gone(rmem_lock_acquire(g.lock, 1000));
	guest_close(&g);

	g = guest_open(&sc);
	lib_succeed(rmem_free(sc.at.rm, g.addr));
	lib_expect(rmem_lock_acquire(g.lock, 1000), -ESTALE, "is not held any more");
	assert_int_equal(rmem_lock_release(g.lock), -EINVAL);
	is_gone(rmem_lock_acquire(g.lock, 1000));
	guest_close(&g);
	close_scene(&sc);
}

/* Its owner frees the memory while it has the lock, and has other memory there. */
static void test_memory_replaced(void **state)
{
	struct rmem_share_key key;
	struct rmem_lock *other = NULL;
	struct scene sc;
	struct rmem *rm;

	open_scene(&sc, *state, peer_patient);
	rm = lib_open(sc.at.rig->server, 0);
	lib_succeed(rmem_lock_acquire(sc.lock, 0));
	lib_replace(sc.at.rm, sc.at.task.addr, BYTES);
	lib_expect(rmem_lock_acquire(sc.lock, 0), -ESTALE, "had been lost");
	assert_int_equal(rmem_lock_release(sc.lock), -EINVAL);
	lib_succeed(rmem_lock_acquire(sc.lock, 0));
	assert_int_equal(rmem_lock_acquire(sc.lock, 0), -EDEADLK);

	/* Somebody else has the lock that is there now. */
	lib_replace(sc.at.rm, sc.at.task.addr, BYTES);
	lib_succeed(rmem_share(sc.at.rm, sc.at.task.addr, &key));
	lib_succeed(rmem_attach(rm, sc.at.task.addr, &key, NULL));
	lib_succeed(rmem_lock_create(rm, sc.at.task.addr, &other));
	lib_succeed(rmem_lock_acquire(other, 0));
	lib_expect(rmem_lock_acquire(sc.lock, 0), -ESTALE, "had been lost");
	lib_expect(rmem_lock_acquire(sc.lock, 0), -ETIMEDOUT, "by another session");
	lib_succeed(rmem_lock_release(other));
	lib_succeed(rmem_lock_acquire(sc.lock, 0));

	lib_replace(sc.at.rm, sc.at.task.addr, BYTES);
	lib_expect(rmem_lock_release(sc.lock), -ESTALE, "freed and allocated anew");
	rmem_lock_destroy(other);
	lib_succeed(rmem_close(rm));
	close_scene(&sc);
}

/* It is there, but not for this session just now. */
static void test_memory_detached(void **state)
{
	struct scene sc;
	struct guest g;

	open_scene(&sc, *state, peer_patient);
	g = guest_open(&sc);
	lib_succeed(rmem_detach(g.rm, g.addr));
	lib_expect(rmem_lock_release(g.lock), -EFAULT, "not in any allocation");
	lib_expect(rmem_lock_acquire(g.lock, 1000), -EFAULT, "not in any allocation");
	lib_succeed(rmem_attach(g.rm, g.addr, &g.key, NULL));
	assert_int_equal(rmem_lock_acquire(g.lock, 0), -EDEADLK);
	lib_succeed(rmem_lock_release(g.lock));
	lib_succeed(rmem_lock_acquire(g.lock, 0));
	guest_close(&g);
	lib_succeed(rmem_free(sc.at.rm, g.addr));
	close_scene(&sc);
}

static void test_errors(void **state)
{
	const uint64_t garbage = 0x1234567890abcdef, free_word = 0;
	struct rmem_lock *other = NULL;
	struct scene sc;
	struct rmem_lock *bad = NULL;

	open_scene(&sc, *state, peer_patient);
	assert_int_equal(rmem_lock_create(NULL, sc.at.task.addr, &bad), -EINVAL);
	assert_int_equal(rmem_lock_create(sc.at.rm, sc.at.task.addr + 4, &bad), -EINVAL);
	assert_int_equal(rmem_lock_create(sc.at.rm, 0, &bad), -EINVAL);
	assert_non_null(strstr(rmem_errmsg(), "null"));
	assert_int_equal(rmem_lock_create(sc.at.rm, sc.at.task.addr, NULL), -EINVAL);
	assert_null(bad);
	assert_int_equal(rmem_lock_acquire(NULL, 0), -EINVAL);
	assert_int_equal(rmem_lock_release(NULL), -EINVAL);
	assert_int_equal(rmem_lock_release(sc.lock), -EINVAL);
	assert_int_equal(rmem_lock_acquire(sc.lock, 0), 0);
	assert_int_equal(rmem_lock_acquire(sc.lock, 0), -EDEADLK);
	assert_int_equal(rmem_lock_create(sc.at.rm, sc.at.task.addr, &other), 0);
	assert_int_equal(rmem_lock_acquire(other, 0), -ETIMEDOUT);
	assert_int_equal(rmem_lock_acquire(other, 120), -ETIMEDOUT);
	assert_non_null(strstr(rmem_errmsg(), "by another handle of this session"));
	rmem_lock_destroy(sc.lock); /* releases */
	assert_int_equal(rmem_lock_acquire(other, 0), 0);
	/* Somebody wrote over it. */
	assert_int_equal(rmem_write(sc.at.rm, sc.at.task.addr, &garbage, sizeof(garbage)), 0);
	lib_expect(rmem_lock_acquire(other, 0), -ESTALE, "somebody wrote over it");
	assert_int_equal(rmem_lock_release(other), -EINVAL);
	assert_int_equal(rmem_lock_acquire(other, -5), -EILSEQ);
	assert_int_equal(rmem_write(sc.at.rm, sc.at.task.addr, &free_word, sizeof(free_word)), 0);
	assert_int_equal(rmem_lock_acquire(other, 0), 0);
	assert_int_equal(rmem_write(sc.at.rm, sc.at.task.addr, &garbage, sizeof(garbage)), 0);
	lib_expect(rmem_lock_release(other), -ESTALE, "somebody wrote over it");
	rmem_lock_destroy(other);
	rmem_lock_destroy(NULL);
	assert_int_equal(rmem_lock_create(sc.at.rm, sc.at.task.addr + BYTES, &sc.lock), 0);
	assert_int_equal(rmem_lock_acquire(sc.lock, 0), -EFAULT);
	close_scene(&sc);
}

int main(int argc, char **argv)
{
	static const struct peer_role roles[] = {
		{ "adder", play_adder },
		{ "writer", play_writer },
		{ "queuer", play_queuer },
		{ "holder", play_holder },
		{ "asker", play_asker },
		{ NULL, NULL },
	};
	const struct CMUnitTest tests[] = {
		PEER_TEST(test_memory_gone),
		PEER_TEST(test_memory_replaced),
		PEER_TEST(test_memory_detached),
		PEER_TEST(test_errors),
		PEER_TEST(test_threads),
		PEER_TEST(test_contention),
		PEER_TEST(test_killed_holder),
		PEER_TEST(test_stopped_holder),
		PEER_TEST(test_stopped_holder_asks),
		PEER_TEST(test_stopped_with_writes_in_a_queue),
		PEER_TEST(test_restart),
		PEER_TEST(test_restarts_under_contention),
	};

	if (argc == 6)
		return peer_main(argv, roles);
	return rig_main(RIG_PORT_LOCKS, tests, sizeof(tests) / sizeof(tests[0]));
}
