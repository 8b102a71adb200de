/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/demangle.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/message.h"

#define NAME_SIZE sizeof(((struct site_name *)0)->function)
#define MEMORY_MORE (64UL << 20)
#define CPU_SECONDS 1
#define FAILURES_MAX 2 /* children that were lost on a name */

/* Of the C++ ABI: the text is malloc()ed; NULL: no name. */
typedef char *cxa_demangle_fn(const char *name, char *out, size_t *size, int *status);

static void limit(int resource, rlim_t value)
{
	const struct rlimit r = { value, value };

	if (setrlimit(resource, &r) != 0)
		_exit(1);
}

static rlim_t memory_now(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char line[64];

	if (!f || !fgets(line, sizeof(line), f))
		_exit(1);
	fclose(f);
	return (rlim_t)strtoul(line, NULL, 10) * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* The child: a packet with a name, a packet with its text, or one that is empty but for a terminator. */
static _Noreturn void serve(int fd, cxa_demangle_fn *cxa_demangle)
{
	char name[NAME_SIZE];
	ssize_t n;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_CPU, CPU_SECONDS);
	limit(RLIMIT_AS, memory_now() + MEMORY_MORE);
	while ((n = recv(fd, name, sizeof(name) - 1, 0)) > 0) {
		int status;
		char *text;

		name[n] = '\0';
		text = cxa_demangle(name, NULL, NULL, &status);
		if (send(fd, text ? text : "", text ? strnlen(text, DEMANGLED_SIZE - 1) : 1,
			    MSG_NOSIGNAL) < 0)
			break;
		free(text);
	}
	_exit(0);
}

static int start(struct demangler *d)
{
	void *library = dlopen("libstdc++.so.6", RTLD_NOW);
	cxa_demangle_fn *fn = library ? (cxa_demangle_fn *)dlsym(library, "__cxa_demangle") : NULL;
	int fds[2];

	if (!fn || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return -1;
	d->child = fork();
	if (d->child == 0) {
		close(fds[0]);
		serve(fds[1], fn);
	}
	close(fds[1]);
	if (d->child > 0) {
		d->fd = fds[0];
		return 0;
	}
	d->child = 0;
	close(fds[0]);
	return -1;
}

void demangler_end(struct demangler *d)
{
	if (!d->child)
		return;
	close(d->fd);
	while (waitpid(d->child, NULL, 0) < 0 && errno == EINTR)
		;
	d->child = 0;
}

const char *demangle(struct demangler *d, const char *name, char out[DEMANGLED_SIZE])
{
	const size_t length = strlen(name);
	ssize_t n = -1;

	if (strncmp(name, "_Z", 2) != 0 || length >= NAME_SIZE || d->failures == FAILURES_MAX)
		return NULL;
	if (!d->child && start(d) != 0) {
		d->failures = FAILURES_MAX;
		return NULL;
	}
	if (send(d->fd, name, length, MSG_NOSIGNAL) == (ssize_t)length)
		do
			n = recv(d->fd, out, DEMANGLED_SIZE - 1, 0);
		while (n < 0 && errno == EINTR);
	if (n <= 0) {
		d->failures++;
		demangler_end(d);
		return NULL;
	}
	out[n] = '\0';
	return out[0] ? out : NULL;
}
