/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * librmem in a program that leaves it little: all keys for what threads keep are taken before its first call, so
 * threads share a channel; and it is called while the loader's locks are held. (tests/foreign has what
 * needs no session.)
 */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/rxe/lib.h"

#define ROUNDS 50
#define THREADS 3

static pthread_key_t keys[PTHREAD_KEYS_MAX];
static int nkeys;

static void take_keys(void)
{
	while (nkeys < PTHREAD_KEYS_MAX && pthread_key_create(&keys[nkeys], NULL) == 0)
		nkeys++;
}

struct hand {
	pthread_t thread;
	struct rmem *rm;
	rmem_addr_t addr;
	int rc;
	bool foreign; /* a key holds what the library has written */
	atomic_bool *stop;
};

/* Memory for a moment, from this very line. */
static int borrow(struct rmem *rm)
{
	uint64_t word = 4711, back = 0;
	rmem_addr_t addr;
	int rc = rmem_alloc(rm, sizeof(word), NULL, &addr);

	if (rc == 0)
		rc = rmem_write(rm, addr, &word, sizeof(word));
	if (rc == 0)
		rc = rmem_read(rm, &back, addr, sizeof(back));
	if (rc == 0 && back != word)
		rc = -EBADMSG;
	return rc ? rc : rmem_free(rm, addr);
}

static void *share(void *arg)
{
	struct hand *h = arg;

	for (int i = 0; i < nkeys; i++)
		(void)pthread_setspecific(keys[i], &keys[i]);
	for (int i = 0; i < ROUNDS && h->rc == 0; i++)
		h->rc = borrow(h->rm);
	for (int i = 0; i < nkeys; i++)
		h->foreign |= pthread_getspecific(keys[i]) != &keys[i];
	return NULL;
}

static void test_without_keys(void **state)
{
	struct hand hands[THREADS] = { 0 };
	struct rig *r = *state;
	struct rmem *rm;

	rig_start(r, NULL);
	rm = lib_open(r->server, 0);
	lib_expect(rmem_alloc(rm, 0, NULL, NULL), -EINVAL, "Invalid argument");
	for (int i = 0; i < THREADS; i++) {
		hands[i].rm = rm;
		assert_int_equal(pthread_create(&hands[i].thread, NULL, share, &hands[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(hands[i].thread, NULL);
		assert_int_equal(hands[i].rc, 0);
		assert_false(hands[i].foreign);
	}
	lib_succeed(rmem_close(rm));
	rig_end(r);
}

/* ---- with the loader's locks ---- */

static void *borrow_on(void *arg)
{
	struct hand *h = arg;

	while (h->rc == 0 && !atomic_load(h->stop))
		h->rc = borrow(h->rm);
	return NULL;
}

static int borrow_inside(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct hand *h = arg;

	(void)info, (void)size;
	for (int i = 0; i < ROUNDS && h->rc == 0; i++)
		h->rc = borrow(h->rm);
	return 1;
}

/* One thread asks for memory again and again, and so does this one, in the loader's hands. */
static void test_inside_the_loader(void **state)
{
	struct rig *r = *state;
	atomic_bool stop = false;
	struct hand inside = { 0 }, outside = { .stop = &stop };

	rig_start(r, NULL);
	inside.rm = outside.rm = lib_open(r->server, 0);
	assert_int_equal(borrow(inside.rm), 0);
	assert_int_equal(pthread_create(&outside.thread, NULL, borrow_on, &outside), 0);
	dl_iterate_phdr(borrow_inside, &inside);
	atomic_store(&stop, true);
	pthread_join(outside.thread, NULL);
	assert_int_equal(inside.rc, 0);
	assert_int_equal(outside.rc, 0);
	lib_succeed(rmem_close(inside.rm));
	rig_end(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_without_keys),
		RIG_TEST(test_inside_the_loader),
	};

	take_keys();
	return rig_main(RIG_PORT_EMBEDDED, tests, sizeof(tests) / sizeof(tests[0]));
}
