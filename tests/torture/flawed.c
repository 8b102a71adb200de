/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/flawed.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rmem/objects.h"
#include "tests/support/random.h"

#define POOL_BYTES (8UL << 20)
#define BLOCKS 64
#define PAGE 4096UL
#define BASE (1ULL << 48)
#define DEPTH 64U /* more than the torture uses */
#define LATE_S 8

enum state {
	NOTHING,
	LENT,
	LOST,
};

struct lent {
	size_t offset, bytes;
	unsigned serial;
	enum state state;
};

enum what {
	DO_READ,
	DO_WRITE,
	DO_ADD,
};

struct job {
	enum what what;
	void *local;
	rmem_addr_t addr;
	size_t bytes;
	uint64_t tag, add;
	unsigned serial;
};

struct rmem {
	int nothing;
};

struct rmem_queue {
	struct job jobs[DEPTH];
	unsigned started, reaped;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t pool[POOL_BYTES];
static struct lent blocks[BLOCKS];
static unsigned serials;
static uint64_t seed = 1;
static enum flaw flaw;

void flawed_choose(enum flaw f)
{
	flaw = f;
}

/* With the lock: true once in n times. */
static bool chance(uint64_t n)
{
	return random_below(&seed, n) == 0;
}

static struct lent *find(rmem_addr_t addr, size_t bytes)
{
	size_t offset = addr - BASE;

	for (int wanted = LENT; wanted <= LOST; wanted++)
		for (int i = 0; i < BLOCKS; i++)
			if ((int)blocks[i].state == wanted && offset >= blocks[i].offset &&
				offset + bytes <= blocks[i].offset + blocks[i].bytes)
				return &blocks[i];
	return NULL;
}

/* What is in the way of a block at this place, or NULL. */
static const struct lent *in_the_way(size_t offset, size_t bytes)
{
	for (int i = 0; i < BLOCKS; i++) {
		const struct lent *b = &blocks[i];

		if (b->state == NOTHING || (b->state == LOST && flaw == FLAW_ALIAS))
			continue;
		if (b->offset < offset + bytes &&
			offset < b->offset + (b->bytes + PAGE - 1) / PAGE * PAGE)
			return b;
	}
	return NULL;
}

static int lend(size_t bytes, rmem_addr_t *out)
{
	const struct lent *other;
	struct lent *b = NULL;
	size_t offset = 0;

	for (int i = 0; i < BLOCKS && !b; i++)
		if (blocks[i].state == NOTHING)
			b = &blocks[i];
	while ((other = in_the_way(offset, bytes)))
		offset = other->offset + (other->bytes + PAGE - 1) / PAGE * PAGE;
	if (!b || offset + bytes > POOL_BYTES)
		return -ENOSPC;
	*b = (struct lent){ offset, bytes, ++serials, LENT };
	if (flaw != FLAW_NOT_WIPED)
		memset(pool + offset, 0, bytes);
	*out = BASE + offset;
	b = &blocks[random_below(&seed, BLOCKS)];
	if (chance(8) && b->state == LENT && b->serial != serials)
		b->state = LOST;
	return 0;
}

static int carry_out(const struct job *j)
{
	struct lent *b = find(j->addr, j->bytes);
	uint8_t *at = pool + (j->addr - BASE);
	uint64_t word;

	if (!b || (j->serial && j->serial != b->serial && flaw != FLAW_IN_FLIGHT))
		return -EFAULT;
	if (b->state == LOST && !(flaw == FLAW_REVIVED && chance(3)))
		return -ESTALE;
	switch (j->what) {
	case DO_READ:
		memcpy(j->local, at, j->bytes);
		return chance(60) ? -ECONNRESET : 0;
	case DO_WRITE:
		if (flaw != FLAW_WRITE_LOST || !chance(20))
			memcpy(at, j->local, j->bytes);
		return chance(60) ? -ECONNRESET : 0;
	default:
		if (chance(60))
			return -ETIMEDOUT;
		memcpy(&word, at, 8);
		if (j->local)
			memcpy(j->local, &word, 8);
		word += j->add;
		if (flaw == FLAW_ADD_TWICE && chance(20))
			word += j->add;
		memcpy(at, &word, 8);
		return chance(60) ? -EREMOTEIO : 0;
	}
}

static int now(enum what what, void *local, rmem_addr_t addr, size_t bytes, uint64_t add)
{
	const struct job j = { what, local, addr, bytes, 0, add, 0 };
	int rc;

	pthread_mutex_lock(&lock);
	rc = carry_out(&j);
	pthread_mutex_unlock(&lock);
	return rc;
}

static int start(struct rmem_queue *q, struct job j)
{
	struct lent *b;
	int rc = -EFAULT;

	pthread_mutex_lock(&lock);
	b = find(j.addr, j.bytes);
	if (b) {
		rc = b->state == LOST ? -ESTALE : 0;
		j.serial = b->serial;
	}
	pthread_mutex_unlock(&lock);
	if (rc == 0)
		q->jobs[q->started++ % DEPTH] = j;
	return rc;
}

/* ---- what the torture calls ---- */

int rmem_open(const char *server, const struct rmem_open_attr *attr, struct rmem **out)
{
	(void)server;
	(void)attr;
	memset(blocks, 0, sizeof(blocks));
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

int rmem_close(struct rmem *rm)
{
	free(rm);
	return 0;
}

int rmem_alloc(struct rmem *rm, size_t bytes, const struct rmem_alloc_attr *attr, rmem_addr_t *out)
{
	const struct timespec t = { LATE_S, 0 };
	bool late;
	int rc;

	(void)rm;
	(void)attr;
	pthread_mutex_lock(&lock);
	rc = lend(bytes, out);
	late = flaw == FLAW_LATE && chance(30);
	pthread_mutex_unlock(&lock);
	if (late)
		nanosleep(&t, NULL);
	return rc;
}

int rmem_free(struct rmem *rm, rmem_addr_t addr)
{
	int rc = -EINVAL;
	struct lent *b;

	(void)rm;
	pthread_mutex_lock(&lock);
	b = find(addr, 1);
	if (b && chance(30)) {
		rc = -ETIMEDOUT;
		b->state = chance(2) ? LOST : b->state; /* done, but nobody has heard of it */
	} else if (b) {
		rc = b->state == LOST ? -ESTALE : 0;
		b->state = NOTHING;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

int rmem_share(struct rmem *rm, rmem_addr_t addr, struct rmem_share_key *out)
{
	(void)rm;
	(void)addr;
	memset(out, 0, sizeof(*out));
	return 0;
}

int rmem_attach(
	struct rmem *rm, rmem_addr_t addr, const struct rmem_share_key *key, size_t *out_bytes)
{
	(void)rm;
	(void)addr;
	(void)key;
	(void)out_bytes;
	return -EACCES; /* another process's memory is not here */
}

int rmem_detach(struct rmem *rm, rmem_addr_t addr)
{
	(void)rm;
	(void)addr;
	return 0;
}

int rmem_read(struct rmem *rm, void *dst, rmem_addr_t src, size_t bytes)
{
	(void)rm;
	return now(DO_READ, dst, src, bytes, 0);
}

int rmem_write(struct rmem *rm, rmem_addr_t dst, const void *src, size_t bytes)
{
	(void)rm;
	return now(DO_WRITE, (void *)src, dst, bytes, 0);
}

int rmem_readv(struct rmem *rm, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote)
{
	int rc = 0;

	(void)nremote; /* the pieces are the same on both sides */
	for (int i = 0; i < nlocal && rc == 0; i++)
		rc = rmem_read(rm, local[i].iov_base, remote[i].base, local[i].iov_len);
	return rc;
}

int rmem_writev(struct rmem *rm, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote)
{
	int rc = 0;

	(void)nremote;
	for (int i = 0; i < nlocal && rc == 0; i++)
		rc = rmem_write(rm, remote[i].base, local[i].iov_base, local[i].iov_len);
	return rc;
}

int rmem_buf_alloc(struct rmem *rm, size_t bytes, void **out)
{
	(void)rm;
	*out = malloc(bytes);
	return *out ? 0 : -ENOMEM;
}

int rmem_buf_release(struct rmem *rm, void *addr)
{
	(void)rm;
	free(addr);
	return 0;
}

int rmem_fetch_add(struct rmem *rm, rmem_addr_t addr, uint64_t add, uint64_t *old)
{
	(void)rm;
	return now(DO_ADD, old, addr, 8, add);
}

/* The torture never expects what is there. */
int rmem_compare_swap(
	struct rmem *rm, rmem_addr_t addr, uint64_t expected, uint64_t desired, uint64_t *old)
{
	(void)rm;
	(void)expected;
	(void)desired;
	return now(DO_ADD, old, addr, 8, 0);
}

int rmem_queue_create(struct rmem *rm, const struct rmem_queue_attr *attr, struct rmem_queue **out)
{
	(void)rm;
	(void)attr;
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void rmem_queue_destroy(struct rmem_queue *q)
{
	free(q);
}

int rmem_start_read(struct rmem_queue *q, void *dst, rmem_addr_t src, size_t bytes, uint64_t tag)
{
	return start(q, (struct job){ DO_READ, dst, src, bytes, tag, 0, 0 });
}

int rmem_start_write(
	struct rmem_queue *q, rmem_addr_t dst, const void *src, size_t bytes, uint64_t tag)
{
	return start(q, (struct job){ DO_WRITE, (void *)src, dst, bytes, tag, 0, 0 });
}

int rmem_start_fetch_add(
	struct rmem_queue *q, rmem_addr_t addr, uint64_t add, uint64_t *old, uint64_t tag)
{
	return start(q, (struct job){ DO_ADD, old, addr, 8, tag, add, 0 });
}

int rmem_fence(struct rmem_queue *q)
{
	(void)q;
	return 0;
}

int rmem_submit(struct rmem_queue *q)
{
	(void)q;
	return 0;
}

int rmem_reap(struct rmem_queue *q, struct rmem_completion *out, int max, int timeout_ms)
{
	int n = 0;

	(void)timeout_ms;
	pthread_mutex_lock(&lock);
	for (; n < max && q->reaped != q->started; n++) {
		const struct job *j = &q->jobs[q->reaped++ % DEPTH];

		out[n].tag = j->tag;
		out[n].status = carry_out(j);
	}
	pthread_mutex_unlock(&lock);
	return n;
}

int rmem_lock_create(struct rmem *rm, rmem_addr_t addr, struct rmem_lock **out)
{
	(void)rm;
	(void)addr;
	(void)out;
	return -EINVAL; /* nothing can be attached, so no lock is made */
}

void rmem_lock_destroy(struct rmem_lock *l)
{
	(void)l;
}

int rmem_lock_acquire(struct rmem_lock *l, int timeout_ms)
{
	(void)l;
	(void)timeout_ms;
	return -EINVAL;
}

int rmem_lock_release(struct rmem_lock *l)
{
	(void)l;
	return -EINVAL;
}

const char *rmem_errmsg(void)
{
	return "";
}
