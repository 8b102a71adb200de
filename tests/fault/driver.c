/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/driver.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCENARIO_LIMIT_MS 120000 /* it takes well under a second, or a timeout or two */

struct fault_plan *fault_share(struct rig *r, const char *name, char path[128])
{
	struct fault_plan *plan;
	int fd;

	snprintf(path, 128, "%s/%s", r->dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(*plan)), 0);
	plan = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(plan != MAP_FAILED);
	close(fd);
	return plan;
}

void fault_unshare(struct fault_plan *plan)
{
	munmap(plan, sizeof(*plan));
}

void fault_preload_begin(const char *plan_path, const char *owner)
{
	setenv(FAULT_FILE, plan_path, 1);
	setenv(FAULT_OWNER, owner, 1);
	setenv("LD_PRELOAD", FAULT_LIBRARY, 1);
}

void fault_preload_end(void)
{
	unsetenv(FAULT_FILE);
	unsetenv(FAULT_OWNER);
	unsetenv("LD_PRELOAD");
}

/* ---- which calls ---- */

bool fault_wanted(enum fault_kind kind)
{
	const char *only = getenv("RMEM_FAULT_KIND"), *name = fault_names[kind];
	size_t length = strlen(name);

	for (const char *at = only; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (strncmp(at, name, length) == 0 && (!at[length] || at[length] == ','))
			return true;
	return !only;
}

size_t fault_limit(size_t limit)
{
	const char *text = getenv("RMEM_FAULT_LIMIT");

	return text ? strtoul(text, NULL, 10) : limit;
}

uint32_t fault_depth(void)
{
	const char *text = getenv("RMEM_FAULT_DEPTH");

	return text ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

uint64_t fault_only_n(void)
{
	const char *only = getenv("RMEM_FAULT_N");

	return only ? strtoull(only, NULL, 10) : 0;
}

static bool is_first(const _Atomic uint32_t *places, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (places[k] == places[i])
			return false;
	return true;
}

static bool is_last(const _Atomic uint32_t *places, size_t n, size_t i)
{
	for (size_t k = i + 1; k < n; k++)
		if (places[k] == places[i])
			return false;
	return true;
}

size_t fault_choose(const struct fault_plan *plan, enum fault_kind kind, size_t limit,
	uint64_t out[FAULT_CHOSEN_MAX], size_t *places)
{
	const _Atomic uint32_t *const at = plan->points[kind];
	uint64_t total = plan->counts[kind] - plan->base[kind];
	size_t n = total < FAULT_POINTS ? (size_t)total : FAULT_POINTS, count = 0, taken = 0;
	static bool chosen[FAULT_POINTS];

	for (size_t i = 0; i < n; i++) {
		chosen[i] = is_first(at, i);
		count += chosen[i];
	}
	*places = count;
	for (size_t i = 0; i < n && count < limit; i++) {
		count += !chosen[i] && is_last(at, n, i);
		chosen[i] = chosen[i] || is_last(at, n, i);
	}
	/* The rest of the limit: an even spread, which is all of them if they are few. */
	for (size_t i = 0, left = limit > count ? limit - count : 0; n && i < left; i++)
		chosen[n <= left ? i % n : i * n / left] = true;
	for (size_t i = 0; i < n && taken < FAULT_CHOSEN_MAX; i++)
		if (chosen[i])
			out[taken++] = i + 1;
	return taken;
}

bool fault_in_one_run(enum fault_kind kind)
{
	static const enum fault_kind alone[] = { FAULT_ibv_req_notify_cq, FAULT_ibv_get_cq_event,
		FAULT_ibv_poll_cq, FAULT_ibv_modify_qp, FAULT_ibv_post_send, FAULT_ibv_post_recv,
		FAULT_rdma_get_cm_event };

	for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
		if (alone[i] == kind)
			return false;
	return kind <= FAULT_rdma_get_cm_event && fault_limit(0) == 1 && !fault_only_n();
}

bool fault_happened(
	enum fault_kind kind, const enum fault_kind absent[], uint64_t calls, unsigned fired)
{
	while (*absent != FAULT_NONE && *absent != kind)
		absent++;
	if (fired || (calls == 0 && *absent == kind))
		return true;
	fprintf(stderr, "**** %s: of %llu calls none failed, so nothing was tested\n",
		fault_names[kind], (unsigned long long)calls);
	return false;
}

/* ---- a run ---- */

static void print_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[1024];

	while (f && fgets(line, sizeof(line), f))
		fprintf(stderr, "    %s", line);
	if (f)
		fclose(f);
}

/* Function names for "object+0xoffset": addr2line knows them. */
static void print_stack(const char *where, const char *program)
{
	char copy[FAULT_TEXT], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", where);
	for (char *at = strtok_r(copy, " ", &save); at; at = strtok_r(NULL, " ", &save)) {
		char command[512], line[512] = "?\n";
		const char *plus = strchr(at, '+');
		unsigned long offset = plus ? strtoul(plus + 1, NULL, 16) : 0;
		const char *file = strncmp(at, "program", 7) == 0 ? program : FAULT_LIBRMEM;
		FILE *f;

		if (!plus)
			continue;
		/* The return address: the call is before it. */
		snprintf(command, sizeof(command), "addr2line -fspe %s 0x%lx 2>/dev/null", file,
			offset - 1);
		f = popen(command, "r");
		if (f && !fgets(line, sizeof(line), f))
			snprintf(line, sizeof(line), "?\n");
		if (f)
			pclose(f);
		line[strcspn(line, "\n")] = '\0';
		fprintf(stderr, "    %s (%s)\n", line, at);
	}
}

void fault_complain(struct rig *r, const struct fault_plan *plan, const char *program,
	const char *about, const char *fmt, ...)
{
	char log[128], what[256];
	va_list ap;

	va_start(ap, fmt);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, one line above */
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	fprintf(stderr, "**** %s: %s\n", about, what);
	snprintf(log, sizeof(log), "%s/scenario.err", r->dir);
	print_file(log);
	if (plan && plan->fired)
		print_stack(plan->where, program);
	if (plan && plan->leaks[0]) {
		fprintf(stderr, "    left:%s\n", plan->leaks);
		print_stack(plan->leaks, program);
	}
}

bool fault_log_says(const struct rig *r, const char *level, const char *text)
{
	FILE *f = fopen(r->log, "r");
	char line[1024];
	bool found = false;

	while (f && fgets(line, sizeof(line), f))
		found = found || (strstr(line, level) && strstr(line, text));
	if (f)
		fclose(f);
	return found;
}

/* It takes too long: where is it? */
static void show_hang(const struct process *p)
{
	struct pollfd ended = { .fd = p->fd, .events = POLLIN };
	const struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)p->pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			syscall(SYS_tgkill, p->pid, strtol(entry->d_name, NULL, 10), SIGUSR2);
	if (dir)
		closedir(dir);
	poll(&ended, 1, 500); /* for the lines to be written: it does not end by this */
}

bool fault_scenario(struct rig *r, const char *mode, int files, struct fault_plan *plan,
	const char *plan_path, const char *about)
{
	static unsigned runs;
	char number[16], run[16], out[128], err[128];
	const char *const argv[] = { FAULT_SCENARIO, r->server, mode, number, run, NULL };
	struct pollfd ended = { .events = POLLIN };
	struct process p;
	int fds[3] = { -1 }, status;
	bool late;

	snprintf(number, sizeof(number), "%d", files);
	snprintf(run, sizeof(run), "%u", ++runs);
	snprintf(out, sizeof(out), "%s/scenario.out", r->dir);
	snprintf(err, sizeof(err), "%s/scenario.err", r->dir);
	fds[1] = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	fds[2] = open(err, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (plan_path)
		fault_preload_begin(plan_path, "librmem.so");
	process_start(&p, argv, fds);
	fault_preload_end();
	close(fds[1]);
	close(fds[2]);
	ended.fd = p.fd;
	late = poll(&ended, 1, SCENARIO_LIMIT_MS) != 1;
	if (late) {
		if (plan_path)
			show_hang(&p);
		process_signal(&p, SIGKILL);
	}
	status = process_wait(&p, RIG_LIMIT_MS, "scenario");
	if (late)
		fault_complain(r, plan, FAULT_SCENARIO, about, "it hangs in step %s",
			plan ? plan->step : "?");
	else if (WIFSIGNALED(status))
		fault_complain(r, plan, FAULT_SCENARIO, about, "it died of signal %d in step %s",
			WTERMSIG(status), plan ? plan->step : "?");
	else if (WEXITSTATUS(status))
		fault_complain(r, plan, FAULT_SCENARIO, about, "wrong");
	else if (plan && fault_only_n())
		fault_complain(r, plan, FAULT_SCENARIO, about, "all is well");
	return !late && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int fault_printed(struct rig *r)
{
	char path[128], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/scenario.out", r->dir);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	return (int)strtol(text, NULL, 10);
}
