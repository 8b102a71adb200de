/* SPDX-License-Identifier: BSD-3-Clause */
/* Which thread has which channel, without a server: connecting (reconnect_channel()) is replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "client/data/reconnect.h"
#include "client/space/thread_channels.h"
#include "tests/support/heap.h"

#define VISITORS 10000
#define ALIVE 8
#define COPIES 4

static struct vitals vitals;
static struct session session;
static struct thread_channels channels;
static atomic_uint made;
static unsigned refused; /* bit N: the Nth that is to be made */

int __wrap_reconnect_channel(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo);

int __wrap_reconnect_channel(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo)
{
	(void)ch;
	(void)deadline_ns;
	return refused >> atomic_fetch_add(&made, 1) & 1 ? errinfo_set(errinfo, -EUSERS, "no more")
							 : 0;
}

static atomic_uint drained, drained_unlocked;

bool __real_thread_cache_drain(struct thread_cache *t);
bool __wrap_thread_cache_drain(struct thread_cache *t);

bool __wrap_thread_cache_drain(struct thread_cache *t)
{
	if (pthread_mutex_trylock(&channels.lock) == 0) {
		pthread_mutex_unlock(&channels.lock);
		atomic_fetch_add(&drained_unlocked, 1);
	}
	atomic_fetch_add(&drained, 1);
	return __real_thread_cache_drain(t);
}

static void begin(unsigned limit, unsigned to_be_refused)
{
	atomic_store(&made, 0);
	refused = to_be_refused;
	channels = (struct thread_channels){ .id = 0 };
	session.heap = heap;
	session.vitals = &vitals;
	thread_channels_init(&channels, &session, limit);
}

/* As a copy does: the channel that it was made on, and whether that is shared. */
struct copy {
	struct channel *channel;
	bool common;
};

static struct copy copy(void)
{
	struct copy c = { NULL, false };
	struct errinfo errinfo;

	if (thread_channels_enter(&channels, PIPELINE_FOREVER, &c.channel, &errinfo))
		return (struct copy){ NULL, false };
	c.common = !thread_channels_mine(&channels);
	thread_channels_leave(&channels);
	return c;
}

/* A thread that copies when it is told to, and ends when it is told to. */
struct hand {
	pthread_t thread;
	sem_t go, done;
	bool end;
	struct copy last;
};

static void *work(void *arg)
{
	struct hand *h = arg;

	for (;;) {
		sem_wait(&h->go);
		if (h->end)
			return NULL;
		h->last = copy();
		sem_post(&h->done);
	}
}

static struct copy hand_copy(struct hand *h)
{
	sem_post(&h->go);
	sem_wait(&h->done);
	return h->last;
}

static void hand_start(struct hand *h)
{
	*h = (struct hand){ .end = false };
	sem_init(&h->go, 0, 0);
	sem_init(&h->done, 0, 0);
	assert_int_equal(pthread_create(&h->thread, NULL, work, h), 0);
}

static void hand_end(struct hand *h)
{
	h->end = true;
	sem_post(&h->go);
	pthread_join(h->thread, NULL);
	sem_destroy(&h->go);
	sem_destroy(&h->done);
}

static void test_a_channel_that_goes_back_is_taken(void **state)
{
	struct hand first, second, third;
	struct copy own, shared;

	(void)state;
	begin(1, 0);
	hand_start(&first);
	hand_start(&second);
	hand_start(&third);
	own = hand_copy(&first);
	assert_false(own.common);
	shared = hand_copy(&second);
	assert_true(shared.common && shared.channel != own.channel);
	assert_true(hand_copy(&second).common); /* nothing has changed */
	assert_ptr_equal(hand_copy(&third).channel, shared.channel);
	hand_end(&first);
	/* One of the two has it from its next copy on; the other goes on as before. */
	assert_ptr_equal(hand_copy(&second).channel, own.channel);
	assert_false(hand_copy(&second).common);
	assert_true(hand_copy(&third).common);
	assert_int_equal(channels.given, 1);
	/* It is given back as any other. */
	hand_end(&second);
	assert_int_equal(channels.given, 0);
	assert_ptr_equal(hand_copy(&third).channel, own.channel);
	hand_end(&third);
	assert_int_equal(atomic_load(&made), 2);
	thread_channels_destroy(&channels);
}

/* A server that has refused one is not asked again with each copy. */
static void test_the_server_keeps_no_more(void **state)
{
	struct hand first, second;
	struct copy own;

	(void)state;
	begin(4, 1 << 1); /* a channel for the second thread */
	hand_start(&first);
	hand_start(&second);
	own = hand_copy(&first);
	assert_false(own.common);
	assert_true(hand_copy(&second).common);
	assert_int_equal(channels.given, 1);
	assert_int_equal(atomic_load(&made), 3);
	assert_true(hand_copy(&second).common);
	assert_int_equal(atomic_load(&made), 3);
	hand_end(&first);
	assert_ptr_equal(hand_copy(&second).channel, own.channel);
	hand_end(&second);
	assert_int_equal(channels.given, 0);
	assert_int_equal(atomic_load(&made), 3);
	thread_channels_destroy(&channels);
}

/* ---- many that come and go ---- */

static unsigned open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void *visit(void *arg)
{
	for (int i = 0; i < COPIES; i++)
		if (!copy().channel)
			atomic_fetch_add((atomic_uint *)arg, 1);
	return NULL;
}

static unsigned count_free(void)
{
	unsigned n = 0;

	for (const struct channel *ch = channels.free; ch; ch = ch->next_free)
		n++;
	return n;
}

static void test_ten_thousand(void **state)
{
	pthread_t threads[ALIVE];
	atomic_uint failed = 0;
	unsigned files;

	(void)state;
	begin(ALIVE / 2, 0);
	files = open_files();
	for (unsigned i = 0; i < VISITORS + ALIVE; i++) {
		if (i >= ALIVE)
			assert_int_equal(pthread_join(threads[i % ALIVE], NULL), 0);
		if (i < VISITORS)
			assert_int_equal(
				pthread_create(&threads[i % ALIVE], NULL, visit, &failed), 0);
	}
	assert_int_equal(atomic_load(&failed), 0);
	assert_int_equal(channels.given, 0);
	/* All that were made are there, and one that is shared at most. */
	assert_in_range(atomic_load(&made), 1, ALIVE / 2 + 1);
	assert_int_equal(count_free() + (channels.common != NULL), atomic_load(&made));
	assert_int_equal(open_files(), files);
	thread_channels_destroy(&channels);
}

static void *allocate_once(void *out)
{
	*(struct thread_cache **)out = thread_channels_cache(&channels);
	return NULL;
}

/* A thread ends while rmem_close() may drain all magazines: never the same one at once. */
static void test_drained_once_at_a_time(void **state)
{
	struct thread_cache *cache = NULL;
	static struct grace grace;
	pthread_t thread;

	(void)state;
	begin(1, 0);
	channels.no_sites = true;
	grace_init(&grace);
	depot_init(&session.depot, heap, &grace);
	assert_int_equal(pthread_create(&thread, NULL, allocate_once, &cache), 0);
	pthread_join(thread, NULL);
	assert_non_null(cache);
	assert_int_equal(atomic_load(&drained), 1);
	thread_channels_drain(&channels);
	assert_int_equal(atomic_load(&drained), 2);
	assert_int_equal(atomic_load(&drained_unlocked), 0);
	thread_channels_destroy(&channels);
	depot_destroy(&session.depot);
	grace_destroy(&grace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_channel_that_goes_back_is_taken),
		cmocka_unit_test(test_the_server_keeps_no_more),
		cmocka_unit_test(test_drained_once_at_a_time),
		cmocka_unit_test(test_ten_thousand),
	};

	return cmocka_run_group_tests(tests, heap_begin, heap_end);
}
