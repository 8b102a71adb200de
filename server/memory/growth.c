/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/growth.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

#include "common/denial.h"
#include "common/log.h"
#include "numa/topology.h"
#include "server/base/thread.h"

struct growth_job {
	struct growth *growth;
	bool shrinks;
	struct segment *segment; /* NULL: the thread has closed it */
	unsigned number, node;
	uint64_t bytes;
	struct progress progress;
	pthread_t thread;
	_Atomic bool done;
	int err;
	struct errinfo errinfo;
	struct growth_job *prev, *next;
};

/* ---- threads ---- */

/* Closing gives all the memory back, which takes long. */
static void let_go(struct growth_job *job)
{
	struct growth *g = job->growth;

	if (g->leave)
		g->leave(g->context, job->number);
	segment_close(job->segment);
	job->segment = NULL;
}

static void *run(void *arg)
{
	struct growth_job *job = arg;
	struct growth *g = job->growth;
	const uint64_t one = 1;

	if (!job->shrinks)
		job->err =
			segment_populate(job->segment, g->topology, &job->progress, &job->errinfo);
	if (!job->shrinks && !job->err && g->reach)
		job->err = g->reach(g->context, job->segment, &job->progress, &job->errinfo);
	if (job->shrinks || job->err)
		let_go(job);
	atomic_store(&job->done, true);
	(void)!write(
		g->done_fd, &one, sizeof(one)); /* cannot fail: the counter does not overflow */
	return NULL;
}

static int start(struct growth *g, struct segment *s, bool shrinks, struct errinfo *errinfo)
{
	struct growth_job *job = calloc(1, sizeof(*job));
	int err;

	if (!job)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	job->growth = g;
	job->shrinks = shrinks;
	job->segment = s;
	job->number = s->number;
	job->node = s->node;
	job->bytes = s->arena.bytes;
	err = thread_start(&job->thread, run, job);
	if (err) {
		free(job);
		return denial_explain(DENIED_THREAD, err,
			"no thread can be started to make memory ready", errinfo);
	}
	DL_APPEND(g->jobs, job);
	return 0;
}

/* ---- larger ---- */

static int grow(struct growth *g, unsigned node, uint64_t bytes, struct errinfo *errinfo)
{
	struct arena_config config = {
		.data_dir = g->data->arenas, .node = node, .bytes = bytes, .topology = g->topology
	};
	struct segment *s;
	int err = pool_make_segment(g->pool, &config, &s, errinfo);

	if (err)
		return err;
	err = start(g, s, false, errinfo);
	if (err) {
		pool_drop_segment(g->pool, g->data, s->number, s->node);
		segment_close(s);
	}
	return err;
}

int growth_begin(struct growth *g, const struct sizes *sizes, struct errinfo *errinfo)
{
	int err = 0;

	for (size_t i = 0; i < sizes->count && !err; i++) {
		const struct sizes_node *n = &sizes->nodes[i];
		const uint64_t have = pool_size_bytes(g->pool, 1ULL << n->node);

		if (n->bytes > have)
			err = grow(g, n->node, n->bytes - have, errinfo);
	}
	return err;
}

/* All nodes, as they would be: the limits are those of the whole pool. */
static int check_limits(struct growth *g, const struct sizes *wanted, struct errinfo *errinfo)
{
	struct sizes all = *wanted;
	struct limits limits;
	int err;

	for (unsigned i = 0; i < g->pool->nnodes; i++) {
		const unsigned node = g->pool->nodes[i].node;
		size_t at = 0;

		while (at < wanted->count && wanted->nodes[at].node != node)
			at++;
		if (at == wanted->count)
			all.nodes[all.count++] =
				(struct sizes_node){ node, pool_size_bytes(g->pool, 1ULL << node) };
	}
	topology_refresh(g->topology);
	err = limits_read(g->data->arenas, &limits, errinfo);
	if (!err)
		err = limits_check(g->topology, &limits, &all, errinfo);
	return err ? err : limits_raise_memlock(&limits, &all, g->connections, errinfo);
}

/* ---- smaller ---- */

static bool is_empty(const struct segment *s)
{
	return buddy_free_bytes(s->buddy) == s->arena.bytes;
}

/* The largest segment of a node, of at most so many bytes, that is (not) empty. */
static struct segment *largest(const struct pool *p, unsigned node, uint64_t bytes, bool empty)
{
	struct segment *s, *best = NULL;
	unsigned cursor = 0;

	while ((s = pool_next_segment(p, &cursor)) != NULL) {
		if (s->node == node && s->arena.bytes <= bytes && is_empty(s) == empty &&
			(!best || s->arena.bytes > best->arena.bytes))
			best = s;
	}
	return best;
}

/* Nothing is lent from there, so no window is bound over it. The thread closes it: it is not touched any more. */
static int drop(struct growth *g, struct segment *s, struct errinfo *errinfo)
{
	const unsigned number = s->number, node = s->node;
	int err;

	g->pool->segments[number] = NULL;
	err = start(g, s, true, errinfo);
	if (err)
		g->pool->segments[number] = s;
	else
		pool_drop_segment(g->pool, g->data, number, node);
	return err;
}

static int shrink(struct growth *g, struct growth_node *n, struct errinfo *errinfo)
{
	struct segment *s;
	int err = 0;

	while (!err && n->size_bytes > n->wanted_bytes &&
		(s = largest(g->pool, n->node, n->size_bytes - n->wanted_bytes, true)) != NULL) {
		const uint64_t bytes = s->arena.bytes;

		err = drop(g, s, errinfo);
		if (!err)
			n->size_bytes -= bytes;
	}
	s = largest(g->pool, n->node, n->size_bytes - n->wanted_bytes, false);
	n->in_the_way = s ? (int)s->number : -1;
	return err;
}

/* ---- both ---- */

static int resize_node(struct growth *g, struct growth_node *n, struct errinfo *errinfo)
{
	int err;

	if (n->wanted_bytes < n->was_bytes)
		return shrink(g, n, errinfo);
	if (n->wanted_bytes == n->was_bytes)
		return 0;
	err = grow(g, n->node, n->wanted_bytes - n->was_bytes, errinfo);
	n->coming_bytes = err ? 0 : n->wanted_bytes - n->was_bytes;
	return err;
}

int growth_resize(struct growth *g, const struct sizes *wanted, struct growth_outcome *out,
	struct errinfo *errinfo)
{
	int err;

	if (g->jobs)
		return errinfo_set(errinfo, -EBUSY,
			"the size is being changed: rmemctl status tells how far that is");
	err = check_limits(g, wanted, errinfo);
	out->count = 0;
	for (size_t i = 0; i < wanted->count && !err; i++) {
		const uint64_t bytes = pool_size_bytes(g->pool, 1ULL << wanted->nodes[i].node);
		struct growth_node *n = &out->nodes[out->count++];

		*n = (struct growth_node){ .node = wanted->nodes[i].node,
			.was_bytes = bytes,
			.wanted_bytes = wanted->nodes[i].bytes,
			.size_bytes = bytes,
			.in_the_way = -1 };
		err = resize_node(g, n, errinfo);
	}
	return err;
}

/* ---- done ---- */

static int add(struct growth *g, struct growth_job *job, struct errinfo *errinfo)
{
	/* The proof first: if it is missing, the next start wipes. */
	int err = pool_prove_segment(g->pool, job->segment);

	if (err)
		return datadir_fail(g->data, DATADIR_POOL, err, errinfo);
	return pool_add_segment(g->pool, job->segment, g->topology, errinfo);
}

static bool finish(struct growth *g, struct growth_job *job)
{
	char bytes[UNITS_TEXT_SIZE];
	bool added = false;

	pthread_join(job->thread, NULL);
	units_format_bytes(job->bytes, bytes, sizeof(bytes));
	if (!job->err && !job->shrinks) {
		job->err = add(g, job, &job->errinfo);
		added = !job->err;
	}
	if (job->err) {
		if (job->segment)
			let_go(job);
		pool_drop_segment(g->pool, g->data, job->number, job->node);
		g->failure = job->errinfo;
		log_at(job->err == -ECANCELED ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
			"node %u does not get %s more: %s", job->node, bytes, job->errinfo.text);
	} else {
		g->failure.text[0] = '\0';
		log_info("node %u has %s %s now", job->node, bytes, job->shrinks ? "less" : "more");
	}
	DL_DELETE(g->jobs, job);
	free(job);
	return added;
}

bool growth_finish(struct growth *g)
{
	struct growth_job *job, *next;
	bool added = false;
	uint64_t n;

	(void)!read(g->done_fd, &n, sizeof(n)); /* only resets the eventfd */
	DL_FOREACH_SAFE (g->jobs, job, next) {
		if (atomic_load(&job->done))
			added |= finish(g, job);
	}
	return added;
}

uint64_t growth_coming_bytes(const struct growth *g, uint64_t *out_ready_bytes)
{
	const struct growth_job *job;
	uint64_t bytes = 0;

	*out_ready_bytes = 0;
	DL_FOREACH (g->jobs, job) {
		const uint64_t ready = atomic_load(&job->progress.done_bytes);

		if (job->shrinks)
			continue;
		bytes += job->bytes;
		/* Registration counts too, after all is populated. */
		*out_ready_bytes += ready < job->bytes ? ready : job->bytes;
	}
	return bytes;
}

int growth_open(struct growth *g, struct errinfo *errinfo)
{
	g->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return g->done_fd < 0 ? denial_explain(DENIED_FILE, -errno, "an eventfd", errinfo) : 0;
}

void growth_close(struct growth *g)
{
	struct growth_job *job;

	DL_FOREACH (g->jobs, job)
		atomic_store(&job->progress.stop, true);
	while (g->jobs)
		(void)finish(g, g->jobs);
	if (g->pool && g->done_fd >= 0)
		close(g->done_fd);
	g->done_fd = -1;
}
