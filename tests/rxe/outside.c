/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/outside.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/rxe/client.h"

#define ARGUMENTS_MAX 32

/* ---- rmemctl ---- */

static void slurp(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, out, size - 1);

	assert_true(fd >= 0 && n >= 0);
	out[n] = '\0';
	close(fd);
}

/* Run to the end; descriptors of the test are not inherited. */
static void run(struct rig *r, const char *const argv[], struct rig_output *out)
{
	char out_path[128], err_path[128];
	struct process process;
	int fds[3];

	snprintf(out_path, sizeof(out_path), "%s/run.out", r->dir);
	snprintf(err_path, sizeof(err_path), "%s/run.err", r->dir);
	fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC); /* no terminal to be asked at */
	fds[1] = open(out_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	fds[2] = open(err_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	process_start(&process, argv, fds);
	close(fds[0]);
	close(fds[1]);
	close(fds[2]);
	out->status = process_wait(&process, RIG_LIMIT_MS, argv[0]);
	out->status = WIFEXITED(out->status) ? WEXITSTATUS(out->status) : -1;
	slurp(out_path, out->out, sizeof(out->out));
	slurp(err_path, out->err, sizeof(out->err));
}

static void run_ctl(struct rig *r, const char *where, const char *which,
	const char *const arguments[], struct rig_output *out)
{
	const char *argv[ARGUMENTS_MAX] = { RMEMCTL_PATH, where, which };

	for (size_t i = 0; arguments[i]; i++) {
		assert_true(3 + i + 1 < ARGUMENTS_MAX);
		argv[3 + i] = arguments[i];
	}
	run(r, argv, out);
}

void rig_ctl(struct rig *r, const char *const arguments[], struct rig_output *out)
{
	run_ctl(r, "--admin", r->admin, arguments, out);
}

void rig_ctl_remote(struct rig *r, const char *const arguments[], struct rig_output *out)
{
	run_ctl(r, "--server", r->server, arguments, out);
}

/* ---- what is open ---- */

static unsigned count_files(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2; /* . and .. */
}

void rig_footprint(struct rig *r, char out[RIG_FOOTPRINT_SIZE])
{
	static struct rig_output objects;
	char command[160];
	const char *const argv[] = { "/bin/sh", "-c", command, NULL };

	snprintf(command, sizeof(command),
		"for kind in pd cq qp cm_id mr ctx; do echo $kind "
		"$(rdma resource show $kind | grep -cw 'pid %d'); done",
		(int)r->daemon.pid);
	run(r, argv, &objects);
	if (objects.status != 0)
		fail_msg("rdma resource show: %s", objects.err);
	if (strncmp(objects.out, "pd 0", 4) == 0)
		fail_msg("rdma resource show does not know rmemd: %s", objects.out);
	snprintf(out, RIG_FOOTPRINT_SIZE, "%u files\n%.4000s", count_files(r->daemon.pid),
		objects.out);
}

void rig_await_footprint(struct rig *r, const char *wanted)
{
	uint64_t until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;
	char now[RIG_FOOTPRINT_SIZE];

	for (;;) {
		rig_footprint(r, now);
		if (strcmp(now, wanted) == 0)
			return;
		if (clock_boot_ns() > until_ns)
			fail_msg(
				"rmemd has left something open: %s\nwhere it had: %s", now, wanted);
		rig_elapse(50);
	}
}

struct rig_health rig_look(struct rig *r)
{
	struct rig_health h = { .refused = rig_ask_number(r, "status", "counters.refused_requests"),
		.files = count_files(r->daemon.pid) };
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)r->daemon.pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		(void)sscanf(line, "VmRSS: %lld", &h.rss_kb);
	fclose(f);
	return h;
}

/* ---- a client ---- */

void rig_assert_serves(struct rig *r)
{
	struct client *c = client_start_puppet(r->server, 10000);
	uint64_t addr;

	client_open(c);
	addr = client_alloc(c, 10000, -1);
	client_fill(c, addr, 10000, 42);
	client_check(c, addr, 10000, 42);
	client_free(c, addr);
	client_close(c);
	client_finish(c);
}
