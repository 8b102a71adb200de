/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A user's program, built with a header that is not the library's: the oldest (v1/), or one that is to come (make-newer), which
 * has a field more in each struct with a size, and a flag more. In plain C11.
 *
 *	program			what needs no session
 *	program HOST:PORT	what needs one
 *
 * Exit status: 0, or 1 with the line that was wrong on standard error.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rmem/objects.h>
#include <rmem/rmem.h>

#define BYTES 4096

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "line %d: not so: %s (%s)\n", __LINE__, #condition, \
				rmem_errmsg()); \
			exit(1); \
		} \
	} while (0)

/* ---- without a session: an attr that was taken is looked at, and one that is wrong is said to be ---- */

static void open_nothing(void)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm = NULL;

	attr.channels = 1000;
	CHECK(rmem_open("localhost:1", &attr, &rm) == -EINVAL);
	CHECK(strstr(rmem_errmsg(), "1000 channels"));
#ifdef RMEM_NEWER
	attr.to_come = 1;
	CHECK(rmem_open("localhost:1", &attr, &rm) == -E2BIG);
	CHECK(strstr(rmem_errmsg(), rmem_version()));
#endif
	attr.size = offsetof(struct rmem_open_attr, channels);
	CHECK(rmem_open("localhost:1", &attr, &rm) == -EINVAL);
	CHECK(!rm);
}

static void compare_versions(void)
{
	const int rc = rmem_version_check(RMEM_VERSION_NUMBER);

#ifdef RMEM_NEWER
	CHECK(rc == -ENOSYS);
	CHECK(strstr(rmem_errmsg(), "install the newer one"));
#else
	CHECK(rc == 0);
#endif
	CHECK(strcmp(rmem_err_name(-ENOSYS), "ENOSYS") == 0);
}

/* ---- with a session ---- */

static struct rmem *rm;

static rmem_addr_t allocate(void)
{
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	rmem_addr_t addr = 0, untouched = 77;

	CHECK(rmem_alloc(rm, BYTES, &attr, &addr) == 0);
	attr.flags = 1U << 31;
	CHECK(rmem_alloc(rm, BYTES, &attr, &untouched) == -EINVAL);
	CHECK(strstr(rmem_errmsg(), "0x80000000"));
	attr.flags = 0;
#ifdef RMEM_NEWER
	attr.to_come = 1;
	CHECK(rmem_alloc(rm, BYTES, &attr, &untouched) == -E2BIG);
	attr.to_come = 0;
	attr.flags = RMEM_ALLOC_TO_COME;
	CHECK(rmem_alloc(rm, BYTES, &attr, &untouched) == -EINVAL);
#endif
	attr.size = offsetof(struct rmem_alloc_attr, flags);
	CHECK(rmem_alloc(rm, BYTES, &attr, &untouched) == -EINVAL);
	CHECK(strstr(rmem_errmsg(), "initializer"));
	CHECK(untouched == 77);
	return addr;
}

static struct rmem_queue *create_queue(void)
{
	struct rmem_queue_attr attr = RMEM_QUEUE_ATTR_INIT;
	struct rmem_queue *q = NULL, *untouched = NULL;

	attr.depth = 16;
	CHECK(rmem_queue_create(rm, &attr, &q) == 0);
	attr.flags = 1U << 31;
	CHECK(rmem_queue_create(rm, &attr, &untouched) == -EINVAL);
	attr.flags = 0;
#ifdef RMEM_NEWER
	attr.to_come = 1;
	CHECK(rmem_queue_create(rm, &attr, &untouched) == -E2BIG);
#endif
	attr.size = offsetof(struct rmem_queue_attr, flags);
	CHECK(rmem_queue_create(rm, &attr, &untouched) == -EINVAL);
	CHECK(!untouched);
	return q;
}

/* What the library writes fits into what this was built with. */
static void get_stats(void)
{
	struct {
		struct rmem_stats stats;
		uint64_t behind;
	} s = { RMEM_STATS_INIT, 77 };

#ifdef RMEM_NEWER
	s.stats.to_come = 1;
#endif
	CHECK(rmem_stats(rm, &s.stats) == 0);
	CHECK(s.stats.size == sizeof(s.stats));
	CHECK(s.stats.atomics == 2);
	CHECK(s.behind == 77);
#ifdef RMEM_NEWER
	CHECK(s.stats.to_come == 0);
#endif
	s.stats.size = offsetof(struct rmem_stats, atomics);
	CHECK(rmem_stats(rm, &s.stats) == -EINVAL);
}

/* Later than the first version of the header. */
static void look_for_events(void)
{
#ifdef RMEM_EVENT_INIT
	struct {
		struct rmem_event event;
		uint64_t behind;
	} e = { RMEM_EVENT_INIT, 77 };

	CHECK(rmem_event_fd(rm) >= 0);
	CHECK(rmem_next_event(rm, &e.event) == 0);
	CHECK(e.event.size == sizeof(e.event) && e.behind == 77);
	e.event.size = offsetof(struct rmem_event, addr);
	CHECK(rmem_next_event(rm, &e.event) == -EINVAL);
#endif
}

static void use_queue(struct rmem_queue *q, rmem_addr_t addr)
{
	struct rmem_completion done[3];
	char back[8];

	CHECK(rmem_write(rm, addr, "eightful", 8) == 0);
	CHECK(rmem_start_read(q, back, addr, sizeof(back), 5) == 0);
	CHECK(rmem_start_fetch_add(q, addr + 8, 3, NULL, 6) == 0);
	CHECK(rmem_start_compare_swap(q, addr + 8, 3, 4, NULL, 7) == 0);
	for (int n = 0; n < 3;) {
		int got = rmem_reap(q, done + n, 3 - n, -1);

		CHECK(got > 0);
		n += got;
	}
	for (unsigned i = 0; i < 3; i++) {
		CHECK(done[i].tag == 5 + i && done[i].status == 0);
		CHECK(rmem_completion_errmsg(q, &done[i])[0] == '\0');
	}
	CHECK(memcmp(back, "eightful", 8) == 0);
	CHECK(done[0].result == 8 && done[1].result == 0 && done[2].result == 3);
}

/* A key takes as much room as this was built with, and no more. */
static void share(rmem_addr_t addr)
{
	struct {
		struct rmem_share_key key;
		uint64_t behind;
	} k = { .behind = 77 };
	struct rmem *other = NULL;
	size_t bytes = 0;

	CHECK(rmem_share(rm, addr, &k.key) == 0);
	CHECK(k.behind == 77);
	CHECK(rmem_open(getenv("RMEM_SERVER"), NULL, &other) == 0);
	CHECK(rmem_attach(other, addr, &k.key, &bytes) == 0);
	CHECK(bytes == BYTES);
	CHECK(rmem_close(other) == 0);
}

static void use_lock(rmem_addr_t addr)
{
	struct rmem_lock *lock = NULL;

	CHECK(rmem_lock_create(rm, addr, &lock) == 0);
	CHECK(rmem_lock_acquire(lock, 0) == 0);
	CHECK(rmem_lock_release(lock) == 0);
	rmem_lock_destroy(lock);
}

static void use_session(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem_queue *q;
	rmem_addr_t addr;

	attr.timeout_ms = 60000; /* the machine is busy */
	CHECK(setenv("RMEM_SERVER", server, 1) == 0);
	CHECK(rmem_open(NULL, &attr, &rm) == 0);
	addr = allocate();
	q = create_queue();
	use_queue(q, addr);
	get_stats();
	look_for_events();
	use_lock(addr + 64);
	share(addr);
	rmem_queue_destroy(q);
	CHECK(rmem_free(rm, addr) == 0);
	CHECK(rmem_close(rm) == 0);
}

int main(int argc, char **argv)
{
	open_nothing();
	compare_versions();
	if (argc > 1)
		use_session(argv[1]);
	return 0;
}
