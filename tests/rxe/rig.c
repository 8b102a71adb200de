/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/rxe/client.h"

#define OPTIONS_MAX 32
#define REPORT_MAX (64U << 20)

static struct rig the_rig; /* a test program has one */

const char *rig_host(void)
{
	return getenv("RMEM_HOST");
}

unsigned rig_rounds(unsigned all, unsigned some)
{
	return getenv("RMEM_TEST_FULL") ? all : some;
}

/* ---- directories ---- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void name_paths(struct rig *r)
{
	snprintf(r->server, sizeof(r->server), "%s:%u", rig_host(), r->port);
	snprintf(r->dir, sizeof(r->dir), "/tmp/rmem-test-%u", r->port);
	snprintf(r->data, sizeof(r->data), "/dev/shm/rmem-test-%u", r->port);
	snprintf(r->admin, sizeof(r->admin), "%s/admin", r->dir);
	snprintf(r->log, sizeof(r->log), "%s/log", r->dir);
	snprintf(r->notify_path, sizeof(r->notify_path), "%s/notify", r->dir);
}

static int unix_address(struct sockaddr_un *out, const char *path)
{
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return snprintf(out->sun_path, sizeof(out->sun_path), "%s", path);
}

int rig_setup(void **state)
{
	struct rig *r = &the_rig;
	struct sockaddr_un address;

	name_paths(r);
	r->program = RMEMD_PATH;
	remove_tree(r->data);
	remove_tree(r->dir);
	if (mkdir(r->dir, 0700))
		return -1;
	r->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unix_address(&address, r->notify_path);
	if (r->notify < 0 || bind(r->notify, (struct sockaddr *)&address, sizeof(address)))
		return -1;
	setenv("NOTIFY_SOCKET", r->notify_path, 1);
	*state = r;
	return 0;
}

int rig_teardown(void **state)
{
	struct rig *r = *state;

	client_end_all();
	process_end(&r->daemon);
	if (r->notify >= 0)
		close(r->notify);
	r->notify = -1;
	remove_tree(r->data);
	return 0;
}

static void print_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[1024];

	fprintf(stderr, "---- %s\n", path);
	while (f && fgets(line, sizeof(line), f))
		fputs(line, stderr);
	if (f)
		fclose(f);
}

int rig_main(uint16_t port, const struct CMUnitTest *tests, size_t count)
{
	const char *filter = getenv("RMEM_TEST_FILTER");
	struct rig *r = &the_rig;
	int failed = 0, chosen = 0;

	if (!rig_host()) {
		fprintf(stderr, "skipped: no RDMA device: run it by scripts/softroce run\n");
		return 77;
	}
	*r = (struct rig){ .port = port, .notify = -1, .daemon.fd = -1 };
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* One group each, so that the log of a failure is its own. */
	for (size_t i = 0; i < count; i++) {
		if (filter && fnmatch(filter, tests[i].name, 0))
			continue;
		chosen++;
		if (_cmocka_run_group_tests(tests[i].name, &tests[i], 1, NULL, NULL) == 0)
			continue;
		failed++;
		print_file(r->log);
	}
	remove_tree(r->dir);
	if (!chosen)
		fprintf(stderr, "no test is called %s\n", filter);
	return failed || !chosen ? 1 : 0;
}

/* ---- rmemd ---- */

static void await_ready(struct rig *r)
{
	struct pollfd fds[2] = {
		{ .fd = r->notify, .events = POLLIN },
		{ .fd = r->daemon.fd, .events = POLLIN },
	};
	char text[64] = "";
	ssize_t n;

	if (poll(fds, 2, RIG_LIMIT_MS) <= 0)
		fail_msg("rmemd did not get ready within %d ms", RIG_LIMIT_MS);
	if (!(fds[0].revents & POLLIN)) {
		int status = process_wait(&r->daemon, 0, "rmemd");

		fail_msg("rmemd did not start: exit status %d", WEXITSTATUS(status));
	}
	n = recv(r->notify, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	assert_string_equal(text, "READY=1");
}

static void launch(struct rig *r, const char *const options[])
{
	/* Audits go on in every test: whatever it does, they must not be in its way. */
	const char *argv[OPTIONS_MAX] = { r->program, "--data", r->data, "--admin", r->admin,
		"--size", "16M", "--audit-interval", "1s", "--port" };
	char port[16];
	size_t n = 10;
	int log;

	snprintf(port, sizeof(port), "%u", r->port);
	argv[n++] = port;
	for (size_t i = 0; options && options[i]; i++) {
		assert_true(n + 1 < OPTIONS_MAX);
		argv[n++] = options[i];
	}
	log = open(r->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(log >= 0);
	process_start(&r->daemon, argv, (const int[]){ -1, log, log });
	close(log);
}

void rig_start(struct rig *r, const char *const options[])
{
	launch(r, options);
	await_ready(r);
}

int rig_start_refused(struct rig *r, const char *const options[])
{
	const char *const program = r->program;
	int status;

	launch(r, options);
	status = process_wait(&r->daemon, RIG_LIMIT_MS, program);
	if (!WIFEXITED(status))
		fail_msg("rmemd ended with wait status %#x", (unsigned)status);
	return WEXITSTATUS(status);
}

void rig_stop(struct rig *r, bool keeps_data)
{
	char text[64];
	int status;

	/* What was taken back in the test would be kept too. */
	if (!keeps_data)
		json_decref(rig_ask(r, "{\"cmd\":\"acknowledge\",\"id\":\"all\"}"));
	process_signal(&r->daemon, SIGTERM);
	status = process_wait(&r->daemon, RIG_LIMIT_MS, "rmemd");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("rmemd stopped with wait status %#x", (unsigned)status);
	while (recv(r->notify, text, sizeof(text), MSG_DONTWAIT) > 0)
		; /* STOPPING=1: not to be taken for the next one's READY=1 */
	assert_int_equal(access(r->admin, F_OK), -1);
	if ((access(r->data, F_OK) == 0) != keeps_data)
		fail_msg("%s is %s", r->data,
			keeps_data ? "gone, and what was lent with it"
				   : "still there, and nobody holds anything");
}

void rig_kill(struct rig *r)
{
	process_signal(&r->daemon, SIGKILL);
	process_wait(&r->daemon, RIG_LIMIT_MS, "rmemd");
}

void rig_freeze(struct rig *r)
{
	siginfo_t info;

	process_signal(&r->daemon, SIGSTOP);
	assert_int_equal(waitid(P_PID, (id_t)r->daemon.pid, &info, WSTOPPED), 0);
}

void rig_thaw(struct rig *r)
{
	process_signal(&r->daemon, SIGCONT);
}

bool rig_log_says(const struct rig *r, const char *text)
{
	FILE *f = fopen(r->log, "re");
	char line[1024];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, text) != NULL;
	if (f)
		fclose(f);
	return found;
}

/* ---- reports ---- */

static int connect_admin(struct rig *r)
{
	const struct timeval limit = { .tv_sec = RIG_LIMIT_MS / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;

	unix_address(&address, r->admin);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		fail_msg("cannot ask rmemd on %s: %s", r->admin, strerror(errno));
	return fd;
}

static char *read_line(int fd)
{
	size_t size = 1 << 16, used = 0;
	char *text = malloc(size);

	for (;;) {
		ssize_t n = read(fd, text + used, size - used - 1);

		if (n <= 0)
			fail_msg("rmemd did not answer: %s", n ? strerror(errno) : "hung up");
		used += (size_t)n;
		text[used] = '\0';
		if (text[used - 1] == '\n')
			return text;
		if (size - used < 2)
			size *= 2;
		assert_true(size < REPORT_MAX);
		text = realloc(text, size);
		assert_non_null(text);
	}
}

json_t *rig_ask(struct rig *r, const char *report)
{
	int fd = connect_admin(r);
	json_error_t error;
	json_t *answer;
	char *text;

	dprintf(fd, *report == '{' ? "%s\n" : "{\"cmd\":\"%s\"}\n", report);
	text = read_line(fd);
	close(fd);
	answer = json_loads(text, 0, &error);
	if (!answer)
		fail_msg("%s: no JSON (%s): %.200s", report, error.text, text);
	if (json_object_get(answer, "error"))
		fail_msg("%s: %s", report, text);
	free(text);
	return answer;
}

static const json_t *find(const json_t *at, const char *path)
{
	char copy[128], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *key = strtok_r(copy, ".", &save); key; key = strtok_r(NULL, ".", &save)) {
		at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10))
				       : json_object_get(at, key);
	}
	if (!at)
		fail_msg("the report has no %s", path);
	return at;
}

long long rig_number(const json_t *report, const char *path)
{
	const json_t *value = find(report, path);

	if (json_is_boolean(value))
		return json_is_true(value);
	if (!json_is_integer(value))
		fail_msg("%s is no number", path);
	return json_integer_value(value);
}

const char *rig_text(const json_t *report, const char *path)
{
	const json_t *value = find(report, path);

	return json_is_string(value) ? json_string_value(value) : "";
}

long long rig_ask_number(struct rig *r, const char *report, const char *path)
{
	json_t *answer = rig_ask(r, report);
	long long number = rig_number(answer, path);

	json_decref(answer);
	return number;
}

json_t *rig_await(
	struct rig *r, const char *report, rig_condition *is_so, void *arg, const char *what)
{
	uint64_t until_ns = clock_boot_ns() + RIG_LIMIT_MS * NSEC_PER_MSEC;

	for (;;) {
		json_t *answer = rig_ask(r, report);

		if (is_so(answer, arg))
			return answer;
		if (clock_boot_ns() > until_ns) {
			char *text = json_dumps(answer, JSON_INDENT(1));

			fail_msg("waited in vain for: %s; %s says\n%s", what, report, text);
		}
		json_decref(answer);
		rig_elapse(20);
	}
}

static bool is_wiped(const json_t *status, void *arg)
{
	const json_t *node;
	size_t i;

	(void)arg;
	json_array_foreach(json_object_get(status, "nodes"), i, node)
	{
		if (rig_number(node, "quarantine_bytes"))
			return false;
	}
	return true;
}

void rig_await_wiped(struct rig *r)
{
	json_decref(rig_await(r, "status", is_wiped, NULL, "what was freed is wiped"));
}

static bool has_no_session(const json_t *sessions, void *arg)
{
	(void)arg;
	return json_array_size(json_object_get(sessions, "sessions")) == 0;
}

void rig_await_no_session(struct rig *r)
{
	json_decref(rig_await(r, "sessions", has_no_session, NULL, "no session is left"));
}

const json_t *rig_session(const json_t *sessions, pid_t pid)
{
	const json_t *session;
	size_t i;

	json_array_foreach(json_object_get(sessions, "sessions"), i, session)
	{
		if (rig_number(session, "pid") == pid)
			return session;
	}
	return NULL;
}

static bool is_dead(const json_t *sessions, void *arg)
{
	const json_t *session = rig_session(sessions, *(pid_t *)arg);

	return session && strcmp(rig_text(session, "state"), "dead") == 0;
}

static bool is_revoked(const json_t *sessions, void *arg)
{
	const json_t *session = rig_session(sessions, *(pid_t *)arg);

	return session && strcmp(rig_text(session, "state"), "detached") == 0 &&
	       strcmp(rig_text(session, "lease"), "courtesy") == 0;
}

void rig_await_revoked(struct rig *r, pid_t pid)
{
	json_decref(rig_await(r, "sessions", is_revoked, &pid, "access is revoked"));
}

void rig_await_dead(struct rig *r, pid_t pid)
{
	json_decref(rig_await(r, "sessions", is_dead, &pid, "the process is known to be dead"));
}

void rig_assert_accounted(const json_t *leaks)
{
	static const char *const parts[] = { "live_bytes", "courtesy_bytes", "quarantine_bytes",
		"zombie_bytes", "free_bytes", "cached_bytes", "metadata_bytes" };
	const json_t *node;
	size_t i;

	assert_true(json_array_size(json_object_get(leaks, "nodes")) > 0);
	json_array_foreach(json_object_get(leaks, "nodes"), i, node)
	{
		long long sum = 0;

		for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++)
			sum += rig_number(node, parts[k]);
		assert_int_equal(rig_number(node, "unaccounted_bytes"), 0);
		assert_int_equal(rig_number(node, "registered_bytes"), sum);
	}
	assert_int_equal(rig_number(leaks, "coverage.orphans"), 0);
}

void rig_assert_well(struct rig *r)
{
	json_t *leaks = rig_ask(r, "leaks");

	rig_assert_accounted(leaks);
	assert_int_equal(rig_number(leaks, "summary.zombie.blocks"), 0);
	json_decref(leaks);
}

void rig_end(struct rig *r)
{
	rig_assert_well(r);
	rig_stop(r, false);
}

void rig_elapse(int ms)
{
	uint64_t until_ns = clock_boot_ns() + (uint64_t)ms * NSEC_PER_MSEC, now_ns;

	while ((now_ns = clock_boot_ns()) < until_ns)
		poll(NULL, 0, (int)((until_ns - now_ns) / NSEC_PER_MSEC) + 1);
}
