/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks that processes share: what is done under one is done by one, whoever is killed or stopped meanwhile,
 * and nobody who has lost it can still write.
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "rmem/objects.h"
#include "tests/rxe/peer.h"

#define PORT 7565
#define WORDS 512U
#define BYTES 8192UL
#define NOTE 64UL /* where the words begin that the lock protects */

static const char *const patient[] = { "--ttl", "10m", NULL };
static const char *const brief[] = { "--ttl", "2s", NULL };

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

static void add_one(struct rmem *rm, struct rmem_lock *lock, rmem_addr_t addr)
{
	uint64_t note = 0;
	int rc;

	while (is_passing(rc = rmem_lock_acquire(lock, -1)))
		;
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
}

static int play_adder(struct rmem *rm, const struct peer_task *t)
{
	struct rmem_lock *lock = NULL;

	peer_must(rmem_lock_create(rm, t->addr, &lock), "create");
	peer_say(0);
	for (uint64_t i = 0; i < t->number; i++)
		add_one(rm, lock, t->addr);
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

/* Starts writes on a queue and does not reap them before it is told to. */
static int play_queuer(struct rmem *rm, const struct peer_task *t)
{
	struct rmem_completion done[64];
	struct rmem_queue *q = NULL;
	struct rmem_lock *lock = NULL;
	int n = 0;

	for (unsigned i = 0; i < WORDS; i++)
		words[i] = t->number;
	peer_must(rmem_lock_create(rm, t->addr, &lock), "create");
	peer_must(rmem_queue_create(rm, NULL, &q), "queue");
	peer_must(rmem_lock_acquire(lock, -1), "acquire");
	for (int i = 0; i < 64; i++)
		peer_must(rmem_start_write(q, t->addr + NOTE, words, sizeof(words), 0), "start");
	peer_say(0);
	peer_wait();
	peer_say(rmem_lock_release(lock));
	while (n < 64)
		n += peer_must(rmem_reap(q, done + n, 64 - n, -1), "reap");
	peer_say(done[63].status);
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

/* ---- the tests ---- */

#define PEERS 3

struct scene {
	struct rig *rig;
	struct rmem *rm;
	struct rmem_lock *lock;
	struct peer_task task;
};

static struct peer peers[PEERS];

static int end_peers(void **state)
{
	for (int i = 0; i < PEERS; i++)
		peer_end(&peers[i]);
	return rig_teardown(state);
}

static void open_scene(struct scene *sc, struct rig *r, const char *const options[])
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;

	memset(sc, 0, sizeof(*sc));
	sc->rig = r;
	attr.timeout_ms = RIG_LIMIT_MS;
	rig_start(r, options);
	if (rmem_open(r->server, &attr, &sc->rm) ||
		rmem_alloc(sc->rm, BYTES, NULL, &sc->task.addr) ||
		rmem_share(sc->rm, sc->task.addr, &sc->task.key) ||
		rmem_lock_create(sc->rm, sc->task.addr, &sc->lock))
		fail_msg("%s", rmem_errmsg());
	sc->task.server = r->server;
}

static void close_scene(struct scene *sc)
{
	rmem_lock_destroy(sc->lock);
	assert_int_equal(rmem_free(sc->rm, sc->task.addr), 0);
	assert_int_equal(rmem_close(sc->rm), 0);
	rig_stop(sc->rig, false);
}

static struct peer *start(struct scene *sc, int i, const char *role, uint64_t number)
{
	sc->task.role = role;
	sc->task.number = number;
	peer_start(&peers[i], &sc->task);
	return &peers[i];
}

static void note_is(struct scene *sc, uint64_t wanted)
{
	uint64_t note = 0;
	int rc = read_note(sc->rm, sc->task.addr, &note);

	if (rc)
		fail_msg("the note: %d %s", rc, rmem_errmsg());
	assert_int_equal(note, wanted);
}

static void test_contention(void **state)
{
	struct scene sc;

	open_scene(&sc, *state, patient);
	for (int i = 0; i < PEERS; i++)
		start(&sc, i, "adder", 60);
	for (int i = 0; i < 40; i++)
		add_one(sc.rm, sc.lock, sc.task.addr);
	for (int i = 0; i < PEERS; i++)
		peer_finish(&peers[i]);
	note_is(&sc, 60 * PEERS + 40);
	close_scene(&sc);
}

static struct scene shared;

static void *add_in_thread(void *arg)
{
	struct rmem_lock *lock = NULL;
	uint64_t word;

	(void)arg;
	if (rmem_lock_create(shared.rm, shared.task.addr, &lock))
		return NULL;
	for (int i = 0; i < 50; i++) {
		if (rmem_lock_acquire(lock, -1) ||
			rmem_read(shared.rm, &word, shared.task.addr + 8, 8))
			break;
		word++;
		if (rmem_write(shared.rm, shared.task.addr + 8, &word, 8) ||
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

	open_scene(&shared, *state, patient);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_in_thread, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(rmem_read(shared.rm, &word, shared.task.addr + 8, 8), 0);
	assert_int_equal(word, 200);
	close_scene(&shared);
}

static bool is_connected(struct scene *sc, pid_t pid)
{
	json_t *sessions = rig_ask(sc->rig, "sessions");
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
	assert_int_equal(write_note(sc->rm, sc->task.addr, 77), 0);
}

static void test_killed_holder(void **state)
{
	struct scene sc;

	open_scene(&sc, *state, patient);
	for (int i = 0; i < 5; i++) {
		struct peer *p = start(&sc, 0, "writer", 1000);
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

static void test_stopped_holder(void **state)
{
	struct scene sc;
	struct peer *p;

	open_scene(&sc, *state, brief);
	p = start(&sc, 0, "writer", 1000);
	assert_int_equal(peer_hear(p), 0);
	peer_freeze(p);
	take_over(&sc, p->process.pid);
	peer_thaw(p);
	assert_int_equal(peer_hear(p), -EOWNERDEAD); /* its write */
	assert_int_equal(peer_hear(p), -EOWNERDEAD); /* its read */
	assert_int_equal(peer_hear(p), -ESTALE);     /* its release */
	assert_int_equal(peer_hear(p), 0);           /* then it may read again */
	for (int k = 0; k < 20; k++)
		note_is(&sc, 77);
	peer_tell(p);
	peer_finish(p);
	note_is(&sc, 77);
	assert_int_equal(rmem_lock_release(sc.lock), 0);
	close_scene(&sc);
}

/* What it had started before it lost the lock is not repeated after it has given it up. */
static void test_stopped_with_writes_in_a_queue(void **state)
{
	struct scene sc;
	struct peer *p;

	open_scene(&sc, *state, brief);
	p = start(&sc, 0, "queuer", 4711);
	assert_int_equal(peer_hear(p), 0);
	peer_freeze(p);
	take_over(&sc, p->process.pid);
	peer_tell(p);
	peer_thaw(p);
	assert_int_equal(peer_hear(p), -ESTALE);
	(void)peer_hear(p); /* those that had arrived before are done */
	for (int k = 0; k < 20; k++)
		note_is(&sc, 77);
	peer_tell(p);
	peer_finish(p);
	note_is(&sc, 77);
	assert_int_equal(rmem_lock_release(sc.lock), 0);
	close_scene(&sc);
}

/* A restart of rmemd takes the lock from nobody. */
static void test_restart(void **state)
{
	struct scene sc;
	struct peer *p;

	open_scene(&sc, *state, patient);
	p = start(&sc, 0, "holder", 0);
	assert_int_equal(peer_hear(p), 0);
	rig_kill(sc.rig);
	rig_start(sc.rig, patient);
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
	struct scene sc;

	open_scene(&sc, *state, patient);
	for (int i = 0; i < PEERS; i++)
		start(&sc, i, "adder", 100);
	for (int i = 0; i < PEERS; i++)
		assert_int_equal(peer_hear(&peers[i]), 0);
	for (int i = 0; i < 4; i++) {
		for (int k = 0; k < 10; k++)
			add_one(sc.rm, sc.lock, sc.task.addr);
		rig_kill(sc.rig);
		rig_start(sc.rig, patient);
	}
	for (int i = 0; i < PEERS; i++)
		peer_finish(&peers[i]);
	note_is(&sc, 100 * PEERS + 40);
	close_scene(&sc);
}

static void test_errors(void **state)
{
	const uint64_t garbage = 0x1234567890abcdef;
	struct rmem_lock *other = NULL;
	struct scene sc;
	struct rmem_lock *bad = NULL;

	open_scene(&sc, *state, patient);
	assert_int_equal(rmem_lock_create(NULL, sc.task.addr, &bad), -EINVAL);
	assert_int_equal(rmem_lock_create(sc.rm, sc.task.addr + 4, &bad), -EINVAL);
	assert_int_equal(rmem_lock_create(sc.rm, 0, &bad), -EINVAL);
	assert_int_equal(rmem_lock_create(sc.rm, sc.task.addr, NULL), -EINVAL);
	assert_null(bad);
	assert_int_equal(rmem_lock_acquire(NULL, 0), -EINVAL);
	assert_int_equal(rmem_lock_release(NULL), -EINVAL);
	assert_int_equal(rmem_lock_release(sc.lock), -EINVAL);
	assert_int_equal(rmem_lock_acquire(sc.lock, 0), 0);
	assert_int_equal(rmem_lock_acquire(sc.lock, 0), -EDEADLK);
	assert_int_equal(rmem_lock_create(sc.rm, sc.task.addr, &other), 0);
	assert_int_equal(rmem_lock_acquire(other, 0), -ETIMEDOUT);
	assert_int_equal(rmem_lock_acquire(other, 120), -ETIMEDOUT);
	rmem_lock_destroy(sc.lock); /* releases */
	assert_int_equal(rmem_lock_acquire(other, 0), 0);
	/* Somebody wrote over it. */
	assert_int_equal(rmem_write(sc.rm, sc.task.addr, &garbage, sizeof(garbage)), 0);
	assert_int_equal(rmem_lock_release(other), -ESTALE);
	assert_int_equal(rmem_lock_acquire(other, -1), -EILSEQ);
	rmem_lock_destroy(other);
	rmem_lock_destroy(NULL);
	assert_int_equal(rmem_lock_create(sc.rm, sc.task.addr + BYTES, &sc.lock), 0);
	assert_int_equal(rmem_lock_acquire(sc.lock, 0), -EFAULT);
	close_scene(&sc);
}

#define PEER_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, end_peers)

int main(int argc, char **argv)
{
	static const struct peer_role roles[] = {
		{ "adder", play_adder },
		{ "writer", play_writer },
		{ "queuer", play_queuer },
		{ "holder", play_holder },
		{ NULL, NULL },
	};
	const struct CMUnitTest tests[] = {
		PEER_TEST(test_errors),
		PEER_TEST(test_threads),
		PEER_TEST(test_contention),
		PEER_TEST(test_killed_holder),
		PEER_TEST(test_stopped_holder),
		PEER_TEST(test_stopped_with_writes_in_a_queue),
		PEER_TEST(test_restart),
		PEER_TEST(test_restarts_under_contention),
	};

	if (argc == 6)
		return peer_main(argv, roles);
	return rig_main(PORT, tests, sizeof(tests) / sizeof(tests[0]));
}
