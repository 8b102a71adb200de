/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program around a party: reads jobs from standard input, one per line, does each, and prints one
 * line of numbers for it. All of a run's jobs can go to one process, in turn with other parties'.
 *
 *	call|flow|alloc read|write BYTES PIECES DEPTH THREADS COUNT
 *
 * and the answer, "-" for what is not known:
 *
 *	VALUE SYSTEM_CALLS SWITCHES DAEMON_US WALL_US
 *
 * VALUE is the median time of a call in microseconds, or operations per second (flow, alloc). System
 * calls and switches are per operation. DAEMON_US is processor time of $RMEM_BENCH_DAEMON while
 * nothing but the job's operations went on, which took WALL_US.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/counters.h"
#include "bench/party.h"

#define THREADS_MAX 16

struct worker {
	const struct job *job;
	pthread_barrier_t *barrier;
	pthread_t thread;
	void *lane;
	double *times; /* of calls */
	double began_us, ended_us;
	struct counters counters;
	int err;
};

struct result {
	double value, daemon_us, wall_us, system_calls, switches;
};

const char *party_host(void)
{
	const char *host = getenv("RMEM_HOST");

	if (!host)
		party_fail("RMEM_HOST is not set: run it where scripts/softroce runs things");
	return host;
}

void party_ready(void)
{
	puts("ready");
	fflush(stdout);
}

int party_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "%s-bench: ", party.name);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return -1;
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* What a program does between two calls: nothing, unless $RMEM_BENCH_PAUSE says how many rounds of nothing. */
static void pause_between(unsigned rounds)
{
	for (volatile unsigned i = 0; i < rounds; i++)
		;
}

static int run_calls(struct worker *w, unsigned count)
{
	const char *text = getenv("RMEM_BENCH_PAUSE");
	const unsigned rounds = text ? (unsigned)strtoul(text, NULL, 0) : 0;

	for (unsigned i = 0; i < count; i++) {
		double began;

		pause_between(rounds);
		began = now_us();
		if (party.call(w->lane))
			return -1;
		w->times[i] = now_us() - began;
	}
	return 0;
}

static int run_flow(struct worker *w, unsigned count)
{
	unsigned started = 0, done = 0;
	int n;

	while (done < count) {
		while (started < count && started - done < w->job->depth)
			if (party.start(w->lane, ++started == count))
				return -1;
		n = party.reap(w->lane);
		if (n < 0)
			return -1;
		done += (unsigned)n;
	}
	return 0;
}

static int run(struct worker *w, unsigned count)
{
	return w->job->mode == MODE_FLOW ? run_flow(w, count) : run_calls(w, count);
}

/*
 * What is measured, and nothing else: tests/instructions counts what goes on in a function of this name.
 */
__attribute__((noinline)) static int run_measured(struct worker *w)
{
	return run(w, w->job->count);
}

/*
 * The barrier is passed four times: all are ready; the main thread has looked at the daemon; all are
 * done; the main thread has looked again. Who failed comes along, so that nobody waits for it.
 */
static void *work(void *arg)
{
	struct worker *w = arg;
	const struct job *job = w->job;
	unsigned warm_up = job->count / 8 + 1;

	w->err = party.attach(job, &w->lane);
	if (!w->err)
		w->err = run(w, warm_up);
	pthread_barrier_wait(w->barrier);
	pthread_barrier_wait(w->barrier);
	counters_begin(&w->counters);
	w->began_us = now_us();
	if (!w->err)
		w->err = run_measured(w);
	w->ended_us = now_us();
	counters_end(&w->counters);
	pthread_barrier_wait(w->barrier);
	pthread_barrier_wait(w->barrier);
	if (w->lane)
		party.detach(w->lane);
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Put the threads' numbers together. */
static int summarize(struct worker *workers, const struct job *job, struct result *out)
{
	double began = workers[0].began_us, ended = workers[0].ended_us;
	double ops = (double)job->count * job->threads;

	for (unsigned i = 0; i < job->threads; i++) {
		struct worker *w = &workers[i];

		if (w->err)
			return -1;
		began = w->began_us < began ? w->began_us : began;
		ended = w->ended_us > ended ? w->ended_us : ended;
		out->switches += w->counters.switches / ops;
		out->system_calls += w->counters.system_calls / ops;
	}
	out->wall_us = ended - began;
	out->value = ops * 1e6 / out->wall_us;
	if (job->mode == MODE_CALL) {
		qsort(workers[0].times, job->count, sizeof(double), by_value);
		out->value = workers[0].times[job->count / 2];
	}
	return 0;
}

static int run_job(const struct job *job, struct result *out)
{
	struct worker workers[THREADS_MAX] = { 0 };
	pthread_barrier_t barrier;
	double daemon_before;
	int err = 0;

	*out = (struct result){ 0 };
	pthread_barrier_init(&barrier, NULL, job->threads + 1);
	for (unsigned i = 0; i < job->threads; i++) {
		workers[i].job = job;
		workers[i].barrier = &barrier;
		workers[i].times = calloc(job->count, sizeof(double));
		if (!workers[i].times ||
			pthread_create(&workers[i].thread, NULL, work, &workers[i])) {
			/* The threads already there wait for this one: there is no way on. */
			party_fail("cannot start a thread");
			exit(1);
		}
	}
	pthread_barrier_wait(&barrier);
	daemon_before = daemon_cpu_us();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	out->daemon_us = daemon_before < 0 ? -1 : daemon_cpu_us() - daemon_before;
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < job->threads; i++)
		pthread_join(workers[i].thread, NULL);
	err = summarize(workers, job, out);
	for (unsigned i = 0; i < job->threads; i++)
		free(workers[i].times);
	pthread_barrier_destroy(&barrier);
	return err;
}

static int parse(const char *line, struct job *job)
{
	static const char *const modes[] = { "call", "flow", "alloc" };
	char mode[8], direction[8];

	if (sscanf(line, "%7s %7s %zu %u %u %u %u", mode, direction, &job->bytes, &job->pieces,
		    &job->depth, &job->threads, &job->count) != 7)
		return party_fail("not a job: %s", line);
	job->write = !strcmp(direction, "write");
	for (job->mode = MODE_CALL; strcmp(mode, modes[job->mode]) != 0; job->mode++)
		if (job->mode == MODE_ALLOC)
			return party_fail("no such job: %s", line);
	if (!job->bytes || !job->pieces || job->pieces > PIECES_MAX || !job->depth ||
		job->depth > DEPTH_MAX || !job->threads || job->threads > THREADS_MAX ||
		job->count < 1 || job->count > 10000000 ||
		piece_offset(job, job->pieces - 1) + job->bytes > REGION_BYTES)
		return party_fail("out of range: %s", line);
	return 0;
}

static void print_number(double value, char end)
{
	if (value < 0)
		printf("-%c", end);
	else
		printf("%.6g%c", value, end);
}

int main(int argc, char **argv)
{
	struct result result;
	struct job job;
	char line[256];
	int err;

	if (argc == 2 && !strcmp(argv[1], "--serve") && party.serve)
		return party.serve() ? 1 : 0;
	if (argc != 1) {
		fprintf(stderr, "Usage: %s-bench%s <JOBS; see bench/README.md\n", party.name,
			party.serve ? " --serve, or" : "");
		return 2;
	}
	err = party.open();
	while (!err && fgets(line, sizeof(line), stdin)) {
		err = parse(line, &job) || run_job(&job, &result);
		if (err)
			break;
		print_number(result.value, ' ');
		print_number(result.system_calls, ' ');
		print_number(result.switches, ' ');
		print_number(result.daemon_us, ' ');
		print_number(result.wall_us, '\n');
		fflush(stdout);
	}
	party.close();
	return err ? 1 : 0;
}
