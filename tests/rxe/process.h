/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs that a test starts: their end is awaited with a limit, never slept for, and none of them
 * outlives the test. One thread.
 *
 * ERRORS: what goes wrong here fails the running test (cmocka).
 */
#ifndef RMEM_TESTS_PROCESS_H
#define RMEM_TESTS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
	pid_t pid; /* 0: none */
	int fd;    /* a pidfd: readable when it has ended */
};

/*
 * argv[0] is the program's path. stdio: its standard input, output and error; -1: ours. Other
 * descriptors are not inherited if they are close-on-exec, as all of ours are.
 */
void process_start(struct process *p, const char *const argv[], const int stdio[3]);

/*
 * This program once more, in a role (its first argument; the second is the port) in which it says so many bytes
 * and stays until it is killed, or *out_input, which is to be closed, ends. In the role: what main() returns.
 */
void process_start_speaker(struct process *p, const char *role, uint16_t port, void *said,
	size_t bytes, int *out_input);
int process_speak(const void *said, size_t bytes);

void process_signal(const struct process *p, int number);

/* Wait for its end; returns the status of waitpid(2). what: for the message if time is up. */
int process_wait(struct process *p, int limit_ms, const char *what);

/* Kill it if it runs, and take it away. Never fails a test. */
void process_end(struct process *p);

#endif
