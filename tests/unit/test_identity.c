/* SPDX-License-Identifier: BSD-3-Clause */
/* Real processes in the states that matter: running, dead and not waited for, gone, half gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/identity.h"
#include "common/presence.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static void test_self(void **state)
{
	static const uint8_t zero[16];
	struct identity me;

	(void)state;
	identity_self(&me, "a job");
	assert_int_equal(me.pid, getpid());
	assert_int_equal(me.uid, getuid());
	assert_memory_not_equal(me.boot_id, zero, sizeof(zero));
	assert_true(me.start_ticks > 0);
	assert_true(me.pid_ns > 0);
	assert_non_null(strstr(me.exe, "test_identity"));
	assert_non_null(strstr(me.cmdline, "test_identity"));
	assert_string_equal(me.job, "a job");
	assert_int_equal(identity_probe(&me), PROCESS_ALIVE);
}

static void test_job_from_environment(void **state)
{
	struct identity me;

	(void)state;
	setenv("SLURM_JOB_ID", "992", 1);
	unsetenv("RMEM_JOB");
	identity_self(&me, NULL);
	assert_string_equal(me.job, "992");
	setenv("RMEM_JOB", "etl", 1);
	identity_self(&me, NULL);
	assert_string_equal(me.job, "etl");
	identity_self(&me, "");
	assert_string_equal(me.job, "");
	unsetenv("RMEM_JOB");
	unsetenv("SLURM_JOB_ID");
}

static void test_long_texts_are_cut(void **state)
{
	char job[300];
	struct identity me;

	(void)state;
	memset(job, 'x', sizeof(job) - 1);
	job[sizeof(job) - 1] = '\0';
	identity_self(&me, job);
	assert_int_equal(strlen(me.job), sizeof(me.job) - 1);
}

/* A child that tells who it is and then waits to be killed. */
static pid_t spawn(struct identity *out, void (*act)(int fd))
{
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		act(fds[1]);
		_exit(1);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], out, sizeof(*out)), sizeof(*out));
	close(fds[0]);
	return pid;
}

static void tell_and_wait(int fd)
{
	struct identity me;

	/* A name made to mislead a parser of /proc/PID/stat. */
	prctl(PR_SET_NAME, "a) Z 1 (b");
	identity_self(&me, NULL);
	if (write(fd, &me, sizeof(me)) < 0)
		_exit(1);
	for (;;)
		pause();
}

static void test_control_characters(void **state)
{
	struct identity who = { .host = "n\n1", .exe = "/bin/\033[2Jx", .cmdline = "a\tb\x7f" };

	(void)state;
	strcpy(who.job, "caf\xc3\xa9 \xc2\x9b"
			"31m");
	identity_clean(&who);
	assert_string_equal(who.host, "n 1");
	assert_string_equal(who.exe, "/bin/ [2Jx");
	assert_string_equal(who.cmdline, "a b ");
	assert_string_equal(who.job, "caf\xc3\xa9   31m");
}

static void test_life_and_death(void **state)
{
	struct identity who;
	siginfo_t info;
	pid_t pid;

	(void)state;
	pid = spawn(&who, tell_and_wait);
	assert_int_equal(who.pid, pid);
	assert_int_equal(identity_probe(&who), PROCESS_ALIVE);
	kill(pid, SIGKILL);
	/* Dead, and not yet waited for. */
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(identity_probe(&who), PROCESS_GONE);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(identity_probe(&who), PROCESS_GONE);
}

static void *tell_when_alone(void *arg)
{
	struct identity me;
	char state = 0;

	/* Until the first thread has become a zombie. */
	while (state != 'Z') {
		char line[512] = "";
		FILE *f = fopen("/proc/self/stat", "r");

		if (!f || !fgets(line, sizeof(line), f))
			_exit(1);
		fclose(f);
		state = strrchr(line, ')') ? strrchr(line, ')')[2] : 0;
	}
	identity_self(&me, NULL);
	if (write(*(int *)arg, &me, sizeof(me)) < 0)
		_exit(1);
	for (;;)
		pause();
	return NULL;
}

static void leave_first_thread(int fd)
{
	static int kept;
	pthread_t thread;

	kept = fd;
	pthread_create(&thread, NULL, tell_when_alone, &kept);
	pthread_exit(NULL);
}

static void test_first_thread_gone(void **state)
{
	struct identity who;
	pid_t pid;

	(void)state;
	pid = spawn(&who, leave_first_thread);
	assert_int_equal(identity_probe(&who), PROCESS_ALIVE);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(identity_probe(&who), PROCESS_GONE);
}

static void test_another_process_with_that_pid(void **state)
{
	struct identity me;

	(void)state;
	identity_self(&me, NULL);
	me.start_ticks++;
	assert_int_equal(identity_probe(&me), PROCESS_GONE);
}

#define NOT_ALLOWED 77

/* enter() a new namespace in a child, and probe() in the first process that lives in there: both return an exit status. */
static void probe_in_namespace(int (*enter)(void), int (*probe)(const struct identity *me))
{
	struct identity me;
	int status = -1;
	pid_t child;

	identity_self(&me, NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int failed = enter();

		if (failed)
			_exit(failed);
		child = fork();
		if (child == 0)
			_exit(probe(&me));
		if (child < 0 || waitpid(child, &status, 0) != child)
			_exit(NOT_ALLOWED);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NOT_ALLOWED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int enter_another_clock(void)
{
	int fd, rc = unshare(CLONE_NEWTIME);

	if (rc)
		return NOT_ALLOWED;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "boottime 1000 0", 15) != 15)
		return NOT_ALLOWED;
	close(fd);
	return 0;
}

static int probe_parent(const struct identity *me)
{
	return identity_probe(me) != PROCESS_UNKNOWN;
}

/* /proc tells a reader in another time namespace another start time: no proof of anything. */
static void test_another_clock(void **state)
{
	(void)state;
	probe_in_namespace(enter_another_clock, probe_parent);
}

static int enter_another_pid_namespace(void)
{
	return unshare(CLONE_NEWPID) ? NOT_ALLOWED : 0;
}

static int probe_itself(const struct identity *parent)
{
	struct identity me;

	(void)parent;
	identity_self(&me, NULL);
	return identity_probe(&me) != PROCESS_UNKNOWN;
}

/* In a new PID namespace with the /proc of the old one nobody can tell, and no process is called gone. */
static void test_another_proc(void **state)
{
	(void)state;
	probe_in_namespace(enter_another_pid_namespace, probe_itself);
}

/* A file of a /proc that is made up. */
static bool put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return ok;
}

/* In a child: a /proc as of a kernel that has neither PID nor time namespaces. 77: not allowed here. */
static int probe_without_namespaces(void)
{
	static char boot_id[64], stat_line[1024];
	struct identity me;
	char path[64];
	int fd;

	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, boot_id, sizeof(boot_id) - 1) <= 0)
		return 77;
	close(fd);
	fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, stat_line, sizeof(stat_line) - 1) <= 0)
		return 77;
	close(fd);
	if (unshare(CLONE_NEWNS) || mount("none", "/", "", MS_REC | MS_PRIVATE, "") ||
		mount("none", "/proc", "tmpfs", 0, ""))
		return 77;
	snprintf(path, sizeof(path), "/proc/%d", getpid());
	if (mkdir(path, 0700) || symlink(path, "/proc/self") ||
		symlink(path, "/proc/thread-self") || mkdir("/proc/self/ns", 0700) ||
		!put_file("/proc/self/stat", stat_line) || mkdir("/proc/sys", 0700) ||
		mkdir("/proc/sys/kernel", 0700) || mkdir("/proc/sys/kernel/random", 0700) ||
		!put_file("/proc/sys/kernel/random/boot_id", boot_id))
		return 77;
	identity_self(&me, NULL);
	if (me.pid_ns == 0 || identity_probe(&me) != PROCESS_ALIVE)
		return 1;
	me.start_ticks++;
	if (identity_probe(&me) != PROCESS_GONE)
		return 2;
	/* Without any directory of namespaces nobody knows. */
	me.start_ticks--;
	rmdir("/proc/self/ns");
	return identity_probe(&me) == PROCESS_UNKNOWN ? 0 : 3;
}

static void test_kernel_without_namespaces(void **state)
{
	int status = -1;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		_exit(probe_without_namespaces());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(); /* may not mount here */
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* It shows a sign, tells who it is, and executes another program when it is told to. */
static void tell_and_execute(int fd)
{
	struct identity me;
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	identity_self(&me, NULL);
	me.mark_place = presence_place();
	if (presence_show(&me.mark) < 0 || write(fd, &me, sizeof(me)) < 0)
		_exit(1);
	sigwait(&set, &number);
	execl("/proc/self/exe", "test_identity", "stay", NULL);
	_exit(1);
}

static void test_another_program(void **state)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct identity who, other;
	pid_t pid;

	(void)state;
	if (getenv("RMEM_TEST_VALGRIND"))
		skip(); /* there, /proc/self/exe is valgrind */
	pid = spawn(&who, tell_and_execute);
	assert_int_equal(identity_probe(&who), PROCESS_ALIVE);
	/* Without a mark, or with one that is elsewhere, its absence says nothing. */
	other = who;
	other.mark ^= 1;
	assert_int_equal(identity_probe(&other), PROCESS_LET_GO);
	other.mark_place ^= 1;
	assert_int_equal(identity_probe(&other), PROCESS_ALIVE);
	other.mark_place = 0;
	assert_int_equal(identity_probe(&other), PROCESS_ALIVE);
	kill(pid, SIGUSR1);
	for (unsigned i = 0; i < 20000 && identity_probe(&who) == PROCESS_ALIVE; i++)
		nanosleep(&pause, NULL);
	assert_int_equal(identity_probe(&who), PROCESS_LET_GO);
	other = who;
	other.mark = 0;
	assert_int_equal(identity_probe(&other), PROCESS_ALIVE); /* the same pid, as before */
	other = who;
	other.start_ticks++;
	assert_int_equal(identity_probe(&other), PROCESS_GONE);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(identity_probe(&who), PROCESS_GONE);
}

/* Whoever they are, those in the same network namespace see it, and others know that they do not. */
static void test_who_sees_a_mark(void **state)
{
	uint64_t number, place = presence_place();
	int fd = presence_show(&number), status = -1;
	pid_t child;

	(void)state;
	assert_true(fd >= 0 && place != 0 && number != 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(fd);
		if (setgid(65534) || setuid(65534))
			_exit(77);
		if (presence_look(number, place) != PRESENCE_THERE ||
			presence_look(number + 1, place) != PRESENCE_GONE)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(status == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 77));
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (unshare(CLONE_NEWNET))
			_exit(77);
		_exit(presence_look(number, place) == PRESENCE_UNKNOWN ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(status == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 77));
	close(fd);
	assert_int_equal(presence_look(number, place), PRESENCE_GONE);
}

static void test_cannot_know(void **state)
{
	struct identity me, other;

	(void)state;
	identity_self(&me, NULL);
	other = me;
	other.boot_id[3] ^= 1;
	assert_int_equal(identity_probe(&other), PROCESS_UNKNOWN);
	other = me;
	other.pid_ns++;
	assert_int_equal(identity_probe(&other), PROCESS_UNKNOWN);
	other = me;
	other.start_ticks = 0;
	assert_int_equal(identity_probe(&other), PROCESS_UNKNOWN);
	other = me;
	other.pid = 0;
	assert_int_equal(identity_probe(&other), PROCESS_UNKNOWN);
	other = me;
	other.pid = UINT32_MAX; /* kill(-1) would be everybody */
	assert_int_equal(identity_probe(&other), PROCESS_UNKNOWN);
	memset(&other, 0, sizeof(other));
	assert_int_equal(identity_probe(&other), PROCESS_UNKNOWN);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_self),
		cmocka_unit_test(test_job_from_environment),
		cmocka_unit_test(test_long_texts_are_cut),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_life_and_death),
		cmocka_unit_test(test_first_thread_gone),
		cmocka_unit_test(test_another_process_with_that_pid),
		cmocka_unit_test(test_another_clock),
		cmocka_unit_test(test_another_proc),
		cmocka_unit_test(test_another_program),
		cmocka_unit_test(test_who_sees_a_mark),
		cmocka_unit_test(test_kernel_without_namespaces),
		cmocka_unit_test(test_cannot_know),
	};

	if (argc > 1 && strcmp(argv[1], "stay") == 0)
		return pause();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
