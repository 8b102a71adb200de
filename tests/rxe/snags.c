/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/snags.h"

#include <dlfcn.h>
#include <errno.h>
#include <infiniband/verbs.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&(name)))real(#name))
#define QUEUES_MAX 256

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool symbols_stuck, symbols_refused, names_stuck;
static unsigned symbols_met, names_met, names_asked;
static char the_address[64];

static void *real(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f) {
		fprintf(stderr, "there is no %s\n", name);
		abort();
	}
	return f;
}

static void set(bool *what, bool on)
{
	pthread_mutex_lock(&lock);
	*what = on;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void pass(const bool *stuck, unsigned *met)
{
	pthread_mutex_lock(&lock);
	*met += *stuck;
	while (*stuck)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static unsigned look(const unsigned *count)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = *count;
	pthread_mutex_unlock(&lock);
	return n;
}

/* ---- libdw ---- */

void snag_symbols(enum snag how)
{
	set(&symbols_refused, how == SNAG_REFUSED);
	set(&symbols_stuck, how == SNAG_STUCK);
}

unsigned snag_symbols_met(void)
{
	return look(&symbols_met);
}

EXPORT void *dwfl_begin(const void *callbacks);
EXPORT void *dwfl_begin(const void *callbacks)
{
	bool refused;

	pass(&symbols_stuck, &symbols_met);
	pthread_mutex_lock(&lock);
	refused = symbols_refused;
	pthread_mutex_unlock(&lock);
	return refused ? NULL : REAL(dwfl_begin)(callbacks);
}

/* ---- names ---- */

void snag_names(bool on)
{
	set(&names_stuck, on);
}

void snag_set_address(const char *address)
{
	pthread_mutex_lock(&lock);
	snprintf(the_address, sizeof(the_address), "%s", address);
	pthread_mutex_unlock(&lock);
}

unsigned snag_names_asked(void)
{
	return look(&names_asked);
}

static bool is_ours(const char *node)
{
	size_t n = node ? strlen(node) : 0;

	return n > 5 && strcmp(node + n - 5, ".snag") == 0;
}

EXPORT int getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	char address[sizeof(the_address)];

	if (!is_ours(node) || (hints && hints->ai_flags & AI_NUMERICHOST))
		return REAL(getaddrinfo)(node, service, hints, out);
	pthread_mutex_lock(&lock);
	names_asked++;
	pthread_mutex_unlock(&lock);
	pass(&names_stuck, &names_met);
	pthread_mutex_lock(&lock);
	memcpy(address, the_address, sizeof(address));
	pthread_mutex_unlock(&lock);
	return REAL(getaddrinfo)(address, service, hints, out);
}

/* ---- completions ---- */

static struct ibv_cq *queues[QUEUES_MAX];
static bool is_stuck[QUEUES_MAX];
static unsigned nqueues;
static atomic_uint kept;
static int (*real_poll)(struct ibv_cq *cq, int max, struct ibv_wc *wc);

void snag_completions(void)
{
	snag_completions_after(0);
}

void snag_completions_after(unsigned n)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = n; i < nqueues; i++)
		is_stuck[i] = true;
	pthread_mutex_unlock(&lock);
}

unsigned snag_queues(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = nqueues;
	pthread_mutex_unlock(&lock);
	return n;
}

unsigned snag_completions_kept(void)
{
	return atomic_load(&kept);
}

static int poll_unless_stuck(struct ibv_cq *cq, int max, struct ibv_wc *wc)
{
	bool stuck = false;
	int n;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < nqueues; i++)
		stuck = stuck || (queues[i] == cq && is_stuck[i]);
	pthread_mutex_unlock(&lock);
	n = real_poll(cq, max, wc);
	if (!stuck || n <= 0)
		return n;
	atomic_fetch_add(&kept, (unsigned)n);
	return 0;
}

EXPORT struct ibv_cq *ibv_create_cq(struct ibv_context *device, int cqe, void *ctx,
	struct ibv_comp_channel *channel, int vector)
{
	struct ibv_cq *cq = REAL(ibv_create_cq)(device, cqe, ctx, channel, vector);

	pthread_mutex_lock(&lock);
	if (cq && device->ops.poll_cq != poll_unless_stuck) {
		real_poll = device->ops.poll_cq;
		device->ops.poll_cq = poll_unless_stuck;
	}
	if (cq && nqueues < QUEUES_MAX)
		queues[nqueues++] = cq;
	pthread_mutex_unlock(&lock);
	return cq;
}

EXPORT int ibv_destroy_cq(struct ibv_cq *cq)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < nqueues; i++)
		if (queues[i] == cq) {
			nqueues--;
			queues[i] = queues[nqueues];
			is_stuck[i] = is_stuck[nqueues];
			is_stuck[nqueues] = false;
			break;
		}
	pthread_mutex_unlock(&lock);
	return REAL(ibv_destroy_cq)(cq);
}
