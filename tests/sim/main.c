/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulation (README.md): run seeds, or one that has failed once more. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <malloc.h>
#include <unistd.h>

#include "tests/sim/moment.h"
#include "tests/sim/rooms.h"
#include "tests/sim/sim.h"
#include "tests/sim/trace.h"

#ifdef SIM_STORES
#define SEEDS 2000
#else
#define SEEDS 300 /* with sanitizers, which take their time */
#endif
#define SEEDS_VALGRIND 10
#define STEPS 800
#define SECONDS_MAX 20 /* for one seed: it does not end */

struct arguments {
	uint64_t seed, seeds;
	unsigned steps;
	bool verbose;
};

static const char usage[] =
	"Usage: test_sim [OPTION]...\n"
	"\n"
	"Simulate a server and its clients. A seed says all that happens, in which order.\n"
	"\n"
	"  --seeds N   so many seeds (default 2000; 300 with sanitizers), the first of them "
	"--seed\n"
	"  --seed S    only this one (default 1); the same as before, if --steps is\n"
	"  --steps N   events of a seed (default 800)\n"
	"  --verbose   say what happens, not only at the end of a seed that fails\n"
	"  --help\n"
	"\n"
	"Exit status: 0 all is well, 1 a seed has failed (it is printed), 2 wrong arguments, 77 no "
	"/dev/shm.\n";

static bool parse_number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	return !errno && *text && !*end;
}

static bool parse(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = { { "seeds", 1, NULL, 'n' },
		{ "seed", 1, NULL, 's' }, { "steps", 1, NULL, 't' }, { "verbose", 0, NULL, 'v' },
		{ "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	bool ok = true, only = false, many = false;
	uint64_t steps = a->steps;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		only |= c == 's';
		many |= c == 'n';
		a->verbose |= c == 'v';
		ok &= c != '?';
		if (c == 'n')
			ok &= parse_number(optarg, &a->seeds);
		else if (c == 's')
			ok &= parse_number(optarg, &a->seed);
		else if (c == 't')
			ok &= parse_number(optarg, &steps);
	}
	if (only && !many)
		a->seeds = 1;
	a->steps = (unsigned)steps;
	return ok && optind == argc;
}

/* The server has crashed or does not end: that is a failure of this seed too. */
static void on_signal(int number)
{
	trace_fail("%s", number == SIGALRM ? "it does not end" : "the program crashed");
}

int main(int argc, char **argv)
{
	struct arguments a = { .seed = 1, .seeds = SEEDS, .steps = STEPS };
	uint64_t began_ns;

	if (getenv("RMEM_TEST_VALGRIND"))
		a.seeds = SEEDS_VALGRIND;
	if (!parse(argc, argv, &a)) {
		fputs(usage, stderr);
		return 2;
	}
	mallopt(M_MMAP_THRESHOLD,
		256 << 10); /* tables that are mostly empty cost only what is used */
	signal(SIGALRM, on_signal);
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	signal(SIGABRT, on_signal);
	rooms_make_directory();
	atexit(rooms_remove_directory);
	began_ns = moment_real_ns();
	for (uint64_t i = 0; i < a.seeds; i++) {
		alarm(SECONDS_MAX);
		trace_begin(a.seed + i, a.steps, a.verbose);
		sim_run(a.seed + i, a.steps);
	}
	printf("%" PRIu64 " seeds, %" PRIu64 " events written down, %.0f steps a second\n", a.seeds,
		trace_events,
		(double)(a.seeds * a.steps) / ((double)(moment_real_ns() - began_ns) / 1e9 + 1e-9));
	return 0;
}
