/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/rxe/rig.h"

#define CANNOT_START 127

/* In the child: only what may be called when other threads existed. */
static void become(const char *const argv[], const int stdio[3])
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 3; i++) {
		if (stdio[i] >= 0 && dup2(stdio[i], i) < 0)
			_exit(CANNOT_START);
	}
	execv(argv[0], (char *const *)argv);
	_exit(CANNOT_START);
}

void process_start(struct process *p, const char *const argv[], const int stdio[3])
{
	pid_t pid = fork();

	if (pid < 0)
		fail_msg("fork: %s", strerror(errno));
	if (pid == 0)
		become(argv, stdio);
	p->pid = pid;
	p->fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p->fd < 0)
		fail_msg("pidfd_open: %s", strerror(errno));
}

void process_start_speaker(struct process *p, const char *role, uint16_t port, void *said,
	size_t bytes, int *out_input)
{
	char port_text[8];
	const char *const argv[] = { "/proc/self/exe", role, port_text, NULL };
	int in[2], from[2];

	snprintf(port_text, sizeof(port_text), "%u", port);
	/* Nobody else, it itself included, has the end whose closing it waits for. */
	assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(from, O_CLOEXEC), 0);
	process_start(p, argv, (const int[]){ in[0], from[1], -1 });
	close(in[0]);
	close(from[1]);
	for (size_t n = 0; n < bytes;) {
		struct pollfd news = { .fd = from[0], .events = POLLIN };
		ssize_t got;

		if (poll(&news, 1, RIG_LIMIT_MS) != 1)
			fail_msg("%s[%d] says nothing", role, (int)p->pid);
		got = read(from[0], (char *)said + n, bytes - n);

		assert_true(got > 0);
		n += (size_t)got;
	}
	close(from[0]);
	*out_input = in[1];
}

int process_speak(const void *said, size_t bytes)
{
	char c;

	if (write(STDOUT_FILENO, said, bytes) != (ssize_t)bytes)
		return 1;
	return read(STDIN_FILENO, &c, 1) == 0 ? 0 : 1;
}

void process_signal(const struct process *p, int number)
{
	if (kill(p->pid, number))
		fail_msg("kill %d: %s", (int)p->pid, strerror(errno));
}

static int reap(struct process *p)
{
	int status = 0;

	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (p->fd >= 0)
		close(p->fd);
	*p = (struct process){ .fd = -1 };
	return status;
}

int process_wait(struct process *p, int limit_ms, const char *what)
{
	struct pollfd ended = { .fd = p->fd, .events = POLLIN };

	if (poll(&ended, 1, limit_ms) != 1)
		fail_msg("%s[%d] did not end within %d ms", what, (int)p->pid, limit_ms);
	return reap(p);
}

void process_end(struct process *p)
{
	if (p->pid <= 0)
		return;
	kill(p->pid, SIGKILL);
	reap(p);
}
