/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every public call, each in a session of its own and all at the same time, while something outside takes as long
 * as it likes: no call takes longer than the manual says. SLACK_MS is for the machine that the test runs on; what
 * is wrong takes until the trouble is over, which is after that.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "rmem/objects.h"
#include "tests/rxe/lib.h"
#include "tests/rxe/rig.h"
#include "tests/rxe/snags.h"

#define TIMEOUT_MS 4000
#define WAIT_MS 1000 /* where a call has a limit of its own */
#define SLACK_MS 15000
#define OUTSTANDING 64
#define HOGS_MAX 64

enum { STOPPED = 1, SYMBOLS = 2, BUSY = 4, WIRE = 8 };

/* What a call is made on. */
struct place {
	const struct row *row;
	const struct rig *rig;
	pthread_t thread;
	struct rmem *rm;
	rmem_addr_t addr;
	struct rmem_queue *q;
	struct rmem_lock *lock;
	struct rmem_counter *counter;
	struct rmem_record *record;
	void *buffer;
	struct iovec local; /* lists of queued operations */
	struct rmem_iovec remote;
	char bytes[4096];
	char failure[300]; /* while it was made ready */
	int rc;
	uint64_t took_ns; /* 0: it has not come back */
};

/* Of a session that others share memory and a lock with. */
static struct {
	struct rmem *rm;
	rmem_addr_t addr;
	struct rmem_share_key key;
	struct rmem_lock *lock;
} donor;

/* The first call that begins with a channel, and a key for its memory, if warm. */
enum {
	WARM = 1,
	QUEUE = 2,
	LOCK = 4,
	HELD = 8,
	COUNTER = 16,
	RECORD = 32,
	BUFFER = 64,
	FOREIGN = 128
};

enum { LOCAL = 256 }; /* it needs neither the server nor a session of its own */

struct row {
	const char *name;
	int (*call)(struct place *p);
	unsigned needs;
	unsigned bound_ms; /* 0: TIMEOUT_MS */
};

/* ---- the calls ---- */

static int open_to(struct rmem **out, const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;

	attr.timeout_ms = TIMEOUT_MS;
	return rmem_open(server, &attr, out);
}

static int call_open(struct place *p)
{
	struct rmem *another = NULL;
	int rc = open_to(&another, p->rig->server);

	return rc ? rc : rmem_close(another);
}

static int call_close(struct place *p)
{
	int rc = rmem_close(p->rm);

	p->rm = NULL;
	return rc;
}

/* While the names of a call site are being looked up. */
static int call_close_names(struct place *p)
{
	rmem_addr_t another;

	(void)rmem_alloc(p->rm, 100, NULL, &another);
	return call_close(p);
}

static int call_close_busy(struct place *p)
{
	for (uint64_t i = 0; i < OUTSTANDING; i++)
		(void)rmem_start_write(p->q, p->addr, p->bytes, sizeof(p->bytes), i);
	(void)rmem_start_alloc(p->q, sizeof(p->bytes), &lib_isolated, 0);
	(void)rmem_start_free(p->q, p->addr, 0);
	p->q = NULL;
	return call_close(p);
}

static int call_alloc(struct place *p)
{
	rmem_addr_t another;

	return rmem_alloc(p->rm, 100, &lib_isolated, &another);
}

/* It needs a slab. */
static int call_alloc_object(struct place *p)
{
	rmem_addr_t another;

	return rmem_alloc(p->rm, 100, NULL, &another);
}

static int call_offer(struct place *p)
{
	struct rmem_share_key key;

	return rmem_offer(p->rm, p->addr, &key);
}

/* There is no such offer: that it is refused is an answer. */
static int call_accept(struct place *p)
{
	const int rc = rmem_accept(p->rm, donor.addr, &donor.key, NULL);

	return rc == -EACCES ? 0 : rc;
}

static int call_free(struct place *p)
{
	return rmem_free(p->rm, p->addr);
}

/* None is to be had in the session's own memory. */
static int call_alloc_many(struct place *p)
{
	rmem_addr_t several[3];

	return rmem_alloc_many(p->rm, 20000, 3, NULL, several);
}

static int call_free_many(struct place *p)
{
	rmem_addr_t addrs[2] = { p->addr, 0 };

	return rmem_free_many(p->rm, addrs, 2);
}

static int call_realloc(struct place *p)
{
	return rmem_realloc(p->rm, p->addr, 20000, NULL, &p->addr);
}

static int call_share(struct place *p)
{
	struct rmem_share_key key;

	return rmem_share(p->rm, p->addr, &key);
}

static int call_attach(struct place *p)
{
	return rmem_attach(p->rm, donor.addr, &donor.key, NULL);
}

static int call_share_with(struct place *p)
{
	struct rmem_share_attr attr = RMEM_SHARE_ATTR_INIT;
	struct rmem_share_key key;

	attr.flags = RMEM_SHARE_READ_ONLY;
	return rmem_share_with(p->rm, p->addr, &attr, &key);
}

static int call_unshare(struct place *p)
{
	return rmem_unshare(p->rm, p->addr);
}

static int call_copy(struct place *p)
{
	return rmem_copy(p->rm, p->addr + 64, p->addr, 64);
}

static int call_fill(struct place *p)
{
	return rmem_fill(p->rm, p->addr, 1, 64);
}

static int call_stat(struct place *p)
{
	struct rmem_stat stat = RMEM_STAT_INIT;

	return rmem_stat(p->rm, p->addr, &stat);
}

static int call_limits(struct place *p)
{
	struct rmem_limits limits = RMEM_LIMITS_INIT;

	return rmem_limits(p->rm, &limits);
}

static int call_detach(struct place *p)
{
	return rmem_detach(p->rm, donor.addr);
}

static int call_read(struct place *p)
{
	return rmem_read(p->rm, p->bytes, p->addr, sizeof(p->bytes));
}

static int call_write(struct place *p)
{
	return rmem_write(p->rm, p->addr, p->bytes, sizeof(p->bytes));
}

static int call_readv(struct place *p)
{
	const struct iovec local = { p->bytes, 100 };
	const struct rmem_iovec remote = { p->addr, 100 };

	return rmem_readv(p->rm, &local, 1, &remote, 1);
}

static int call_writev(struct place *p)
{
	const struct iovec local = { p->bytes, 100 };
	const struct rmem_iovec remote = { p->addr, 100 };

	return rmem_writev(p->rm, &local, 1, &remote, 1);
}

static int call_buf_alloc(struct place *p)
{
	void *another;

	return rmem_buf_alloc(p->rm, 4096, &another);
}

static int call_buf_register(struct place *p)
{
	int rc = rmem_buf_register(p->rm, p->bytes, sizeof(p->bytes));

	return rc ? rc : rmem_buf_release(p->rm, p->bytes);
}

static int call_buf_release(struct place *p)
{
	return rmem_buf_release(p->rm, p->buffer);
}

static int call_fetch_add(struct place *p)
{
	return rmem_fetch_add(p->rm, p->addr, 1, NULL);
}

static int call_compare_swap(struct place *p)
{
	return rmem_compare_swap(p->rm, p->addr, 0, 1, NULL);
}

static int call_queue_create(struct place *p)
{
	return rmem_queue_create(p->rm, NULL, &p->q);
}

static int call_queue_destroy(struct place *p)
{
	for (uint64_t i = 0; i < OUTSTANDING; i++)
		(void)rmem_start_write(p->q, p->addr, p->bytes, sizeof(p->bytes), i);
	rmem_queue_destroy(p->q);
	p->q = NULL;
	return 0;
}

static int call_start_read(struct place *p)
{
	return rmem_start_read(p->q, p->bytes, p->addr, 8, 1);
}

static int call_start_write(struct place *p)
{
	return rmem_start_write(p->q, p->addr, p->bytes, 8, 1);
}

/* The lists are the queue's until the operation is reaped, or its queue is gone. */
static int call_start_readv(struct place *p)
{
	p->local = (struct iovec){ p->bytes, 100 };
	p->remote = (struct rmem_iovec){ p->addr, 100 };
	return rmem_start_readv(p->q, &p->local, 1, &p->remote, 1, 1);
}

static int call_start_writev(struct place *p)
{
	p->local = (struct iovec){ p->bytes, 100 };
	p->remote = (struct rmem_iovec){ p->addr, 100 };
	return rmem_start_writev(p->q, &p->local, 1, &p->remote, 1, 1);
}

static int call_start_fetch_add(struct place *p)
{
	return rmem_start_fetch_add(p->q, p->addr, 1, NULL, 1);
}

static int call_start_compare_swap(struct place *p)
{
	return rmem_start_compare_swap(p->q, p->addr, 0, 1, NULL, 1);
}

/* Once it has been started. */
static int reap_call(struct place *p, int rc)
{
	struct rmem_completion done = { .status = 0 };

	if (rc == 0)
		rc = rmem_reap(p->q, &done, 1, -1);
	return rc < 0 ? rc : done.status;
}

static int call_start_alloc(struct place *p)
{
	return reap_call(p, rmem_start_alloc(p->q, 100, NULL, 1));
}

static int call_start_free(struct place *p)
{
	return reap_call(p, rmem_start_free(p->q, p->addr, 1));
}

static int call_start_attach(struct place *p)
{
	return reap_call(p, rmem_start_attach(p->q, donor.addr, &donor.key, 1));
}

static int call_fence(struct place *p)
{
	return rmem_fence(p->q);
}

static int call_submit(struct place *p)
{
	int rc = rmem_start_write(p->q, p->addr, p->bytes, 8, 1);

	return rc ? rc : rmem_submit(p->q);
}

static int call_reap(struct place *p)
{
	struct rmem_completion done;
	int rc = rmem_start_write(p->q, p->addr, p->bytes, 8, 1);

	if (rc)
		return rc;
	rc = rmem_reap(p->q, &done, 1, WAIT_MS);
	return rc < 0 ? rc : 0;
}

static int call_queue_fd(struct place *p)
{
	int fd = rmem_queue_fd(p->q);

	return fd < 0 ? fd : 0;
}

/* Its time is longer than that of the session: what bounds the call is the session's. */
static struct rmem_op timed_read(struct place *p, struct iovec *local, struct rmem_iovec *remote)
{
	struct rmem_op op = RMEM_OP_INIT;

	*local = (struct iovec){ p->bytes, 8 };
	*remote = (struct rmem_iovec){ p->addr, 8 };
	op.kind = RMEM_OP_READ;
	op.local = local;
	op.remote = remote;
	op.nlocal = op.nremote = 1;
	op.timeout_ms = 2 * TIMEOUT_MS;
	return op;
}

static int call_start(struct place *p)
{
	struct rmem_iovec remote;
	struct iovec local;
	const struct rmem_op op = timed_read(p, &local, &remote);

	return rmem_start(p->q, &op);
}

static int call_run(struct place *p)
{
	struct rmem_iovec remote;
	struct iovec local;
	const struct rmem_op op = timed_read(p, &local, &remote);

	return rmem_run(p->rm, &op);
}

static int call_queues_fd(struct place *p)
{
	int fd = rmem_queues_fd(p->rm);

	return fd < 0 ? fd : 0;
}

static int call_queues_ready(struct place *p)
{
	struct rmem_queue *ready;
	int n = rmem_queues_ready(p->rm, &ready, 1);

	return n < 0 ? n : 0;
}

static int call_stats(struct place *p)
{
	struct rmem_stats stats = RMEM_STATS_INIT;

	return rmem_stats(p->rm, &stats);
}

static int call_lock_create(struct place *p)
{
	struct rmem_lock *another = NULL;
	int rc = rmem_lock_create(p->rm, p->addr, &another);

	rmem_lock_destroy(another);
	return rc;
}

static int call_lock_acquire(struct place *p)
{
	return rmem_lock_acquire(p->lock, WAIT_MS);
}

static int call_lock_release(struct place *p)
{
	return rmem_lock_release(p->lock);
}

static int call_lock_destroy(struct place *p)
{
	rmem_lock_destroy(p->lock);
	p->lock = NULL;
	return 0;
}

static int call_counter_create(struct place *p)
{
	struct rmem_counter *another = NULL;
	int rc = rmem_counter_create(p->rm, p->addr, 2, &another);

	rmem_counter_destroy(another);
	return rc;
}

static int call_counter_add(struct place *p)
{
	return rmem_counter_add(p->counter, 3);
}

static int call_counter_get(struct place *p)
{
	uint64_t n;

	return rmem_counter_get(p->counter, &n);
}

static int call_counter_destroy(struct place *p)
{
	(void)rmem_counter_add(p->counter, 1);
	rmem_counter_destroy(p->counter);
	p->counter = NULL;
	return 0;
}

static int call_record_create(struct place *p)
{
	struct rmem_record *another = NULL;
	int rc = rmem_record_create(p->rm, p->addr, 100, &another);

	rmem_record_destroy(another);
	return rc;
}

static int call_record_read(struct place *p)
{
	return rmem_record_read(p->record, p->bytes);
}

static int call_record_write(struct place *p)
{
	return rmem_record_write(p->record, p->bytes, WAIT_MS);
}

static int call_record_destroy(struct place *p)
{
	(void)rmem_record_write(p->record, p->bytes, WAIT_MS);
	rmem_record_destroy(p->record);
	p->record = NULL;
	return 0;
}

static int call_event_fd(struct place *p)
{
	int fd = rmem_event_fd(p->rm);

	return fd < 0 ? fd : 0;
}

static int call_next_event(struct place *p)
{
	struct rmem_event event = RMEM_EVENT_INIT;
	int rc = rmem_next_event(p->rm, &event);

	return rc < 0 ? rc : 0;
}

static int call_words(struct place *p)
{
	(void)p;
	return rmem_errmsg() && rmem_version() && rmem_err_name(-1) &&
			       rmem_completion_errmsg(NULL, NULL)
		       ? rmem_version_check(RMEM_VERSION_NUMBER)
		       : -EINVAL;
}

static void ignore(void *user, int level, const char *text)
{
	(void)user;
	(void)level;
	(void)text;
}

static int call_set_log(struct place *p)
{
	(void)p;
	return rmem_set_log(RMEM_LOG_DEBUG, ignore, NULL);
}

/* Names as in client/rmem.map; what is behind a blank tells rows apart. */
static const struct row rows[] = {
	{ "rmem_open", call_open, 0, 2 * TIMEOUT_MS },
	{ "rmem_close", call_close, 0, 0 },
	{ "rmem_close warm", call_close, WARM, 0 },
	{ "rmem_close busy", call_close_busy, WARM | QUEUE, 0 },
	{ "rmem_close names", call_close_names, 0, 2 * TIMEOUT_MS },
	{ "rmem_alloc", call_alloc, 0, 0 },
	{ "rmem_alloc object", call_alloc_object, 0, 0 },
	{ "rmem_free", call_free, 0, 0 },
	{ "rmem_free warm", call_free, WARM, 0 },
	{ "rmem_alloc_many", call_alloc_many, 0, 2 * TIMEOUT_MS },
	{ "rmem_free_many", call_free_many, 0, 0 },
	{ "rmem_realloc", call_realloc, 0, 2 * TIMEOUT_MS },
	{ "rmem_realloc warm", call_realloc, WARM, 2 * TIMEOUT_MS },
	{ "rmem_share", call_share, 0, 0 },
	{ "rmem_share_with", call_share_with, 0, 0 },
	{ "rmem_unshare", call_unshare, 0, 0 },
	{ "rmem_copy", call_copy, 0, 0 },
	{ "rmem_fill", call_fill, 0, 0 },
	{ "rmem_stat", call_stat, LOCAL, 0 },
	{ "rmem_limits", call_limits, LOCAL, 0 },
	{ "rmem_offer", call_offer, 0, 0 },
	{ "rmem_accept", call_accept, 0, 0 },
	{ "rmem_attach", call_attach, 0, 0 },
	{ "rmem_detach", call_detach, FOREIGN, 0 },
	{ "rmem_read", call_read, 0, 0 },
	{ "rmem_read warm", call_read, WARM, 0 },
	{ "rmem_write", call_write, 0, 0 },
	{ "rmem_write warm", call_write, WARM, 0 },
	{ "rmem_readv", call_readv, 0, 0 },
	{ "rmem_writev", call_writev, WARM, 0 },
	{ "rmem_buf_alloc", call_buf_alloc, LOCAL, 0 },
	{ "rmem_buf_register", call_buf_register, LOCAL, 0 },
	{ "rmem_buf_release", call_buf_release, BUFFER, 0 },
	{ "rmem_fetch_add", call_fetch_add, 0, 0 },
	{ "rmem_fetch_add warm", call_fetch_add, WARM, 0 },
	{ "rmem_compare_swap", call_compare_swap, 0, 0 },
	{ "rmem_queue_create", call_queue_create, 0, 0 },
	{ "rmem_queue_destroy", call_queue_destroy, QUEUE | WARM, 0 },
	{ "rmem_start_read", call_start_read, QUEUE, 0 },
	{ "rmem_start_read warm", call_start_read, QUEUE | WARM, 0 },
	{ "rmem_start_write", call_start_write, QUEUE, 0 },
	{ "rmem_start_readv", call_start_readv, QUEUE, 0 },
	{ "rmem_start_writev", call_start_writev, QUEUE, 0 },
	{ "rmem_start_fetch_add", call_start_fetch_add, QUEUE, 0 },
	{ "rmem_start_compare_swap", call_start_compare_swap, QUEUE, 0 },
	{ "rmem_start_alloc", call_start_alloc, QUEUE, 0 },
	{ "rmem_start_free", call_start_free, QUEUE, 0 },
	{ "rmem_start_attach", call_start_attach, QUEUE, 0 },
	{ "rmem_fence", call_fence, QUEUE, 0 },
	{ "rmem_submit", call_submit, QUEUE | WARM, 0 },
	{ "rmem_reap", call_reap, QUEUE | WARM, WAIT_MS + TIMEOUT_MS },
	{ "rmem_queue_fd", call_queue_fd, QUEUE, 0 },
	{ "rmem_start", call_start, QUEUE, 0 },
	{ "rmem_run", call_run, 0, 0 },
	{ "rmem_queues_fd", call_queues_fd, LOCAL, 0 },
	{ "rmem_queues_ready", call_queues_ready, LOCAL, 0 },
	{ "rmem_stats", call_stats, LOCAL, 0 },
	{ "rmem_lock_create", call_lock_create, LOCAL, 0 },
	{ "rmem_lock_acquire", call_lock_acquire, LOCK | FOREIGN, WAIT_MS + 2 * TIMEOUT_MS },
	{ "rmem_lock_acquire warm", call_lock_acquire, LOCK | FOREIGN | WARM,
		WAIT_MS + 2 * TIMEOUT_MS },
	{ "rmem_lock_release", call_lock_release, LOCK | HELD, 0 },
	{ "rmem_lock_destroy", call_lock_destroy, LOCK | HELD, 0 },
	{ "rmem_counter_create", call_counter_create, LOCAL, 0 },
	{ "rmem_counter_add", call_counter_add, COUNTER, 0 },
	{ "rmem_counter_get", call_counter_get, COUNTER, 0 },
	{ "rmem_counter_destroy", call_counter_destroy, COUNTER | WARM, 2 * TIMEOUT_MS },
	{ "rmem_record_create", call_record_create, LOCAL, 0 },
	{ "rmem_record_read", call_record_read, RECORD, 0 },
	{ "rmem_record_write", call_record_write, RECORD, WAIT_MS + 2 * TIMEOUT_MS },
	{ "rmem_record_destroy", call_record_destroy, RECORD | WARM, WAIT_MS + 2 * TIMEOUT_MS },
	{ "rmem_errmsg", call_words, LOCAL, 0 },
	{ "rmem_version", call_words, LOCAL, 0 },
	{ "rmem_version_check", call_words, LOCAL, 0 },
	{ "rmem_err_name", call_words, LOCAL, 0 },
	{ "rmem_completion_errmsg", call_words, LOCAL, 0 },
	{ "rmem_set_log", call_set_log, LOCAL, 0 },
	{ "rmem_event_fd", call_event_fd, LOCAL, 0 },
	{ "rmem_next_event", call_next_event, LOCAL, 0 },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static struct place places[ROWS];

/* ---- one call ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, turn = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned ready, back;
static bool go, over;

static int have_objects(struct place *p)
{
	const unsigned needs = p->row->needs;
	int rc = 0;

	if (needs & FOREIGN)
		rc = call_attach(p);
	if (rc == 0 && needs & LOCK)
		rc = rmem_lock_create(p->rm, needs & HELD ? p->addr : donor.addr, &p->lock);
	if (rc == 0 && needs & HELD)
		rc = rmem_lock_acquire(p->lock, TIMEOUT_MS);
	if (rc == 0 && needs & COUNTER)
		rc = rmem_counter_create(p->rm, p->addr, 2, &p->counter);
	if (rc == 0 && needs & RECORD)
		rc = rmem_record_create(p->rm, p->addr, 100, &p->record);
	if (rc == 0 && needs & BUFFER)
		rc = rmem_buf_alloc(p->rm, 4096, &p->buffer);
	if (rc == 0 && needs & WARM && needs & LOCK)
		rc = rmem_fetch_add(p->rm, donor.addr, 0, NULL);
	return rc;
}

static int warm_up(struct place *p)
{
	struct rmem_completion done;
	int rc = rmem_read(p->rm, p->bytes, p->addr, 8);

	if (rc || !p->q)
		return rc;
	rc = rmem_start_read(p->q, p->bytes, p->addr, 8, 1);
	return rc ? rc : rmem_reap(p->q, &done, 1, -1) == 1 ? 0 : -EIO;
}

static int get_ready(struct place *p)
{
	int rc;

	if (p->row->needs & LOCAL) {
		p->rm = donor.rm;
		p->addr = donor.addr;
		return 0;
	}
	rc = open_to(&p->rm, p->rig->server);
	if (rc == 0)
		rc = rmem_alloc(p->rm, sizeof(p->bytes), &lib_isolated, &p->addr);
	if (rc == 0 && p->row->needs & QUEUE)
		rc = rmem_queue_create(p->rm, NULL, &p->q);
	if (rc == 0 && p->row->needs & WARM)
		rc = warm_up(p);
	return rc ? rc : have_objects(p);
}

static void await(const bool *what)
{
	while (!*what)
		pthread_cond_wait(&changed, &lock);
}

static void *run(void *arg)
{
	struct place *p = arg;
	uint64_t began;

	pthread_mutex_lock(&turn); /* all at once, a slow machine would not be ready in time */
	if (get_ready(p))
		snprintf(p->failure, sizeof(p->failure), "%s", rmem_errmsg());
	pthread_mutex_unlock(&turn);
	pthread_mutex_lock(&lock);
	ready++;
	pthread_cond_broadcast(&changed);
	await(&go);
	pthread_mutex_unlock(&lock);
	began = clock_boot_ns();
	p->rc = p->failure[0] ? 0 : p->row->call(p);
	pthread_mutex_lock(&lock);
	p->took_ns = clock_boot_ns() - began;
	back++;
	pthread_cond_broadcast(&changed);
	await(&over);
	pthread_mutex_unlock(&lock);
	rmem_lock_destroy(p->lock);
	rmem_counter_destroy(p->counter);
	rmem_record_destroy(p->record);
	if (!(p->row->needs & LOCAL))
		(void)rmem_close(p->rm);
	return NULL;
}

/* ---- all of them, in trouble ---- */

static atomic_bool spinning;
static pthread_t hogs[HOGS_MAX];
static unsigned nhogs;

static void *spin(void *arg)
{
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), 19);
	while (atomic_load_explicit(&spinning, memory_order_relaxed))
		;
	return arg;
}

/* They leave nothing to idle threads, and little is taken from others: of those there are fifty. */
static void start_hogs(void)
{
	long n = 8 * sysconf(_SC_NPROCESSORS_ONLN);

	atomic_store(&spinning, true);
	while (nhogs < HOGS_MAX && (long)nhogs < n)
		if (pthread_create(&hogs[nhogs++], NULL, spin, NULL))
			abort();
}

static void stop_hogs(void)
{
	atomic_store(&spinning, false);
	while (nhogs)
		pthread_join(hogs[--nhogs], NULL);
}

static void await_count(const unsigned *count, unsigned wanted, unsigned limit_ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += limit_ms / 1000;
	pthread_mutex_lock(&lock);
	while (*count < wanted && pthread_cond_timedwait(&changed, &lock, &until) == 0)
		;
	pthread_mutex_unlock(&lock);
}

static unsigned bound_of(const struct row *row)
{
	return (row->bound_ms ? row->bound_ms : TIMEOUT_MS) + SLACK_MS;
}

static unsigned count_late(void)
{
	unsigned late = 0;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < ROWS; i++) {
		const struct place *p = &places[i];

		if (p->took_ns && p->took_ns <= bound_of(p->row) * NSEC_PER_MSEC)
			continue;
		late++;
		printf("%s: %llu ms (0: it has not come back), at most %u\n", p->row->name,
			(unsigned long long)(p->took_ns / NSEC_PER_MSEC), bound_of(p->row));
	}
	pthread_mutex_unlock(&lock);
	return late;
}

static void say_longest(void)
{
	const struct place *longest = &places[0];

	for (size_t i = 0; i < ROWS; i++)
		if (places[i].took_ns > longest->took_ns)
			longest = &places[i];
	printf("the longest: %s, %llu ms\n", longest->row->name,
		(unsigned long long)(longest->took_ns / NSEC_PER_MSEC));
}

static void release(bool *what)
{
	pthread_mutex_lock(&lock);
	*what = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void start_trouble(struct rig *r, unsigned trouble)
{
	if (trouble & WIRE) {
		puts("ready"); /* whoever has started us cuts the wire, and says so */
		(void)getchar();
	}
	if (trouble & STOPPED)
		rig_freeze(r);
	if (trouble & BUSY) {
		/* Real work, for which there is no processor. */
		if (!(trouble & SYMBOLS))
			snag_symbols(SNAG_NONE);
		start_hogs();
	}
}

static void end_trouble(struct rig *r, unsigned trouble)
{
	stop_hogs();
	if (trouble & WIRE) {
		puts("known"); /* ... and mends it */
		(void)getchar();
	}
	if (trouble & STOPPED)
		rig_thaw(r);
	snag_symbols(SNAG_REFUSED);
}

/* Returns how many calls were late, or could not be made. */
static unsigned check(struct rig *r, unsigned trouble)
{
	unsigned bad;

	ready = back = 0;
	go = over = false;
	memset(places, 0, sizeof(places));
	snag_symbols(trouble & SYMBOLS ? SNAG_STUCK : SNAG_REFUSED);
	for (size_t i = 0; i < ROWS; i++) {
		places[i].row = &rows[i];
		places[i].rig = r;
		if (pthread_create(&places[i].thread, NULL, run, &places[i]))
			abort();
	}
	await_count(&ready, ROWS, RIG_LIMIT_MS);
	start_trouble(r, trouble);
	release(&go);
	await_count(&back, ROWS, 3 * TIMEOUT_MS + SLACK_MS);
	bad = count_late();
	say_longest();
	end_trouble(r, trouble);
	release(&over);
	for (size_t i = 0; i < ROWS; i++) {
		pthread_join(places[i].thread, NULL);
		if (places[i].failure[0])
			printf("%s: %s\n", rows[i].name, places[i].failure);
		bad += places[i].failure[0] != '\0';
	}
	return bad;
}

static int make_donor(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	int rc;

	attr.timeout_ms = RIG_LIMIT_MS;
	rc = rmem_open(server, &attr, &donor.rm);
	if (rc == 0)
		rc = rmem_alloc(donor.rm, 4096, &lib_isolated, &donor.addr);
	if (rc == 0)
		rc = rmem_share(donor.rm, donor.addr, &donor.key);
	if (rc == 0)
		rc = rmem_lock_create(donor.rm, donor.addr, &donor.lock);
	return rc ? rc : rmem_lock_acquire(donor.lock, RIG_LIMIT_MS);
}

static void check_in(struct rig *r, unsigned trouble)
{
	rig_start(r, (const char *const[]){ "--size", "64M", "--ttl", "10m", NULL });
	lib_succeed(make_donor(r->server));
	assert_int_equal(check(r, trouble), 0);
	rmem_lock_destroy(donor.lock);
	lib_succeed(rmem_close(donor.rm));
}

static void test_server_stopped(void **state)
{
	check_in(*state, STOPPED);
}

/* Calls need no symbols, so all of them work, if the machine is fast enough. */
static void test_busy(void **state)
{
	check_in(*state, BUSY);
	for (size_t i = 0; i < ROWS; i++)
		if (places[i].rc && places[i].rc != -ETIMEDOUT) /* the lock is the donor's */
			fail_msg("%s: %d", rows[i].name, places[i].rc);
}

static void test_all_at_once(void **state)
{
	check_in(*state, STOPPED | SYMBOLS | BUSY);
	assert_true(snag_symbols_met() > 0); /* it was what it is about */
}

/* What is exported is in the table. */
static void test_table_is_complete(void **state)
{
	FILE *f = fopen(MAP_PATH, "r");
	char line[128], name[64];
	unsigned found = 0;

	(void)state;
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		size_t i = 0, n;

		if (sscanf(line, " %63[a-z_];", name) != 1 || strncmp(name, "rmem_", 5) != 0)
			continue;
		n = strlen(name);
		while (i < ROWS && (strncmp(rows[i].name, name, n) != 0 ||
					   (rows[i].name[n] && rows[i].name[n] != ' ')))
			i++;
		if (i == ROWS)
			fail_msg("%s is not tried", name);
		found++;
	}
	fclose(f);
	assert_true(found > 40);
}

/* For tests/hosts/run: with an rmemd elsewhere, to which the wire is cut when this has said "ready". */
static int be_cut_off(const char *server)
{
	struct rig elsewhere = { 0 };
	unsigned bad;

	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(elsewhere.server, sizeof(elsewhere.server), "%s", server);
	if (make_donor(server)) {
		printf("%s\n", rmem_errmsg());
		return 1;
	}
	bad = check(&elsewhere, WIRE);
	rmem_lock_destroy(donor.lock);
	(void)rmem_close(donor.rm);
	return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_table_is_complete),
		RIG_TEST(test_server_stopped),
		RIG_TEST(test_busy),
		RIG_TEST(test_all_at_once),
	};

	if (argc == 3 && strcmp(argv[1], "cut") == 0)
		return be_cut_off(argv[2]);
	return rig_main(RIG_PORT_BOUNDS, tests, sizeof(tests) / sizeof(tests[0]));
}
