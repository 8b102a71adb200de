/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rmem-bench: one measurement of librmem, one number on stdout. scripts/bench runs it in turn with
 * perftest and does the statistics.
 *
 *	read_lat write_lat	median time of one blocking call, in microseconds
 *	read_bw write_bw	MiB/s of messages of SIZE bytes, BATCH of them in one scatter-gather call
 *	alloc_rate		pairs of rmem_alloc and rmem_free per second
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rmem/rmem.h>

#define BATCH 16
#define WARM_UP 32

struct job {
	struct rmem *rm;
	size_t bytes;
	unsigned count;
	bool write;
};

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int latency(const struct job *job, double *out)
{
	double *times = calloc(job->count, sizeof(*times));
	char *local = calloc(1, job->bytes);
	rmem_addr_t remote;
	int err = times && local ? rmem_alloc(job->rm, job->bytes, NULL, &remote) : -1;

	for (unsigned i = 0; !err && i < job->count + WARM_UP; i++) {
		double began = now_us();

		err = job->write ? rmem_write(job->rm, remote, local, job->bytes)
				 : rmem_read(job->rm, local, remote, job->bytes);
		if (i >= WARM_UP)
			times[i - WARM_UP] = now_us() - began;
	}
	if (!err) {
		qsort(times, job->count, sizeof(*times), by_value);
		*out = times[job->count / 2];
		err = rmem_free(job->rm, remote);
	}
	free(times);
	free(local);
	return err;
}

static int bandwidth(const struct job *job, double *out)
{
	char *local = aligned_alloc(4096, BATCH * job->bytes);
	struct rmem_iovec remote[BATCH];
	struct iovec here[BATCH];
	double began = 0;
	int err = local ? 0 : -1;

	for (unsigned i = 0; !err && i < BATCH; i++) {
		here[i] = (struct iovec){ local + i * job->bytes, job->bytes };
		remote[i].len = job->bytes;
		err = rmem_alloc(job->rm, job->bytes, NULL, &remote[i].base);
	}
	if (!err)
		memset(local, 1, BATCH * job->bytes);
	for (unsigned i = 0; !err && i < job->count + 1; i++) {
		if (i == 1)
			began = now_us();
		err = job->write ? rmem_writev(job->rm, here, BATCH, remote, BATCH)
				 : rmem_readv(job->rm, here, BATCH, remote, BATCH);
	}
	if (!err)
		*out = (double)job->count * BATCH * (double)job->bytes / 1048576 * 1e6 /
		       (now_us() - began);
	for (unsigned i = 0; !err && i < BATCH; i++)
		err = rmem_free(job->rm, remote[i].base);
	free(local);
	return err;
}

static int alloc_rate(const struct job *job, double *out)
{
	double began = now_us();
	rmem_addr_t remote;
	int err = 0;

	for (unsigned i = 0; !err && i < job->count; i++) {
		err = rmem_alloc(job->rm, job->bytes, NULL, &remote);
		if (!err)
			err = rmem_free(job->rm, remote);
	}
	*out = job->count * 1e6 / (now_us() - began);
	return err;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct job *job, double *out);
		bool write;
	} jobs[] = { { "read_lat", latency, false }, { "write_lat", latency, true },
		{ "read_bw", bandwidth, false }, { "write_bw", bandwidth, true },
		{ "alloc_rate", alloc_rate, false } };
	struct job job = { 0 };
	double result;

	if (argc != 4) {
		fputs("Usage: rmem-bench read_lat|write_lat|read_bw|write_bw|alloc_rate BYTES "
		      "COUNT\n",
			stderr);
		return 2;
	}
	job.bytes = strtoul(argv[2], NULL, 10);
	job.count = (unsigned)strtoul(argv[3], NULL, 10);
	if (!job.bytes || !job.count)
		return 2;
	for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
		if (strcmp(argv[1], jobs[i].name) != 0)
			continue;
		job.write = jobs[i].write;
		if (rmem_open(NULL, NULL, &job.rm) || jobs[i].run(&job, &result)) {
			fprintf(stderr, "rmem-bench: %s\n", rmem_errmsg());
			return 1;
		}
		printf("%.3f\n", result);
		return rmem_close(job.rm) ? 1 : 0;
	}
	return 2;
}
