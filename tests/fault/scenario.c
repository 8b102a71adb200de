/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program under test: a client that makes every call of librmem, while one thing fails.
 *
 *	scenario SERVER client|server|brief FILES
 *
 * Each call is a step. A step that fails must fail with an error that rmem.h names for that call, and with
 * a sentence; then it is tried again, and must work: one fault is one failed step at most. (With "server",
 * where the fault is in rmemd, a few are allowed, and a full pool.) What was written with success is
 * known byte by byte, and compared in the end. Afterwards the main steps are done a second time, which
 * shows that what the fault left behind does no harm, and as many files must be open as FILES says
 * (-1: not looked at, the number is printed). "brief" does only these main steps, once.
 *
 * Exit status 0, or 1 with a line on standard error that says which step did what. What is left in
 * memory is counted by the interposer.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <rmem/rmem.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fault/plan.h"
#include "tests/rxe/pattern.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BIG (512UL << 10)
#define SMALL 4096UL
#define PINNED (200UL << 10) /* more than librmem copies */
#define WORD 2048            /* where the atomics work, in the small allocation */
#define LOCAL_TIMEOUT_MS 3000
#define QUEUE_LIMIT_MS 15000 /* for operations that take no time */

/* The errors rmem.h names, beside those of every call. */
#define EVERY_CALL ETIMEDOUT, ECONNRESET, ENOMEM
static const int any_errors[] = { EVERY_CALL, 0 };
static const int open_errors[] = { EVERY_CALL, ENODEV, EHOSTUNREACH, ECONNREFUSED, EPROTO, EUSERS,
	EAGAIN, EMFILE, EIO, 0 };
static const int atomic_errors[] = { EVERY_CALL, EREMOTEIO, 0 };
static const int queue_errors[] = { EVERY_CALL, EREMOTEIO, EUSERS, EMFILE, 0 };
static const int server_errors[] = { ENOSPC, EDQUOT, EUSERS, ECONNREFUSED, EPROTO, 0 };

/* What some faults must be called, where they are more than the library can make up for. */
static const int right_errors[FAULT_KINDS] = {
	[FAULT_malloc] = ENOMEM,
	[FAULT_calloc] = ENOMEM,
	[FAULT_realloc] = ENOMEM,
	[FAULT_aligned_alloc] = ENOMEM,
	[FAULT_strdup] = ENOMEM,
	[FAULT_mmap] = ENOMEM,
	[FAULT_eventfd] = EMFILE,
	[FAULT_getifaddrs] = ENOMEM,
	[FAULT_getaddrinfo] = ENOMEM,
	[FAULT_pthread_create] = EAGAIN,
	[FAULT_ibv_get_device_list] = ENOMEM,
	[FAULT_ibv_query_device] = ENOMEM,
	[FAULT_ibv_alloc_pd] = ENOMEM,
	[FAULT_ibv_reg_mr] = ENOMEM,
	[FAULT_ibv_create_comp_channel] = EMFILE,
	[FAULT_ibv_create_cq] = ENOMEM,
	[FAULT_rdma_create_event_channel] = EMFILE,
	[FAULT_rdma_create_id] = ENOMEM,
	[FAULT_rdma_bind_addr] = ENODEV,
	[FAULT_rdma_resolve_addr] = EHOSTUNREACH,
	[FAULT_rdma_resolve_route] = EHOSTUNREACH,
	[FAULT_rdma_connect] = ENOMEM,
};

static struct fault_plan none, *plan = &none;
static const char *server;
static bool fault_in_server, brief;
static unsigned failures, allowed_failures;

static struct rmem *rm;
static rmem_addr_t big, small;
static void *buffer;                     /* rmem_buf_alloc() */
static uint8_t registered[64UL << 10];   /* rmem_buf_register() */
static uint8_t plain[PINNED], back[BIG]; /* neither */
static uint8_t model_big[BIG], model_small[SMALL];
static uint64_t word;

#define WRONG(...) \
	do { \
		fprintf(stderr, "step %s: ", plan->step); \
		fprintf(stderr, __VA_ARGS__); \
		fputc('\n', stderr); \
		exit(1); \
	} while (0)

static bool listed(const int *errors, int error)
{
	for (; *errors; errors++)
		if (*errors == error)
			return true;
	return false;
}

/* ---- the steps ---- */

static char device[64];

static void find_device(void)
{
	DIR *dir = opendir("/sys/class/infiniband");
	const struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			snprintf(device, sizeof(device), "%.60s", entry->d_name);
	if (dir)
		closedir(dir);
}

static int do_open(void)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;

	attr.device = device;
	attr.job = "fault";
	attr.timeout_ms = LOCAL_TIMEOUT_MS;
	return rmem_open(server, &attr, &rm);
}

static int do_buf_alloc(void)
{
	return rmem_buf_alloc(rm, 256UL << 10, &buffer);
}

static int do_buf_register(void)
{
	return rmem_buf_register(rm, registered, sizeof(registered));
}

static int do_alloc_big(void)
{
	memset(model_big, 0, BIG);
	return rmem_alloc(rm, BIG, NULL, &big);
}

static int do_alloc_small(void)
{
	memset(model_small, 0, SMALL);
	return rmem_alloc(rm, SMALL, NULL, &small);
}

static int do_write_inline(void)
{
	pattern_fill(plain, 32, 11);
	memcpy(model_small, plain, 32);
	return rmem_write(rm, small, plain, 32);
}

static int do_write_copied(void)
{
	pattern_fill(plain, 3000, 12);
	memcpy(model_big + 100, plain, 3000);
	return rmem_write(rm, big + 100, plain, 3000);
}

static int do_write_pinned(void)
{
	pattern_fill(plain, PINNED, 13);
	memcpy(model_big + 5000, plain, PINNED);
	return rmem_write(rm, big + 5000, plain, PINNED);
}

/* More than can be outstanding, in place: several posts. */
static int do_write_in_place(void)
{
	struct rmem_iovec remote[40];
	struct iovec local = { buffer, COUNT(remote) * 512 };

	pattern_fill(buffer, local.iov_len, 14);
	for (size_t i = 0; i < COUNT(remote); i++) {
		remote[i] = (struct rmem_iovec){ big + 300000 + i * 1024, 512 };
		memcpy(model_big + 300000 + i * 1024, (uint8_t *)buffer + i * 512, 512);
	}
	return rmem_writev(rm, &local, 1, remote, COUNT(remote));
}

/* Registered, small, long and unregistered pieces in one list, against two allocations. */
static int do_writev(void)
{
	struct iovec local[] = {
		{ (uint8_t *)buffer + 1000, 2000 },
		{ plain, 77 },
		{ registered + 5, 9000 },
		{ plain + 100, 70000 },
	};
	struct rmem_iovec remote[] = { { small + 500, 1000 }, { big + 400000, 80077 } };

	pattern_fill((uint8_t *)buffer + 1000, 2000, 15);
	pattern_fill(registered, sizeof(registered), 16);
	pattern_fill(plain, PINNED, 17);
	memcpy(model_small + 500, (uint8_t *)buffer + 1000, 1000);
	memcpy(model_big + 400000, (uint8_t *)buffer + 2000, 1000);
	memcpy(model_big + 401000, plain, 77);
	memcpy(model_big + 401077, registered + 5, 9000);
	memcpy(model_big + 410077, plain + 100, 70000);
	return rmem_writev(rm, local, COUNT(local), remote, COUNT(remote));
}

static char thread_said[256]; /* rmem_errmsg() is the thread's */

static void compare(const void *got, const void *wanted, size_t n, const char *what)
{
	const uint8_t *a = got, *b = wanted;

	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			WRONG("%s: byte %zu is 0x%02x and should be 0x%02x", what, i, a[i], b[i]);
}

static int do_read_copied(void)
{
	int rc;

	memset(back, 0xee, SMALL);
	rc = rmem_read(rm, back, small, SMALL);
	if (rc == 0)
		compare(back, model_small, SMALL, "small");
	return rc;
}

static int do_read_pinned(void)
{
	int rc;

	memset(back, 0xee, BIG);
	rc = rmem_read(rm, back, big, BIG);
	if (rc == 0)
		compare(back, model_big, BIG, "big");
	return rc;
}

static int do_readv(void)
{
	struct iovec local[] = {
		{ registered, 3000 },
		{ back, 60 },
		{ buffer, 20000 },
		{ back + 100, 66000 },
	};
	struct rmem_iovec remote[] = { { big + 399000, 88060 }, { small, 1000 } };
	int rc;

	memset(back, 0xee, 70000);
	memset(registered, 0xee, sizeof(registered));
	rc = rmem_readv(rm, local, COUNT(local), remote, COUNT(remote));
	if (rc)
		return rc;
	compare(registered, model_big + 399000, 3000, "readv, registered");
	compare(back, model_big + 402000, 60, "readv, short");
	compare(buffer, model_big + 402060, 20000, "readv, from rmem_buf_alloc()");
	compare(back + 100, model_big + 422060, 65000, "readv, long");
	compare(back + 65100, model_small, 1000, "readv, second allocation");
	return 0;
}

/* An atomic operation of which nobody knows may be done once, or not at all. */
static void settle_word(uint64_t done)
{
	uint64_t now = 0;
	int rc = rmem_read(rm, &now, small + WORD, sizeof(now));

	if (rc)
		WRONG("reading the word: %s", rmem_errmsg());
	if (now != word && now != done)
		WRONG("the word is %" PRIu64 ": it should be %" PRIu64 " or %" PRIu64, now, word,
			done);
	word = now;
	memcpy(model_small + WORD, &word, sizeof(word));
}

static int finish_atomic(int rc, uint64_t old, uint64_t done)
{
	if (rc == -EREMOTEIO)
		settle_word(done);
	if (rc)
		return rc;
	if (old != word)
		WRONG("the old word was %" PRIu64 " and should be %" PRIu64, old, word);
	word = done;
	memcpy(model_small + WORD, &word, sizeof(word));
	return 0;
}

static int do_fetch_add(void)
{
	uint64_t old = 0;
	int rc = rmem_fetch_add(rm, small + WORD, 7, &old);

	return finish_atomic(rc, old, word + 7);
}

static int do_compare_swap(void)
{
	uint64_t old = 0;
	int rc = rmem_compare_swap(rm, small + WORD, word, word + 1000, &old);

	return finish_atomic(rc, old, word + 1000);
}

static int do_stats(void)
{
	struct rmem_stats stats = RMEM_STATS_INIT;

	return rmem_stats(rm, &stats);
}

/* A thread has a connection of its own. */
static void *read_in_thread(void *arg)
{
	uint8_t bytes[256];
	int *rc = arg;

	*rc = rmem_read(rm, bytes, small, sizeof(bytes));
	if (*rc == 0)
		compare(bytes, model_small, sizeof(bytes), "small, read by a thread");
	else
		snprintf(thread_said, sizeof(thread_said), "%s", rmem_errmsg());
	return NULL;
}

static int do_thread(void)
{
	pthread_t thread;
	int rc = -EAGAIN;

	if (pthread_create(&thread, NULL, read_in_thread, &rc))
		WRONG("the scenario cannot start a thread");
	pthread_join(thread, NULL);
	return rc;
}

/* ---- a queue ---- */

enum queued { WRITE_SHORT, WRITE_LONG, WRITEV, ADD, READ, SWAP, READV, QUEUED };

static struct rmem_queue *queue;
static int queue_fd; /* -1: the queue waits by itself */
static enum { TO_START, STARTED, DONE } state[QUEUED];
static uint64_t words[2], olds[2]; /* for ADD and SWAP, behind WORD */
static uint8_t read_bytes[3000], readv_bytes[70000];

static int do_queue_create(void)
{
	queue_fd = -1;
	memset(words, 0, sizeof(words));
	return rmem_queue_create(rm, NULL, &queue);
}

static int do_queue_fd(void)
{
	int fd = rmem_queue_fd(queue);

	if (fd < 0)
		return fd;
	queue_fd = fd;
	return 0;
}

static int start_writes(enum queued i)
{
	static struct iovec local[2]; /* the library's until it is reaped */
	static struct rmem_iovec remote;

	switch (i) {
	case WRITE_SHORT:
		pattern_fill(model_small + 3000, 24, 21);
		return rmem_start_write(queue, small + 3000, model_small + 3000, 24, i);
	case WRITE_LONG:
		pattern_fill(model_big + 50000, 5000, 22);
		return rmem_start_write(queue, big + 50000, model_big + 50000, 5000, i);
	default:
		local[0] = (struct iovec){ (uint8_t *)buffer + 100000, 4000 };
		local[1] = (struct iovec){ registered + 40000, 500 };
		remote = (struct rmem_iovec){ big + 60000, 4500 };
		pattern_fill((uint8_t *)buffer + 100000, 4000, 23);
		pattern_fill(registered + 40000, 500, 24);
		memcpy(model_big + 60000, (uint8_t *)buffer + 100000, 4000);
		memcpy(model_big + 64000, registered + 40000, 500);
		return rmem_start_writev(queue, local, COUNT(local), &remote, 1, i);
	}
}

static int start_queued(enum queued i)
{
	static struct iovec local[2]; /* the library's until it is reaped */
	static struct rmem_iovec remote;

	switch (i) {
	case ADD:
		return rmem_start_fetch_add(queue, small + WORD + 8, 3, &olds[0], i);
	case SWAP:
		return rmem_start_compare_swap(
			queue, small + WORD + 16, words[1], words[1] + 9, &olds[1], i);
	case READ:
		return rmem_start_read(queue, read_bytes, big + 100, sizeof(read_bytes), i);
	case READV:
		local[0] = (struct iovec){ readv_bytes, 2000 };
		local[1] = (struct iovec){ readv_bytes + 2000, 68000 };
		remote = (struct rmem_iovec){ big + 400000, 70000 };
		return rmem_start_readv(queue, local, COUNT(local), &remote, 1, i);
	default:
		return start_writes(i);
	}
}

/* An operation has ended. */
static void finish_queued(enum queued i, int status)
{
	static const uint64_t adds[2] = { 3, 9 };
	const size_t w = i == SWAP;
	const size_t offset = WORD + 8 + 8 * w; /* in the small allocation */

	state[i] = status ? TO_START : DONE;
	if (i != ADD && i != SWAP)
		return;
	if (status == -EREMOTEIO) {
		uint64_t now = 0;

		if (rmem_read(rm, &now, small + offset, sizeof(now)))
			WRONG("reading the word: %s", rmem_errmsg());
		if (now != words[w] && now != words[w] + adds[w])
			WRONG("a word of the queue is %" PRIu64 " after %" PRIu64, now, words[w]);
		words[w] = now;
	} else if (status == 0) {
		if (olds[w] != words[w])
			WRONG("an old word is %" PRIu64 ", not %" PRIu64, olds[w], words[w]);
		words[w] += adds[w];
	}
	memcpy(model_small + offset, &words[w], sizeof(words[w]));
}

/* Take what has completed; how many, or an error of the call. *failed: of an operation. */
static int reap(int *failed)
{
	struct rmem_completion out[4];
	struct pollfd ready = { .fd = queue_fd, .events = POLLIN };
	int n = rmem_reap(queue, out, COUNT(out), queue_fd < 0 ? QUEUE_LIMIT_MS : 0);

	if (n == 0 && queue_fd >= 0) {
		bool told = poll(&ready, 1, QUEUE_LIMIT_MS) == 1;

		n = rmem_reap(queue, out, COUNT(out), 0);
		if (n > 0 && !told)
			WRONG("something had completed, and the descriptor did not tell");
		if (n == 0 && told)
			return 0; /* it said 'may' */
	}
	if (n == 0)
		WRONG("nothing completes");
	for (int i = 0; i < n; i++) {
		if (out[i].tag >= QUEUED || state[out[i].tag] != STARTED)
			WRONG("tag %" PRIu64 " has not been started", out[i].tag);
		if (out[i].status)
			*failed = out[i].status;
		finish_queued((enum queued)out[i].tag, out[i].status);
	}
	return n;
}

static bool any(int wanted)
{
	for (int i = 0; i < QUEUED; i++)
		if ((int)state[i] == wanted)
			return true;
	return false;
}

/* Start what is not done, and reap all that is started. */
static int do_queued(void)
{
	int rc = 0, failed = 0;

	if (!any(TO_START) && !any(STARTED))
		memset(state, 0, sizeof(state));
	for (int i = 0; i < QUEUED && rc == 0; i++) {
		if (state[i] != TO_START)
			continue;
		rc = start_queued((enum queued)i);
		if (rc == 0)
			state[i] = STARTED;
		if (rc == 0 && i == WRITEV)
			rc = rmem_fence(queue);
		if (rc == 0 && i == ADD)
			rc = rmem_submit(queue);
	}
	while (any(STARTED)) {
		int n = reap(&failed);

		if (n < 0)
			return n;
	}
	if (rc || failed)
		return rc ? rc : failed;
	compare(read_bytes, model_big + 100, sizeof(read_bytes), "read by the queue");
	compare(readv_bytes, model_big + 400000, sizeof(readv_bytes), "readv by the queue");
	return 0;
}

static int do_queue_destroy(void)
{
	rmem_queue_destroy(queue);
	return 0;
}

static int do_buf_release(void)
{
	return rmem_buf_release(rm, registered);
}

static int do_free_small(void)
{
	return rmem_free(rm, small);
}

static int do_free_big(void)
{
	return rmem_free(rm, big);
}

static const struct step {
	const char *name;
	int (*run)(void);
	const int *errors;
	bool again;
} steps[] = {
	{ "open", do_open, open_errors, true },
	{ "buf_alloc", do_buf_alloc, any_errors, false },
	{ "alloc_big", do_alloc_big, any_errors, false },
	{ "buf_register", do_buf_register, any_errors, false },
	{ "alloc_small", do_alloc_small, any_errors, true },
	{ "write_inline", do_write_inline, any_errors, true },
	{ "write_copied", do_write_copied, any_errors, false },
	{ "write_pinned", do_write_pinned, any_errors, false },
	{ "write_in_place", do_write_in_place, any_errors, false },
	{ "writev", do_writev, any_errors, false },
	{ "fetch_add", do_fetch_add, atomic_errors, false },
	{ "read_copied", do_read_copied, any_errors, false },
	{ "readv", do_readv, any_errors, false },
	{ "thread", do_thread, any_errors, false },
	{ "queue_create", do_queue_create, queue_errors, false },
	{ "queue", do_queued, queue_errors, false },
	{ "queue_fd", do_queue_fd, queue_errors, false },
	{ "queue_polled", do_queued, queue_errors, false },
	{ "compare_swap", do_compare_swap, atomic_errors, false },
	{ "read_small", do_read_copied, any_errors, true },
	{ "read_pinned", do_read_pinned, any_errors, false },
	{ "queue_destroy", do_queue_destroy, any_errors, false },
	{ "stats", do_stats, any_errors, false },
	{ "buf_release", do_buf_release, any_errors, false },
	{ "free_small", do_free_small, any_errors, true },
	{ "free_big", do_free_big, any_errors, false },
};

/* ---- one after the other ---- */

static void judge(const struct step *step, int rc)
{
	const char *text = step->run == do_thread ? thread_said : rmem_errmsg();

	if (rc > 0)
		WRONG("it returned %d", rc);
	if (!listed(step->errors, -rc) && !(fault_in_server && listed(server_errors, -rc)))
		WRONG("undocumented error %s (%s)", strerrorname_np(-rc), text);
	if (!*text || strchr(text, '\n'))
		WRONG("%s without a sentence: '%s'", strerrorname_np(-rc), text);
	if (!fault_in_server && step->run == do_open && right_errors[plan->kind] &&
		right_errors[plan->kind] != -rc)
		WRONG("%s (%s) where it should be %s", strerrorname_np(-rc), text,
			strerrorname_np(right_errors[plan->kind]));
	failures++;
	fprintf(stderr, "(step %s: %s: %s)\n", step->name, strerrorname_np(-rc), text);
	if (failures > allowed_failures)
		WRONG("%u failed calls of one fault", failures);
}

static void take(const struct step *step)
{
	int rc;

	snprintf(plan->step, sizeof(plan->step), "%s", step->name);
	while ((rc = step->run()) != 0)
		judge(step, rc);
}

static void take_all(bool again)
{
	static const struct step close_step = { .name = "close", .errors = any_errors };
	int rc;

	word = 0;
	for (size_t i = 0; i < COUNT(steps); i++)
		if (!again || steps[i].again)
			take(&steps[i]);
	snprintf(plan->step, sizeof(plan->step), "%s", close_step.name);
	rc = rmem_close(rm); /* whatever it says, that was the last call */
	if (rc)
		judge(&close_step, rc);
}

static int open_files(bool tell)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	int n = 0;

	while (dir && (entry = readdir(dir)) != NULL) {
		char target[256] = "";

		if (entry->d_name[0] == '.' || strtol(entry->d_name, NULL, 10) == dirfd(dir))
			continue;
		n++;
		if (tell && readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1) > 0)
			fprintf(stderr, "open: %s %s\n", entry->d_name, target);
	}
	if (dir)
		closedir(dir);
	return n;
}

static void map_plan(void)
{
	const char *file = getenv(FAULT_FILE);
	int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		plan = p;
	close(fd);
}

/* In a thread that ends, because librmem gives back what a thread has when it ends. */
static void *run(void *unused)
{
	(void)unused;
	if (!brief)
		take_all(false);
	atomic_store(&plan->paused, 1);
	take_all(true);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int wanted, files;

	if (argc != 4) {
		fprintf(stderr, "usage: scenario SERVER client|server|brief FILES\n");
		return 2;
	}
	server = argv[1];
	fault_in_server = strcmp(argv[2], "server") == 0;
	brief = strcmp(argv[2], "brief") == 0;
	allowed_failures = fault_in_server ? 4 : 1;
	wanted = (int)strtol(argv[3], NULL, 10);
	map_plan();
	find_device();
	if (pthread_create(&thread, NULL, run, NULL) || pthread_join(thread, NULL))
		return 2;
	files = open_files(false);
	if (wanted < 0)
		printf("%d\n", files);
	else if (files != wanted) {
		open_files(true);
		WRONG("%d files are open and should be %d", files, wanted);
	}
	return 0;
}
