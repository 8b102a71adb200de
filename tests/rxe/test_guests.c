/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hosts that leave the library little, each with a session: ten thousand threads that come and go, children, signals, locked
 * stdio, a full table of files, no thread to be had, plugins, an allocator of the program's. Most are programs of
 * their own, this one in a role, because they change what a process has once. (tests/foreign has what needs no
 * session, tests/rxe/test_embedded.c a host without keys.)
 */
#include "tests/rxe/rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/rxe/lib.h"
#include "tests/rxe/pattern.h"
#include "tests/support/locked_stdio.h"

#define CHANNELS 4
#define ALIVE 8
#define WARM_UP 1000
#define VISITORS 10000
#define TALKATIVE 8     /* one in so many */
#define GROWTH_KIB 1024 /* 100 bytes of each visitor would be as much */
#define NOBODY 4711477  /* a user who has no thread at all */
#define FILES_ENOUGH 100
#define BYTES 100000

static unsigned count_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* ---- ten thousand threads ---- */

struct place {
	struct rmem *rm;
	rmem_addr_t word, slots;
	atomic_uint next, failed;
};

/* Each has a slot of its own, which is looked at in the end. Some do more. */
static void *visit(void *arg)
{
	struct place *p = arg;
	uint64_t mine = atomic_fetch_add(&p->next, 1), back = 0, old;
	rmem_addr_t slot = p->slots + mine * sizeof(mine);
	bool wrong = rmem_write(p->rm, slot, &mine, sizeof(mine)) != 0;

	if (mine % TALKATIVE == 0)
		wrong |= rmem_read(p->rm, &back, slot, sizeof(back)) || back != mine ||
			 rmem_fetch_add(p->rm, p->word, 1, &old);
	if (wrong)
		atomic_fetch_add(&p->failed, 1);
	return NULL;
}

static void check_slots(const struct place *p)
{
	static uint64_t slots[VISITORS];

	lib_succeed(rmem_read(p->rm, slots, p->slots, sizeof(slots)));
	for (uint64_t i = 0; i < VISITORS; i++)
		assert_int_equal(slots[i], i);
}

static void receive(struct place *p, unsigned visitors)
{
	pthread_t threads[ALIVE];

	for (unsigned i = 0; i < visitors + ALIVE; i++) {
		if (i >= ALIVE)
			assert_int_equal(pthread_join(threads[i % ALIVE], NULL), 0);
		if (i < visitors)
			assert_int_equal(pthread_create(&threads[i % ALIVE], NULL, visit, p), 0);
	}
	assert_int_equal(atomic_load(&p->failed), 0);
}

static long resident_kib(void)
{
	long pages = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &pages, &resident), 2);
	fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static long long channels(struct rig *r)
{
	json_t *sessions = rig_ask(r, "sessions");
	const json_t *session = rig_session(sessions, getpid());
	long long n = session ? rig_number(session, "channels") : -1;

	json_decref(sessions);
	return n;
}

static void test_visitors(void **state)
{
	struct place p = { .next = 0 };
	struct rig *r = *state;
	unsigned files;
	long kib;

	rig_start(r, NULL);
	p.rm = lib_open(r->server, CHANNELS);
	p.word = lib_alloc(p.rm, sizeof(uint64_t));
	p.slots = lib_alloc(p.rm, VISITORS * sizeof(uint64_t));
	receive(&p, WARM_UP);
	files = count_entries("/proc/self/fd");
	kib = resident_kib();
	receive(&p, VISITORS - WARM_UP);
	print_message("%ld → %ld KiB, %lld channels\n", kib, resident_kib(), channels(r));
	assert_true(resident_kib() - kib < GROWTH_KIB);
	assert_int_equal(count_entries("/proc/self/fd"), files);
	assert_in_range(channels(r), 1, CHANNELS + 1);
	check_slots(&p);
	assert_int_equal(lib_read_word(p.rm, p.word), VISITORS / TALKATIVE);
	/* On the connections that they had at first. */
	assert_int_equal(rig_ask_number(r, "status", "counters.resumes"), 0);
	lib_succeed(rmem_free(p.rm, p.word));
	lib_succeed(rmem_free(p.rm, p.slots));
	lib_succeed(rmem_close(p.rm));
	rig_end(r);
}

/* ---- what hosts do with a session ---- */

/* Bytes there and back, by a call that waits and by a queue. */
static void move(struct rmem *rm, struct rmem_queue *q, rmem_addr_t addr, uint64_t seed)
{
	uint8_t *bytes = lib_zeroes(BYTES);
	struct rmem_completion done = { 0 };

	pattern_fill(bytes, BYTES, seed);
	lib_succeed(rmem_write(rm, addr, bytes, BYTES));
	lib_check(rm, addr, BYTES, seed);
	if (q) {
		memset(bytes, 0, BYTES);
		lib_succeed(rmem_start_read(q, bytes, addr, BYTES, seed));
		assert_int_equal(rmem_reap(q, &done, 1, -1), 1);
		assert_int_equal(done.status, 0);
		assert_int_equal(done.tag, seed);
		assert_int_equal(pattern_check(bytes, BYTES, seed), -1);
	}
	free(bytes);
}

static void live(const char *server)
{
	struct rmem *rm = lib_open(server, 0);
	rmem_addr_t addr = lib_alloc(rm, BYTES);
	struct rmem_queue *q = lib_queue(rm, 4);

	for (uint64_t seed = 1; seed < 20; seed++)
		move(rm, q, addr, seed);
	rmem_queue_destroy(q);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
}

/* This program once more, as such a host; nobody takes away what it leaves behind but itself. */
static void be(struct rig *r, const char *role, int log)
{
	const char *const argv[] = { "/proc/self/exe", role, r->server, NULL };
	struct process host;

	rig_start(r, NULL);
	process_start(&host, argv, (const int[]){ -1, -1, log });
	assert_int_equal(process_wait(&host, RIG_LIMIT_MS, role), 0);
	rig_end(r);
}

/* ---- children, and other programs ---- */

#define FILES "TEST_GUESTS_FILES" /* environment: how many are open without a session */

static void execute(const char *server)
{
	execl("/proc/self/exe", "test_guests", "image", server, NULL);
	_exit(3);
}

/* What is executed begins anew: nothing of a session is open, and it has one of its own. */
static int role_image(const char *server)
{
	assert_int_equal(count_entries("/proc/self/fd"), strtoul(getenv(FILES), NULL, 10));
	live(server);
	return 0;
}

/* A child is told that the session is not its own, can execute what has one, and does the parent no harm. */
static int role_fork(const char *server)
{
	char files[16];
	uint64_t word;
	struct rmem *rm;
	rmem_addr_t addr;
	int status;
	pid_t pid;

	snprintf(files, sizeof(files), "%u", count_entries("/proc/self/fd"));
	setenv(FILES, files, 1);
	rm = lib_open(server, 0);
	addr = lib_alloc(rm, BYTES);
	move(rm, NULL, addr, 1);
	pid = fork();
	if (pid == 0) {
		lib_expect(rmem_read(rm, &word, addr, sizeof(word)), -EPERM, "fork");
		lib_expect(rmem_free(rm, addr), -EPERM, "fork");
		execute(server);
	}
	move(rm, NULL, addr, 2);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	move(rm, NULL, addr, 3);
	lib_succeed(rmem_free(rm, addr));
	/* And so does this program, in the middle of its session. */
	execute(server);
	return 3;
}

static void test_fork_and_exec(void **state)
{
	be(*state, "fork", -1);
}

/* ---- signals ---- */

static atomic_int strangers, taken;
static pid_t host_thread;

static void take(int number)
{
	(void)number;
	atomic_fetch_add(&taken, 1);
	if ((pid_t)syscall(SYS_gettid) != host_thread)
		atomic_fetch_add(&strangers, 1);
}

static void handle(int number)
{
	const struct sigaction act = { .sa_handler = take }; /* no SA_RESTART */

	assert_int_equal(sigaction(number, &act, NULL), 0);
}

static const int sent[] = { SIGUSR1, SIGPIPE, SIGCHLD, SIGTERM, SIGALRM };

/* All are blocked in the host by then, so that they wait, unless a thread of the library's takes them. */
static int role_signals(const char *server)
{
	const struct timespec at_once = { 0 };
	struct rmem *rm;
	rmem_addr_t addr;
	sigset_t all;

	handle(SIGUSR1);
	rm = lib_open(server, 0); /* its threads would inherit a mask */
	sigfillset(&all);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
	addr = lib_alloc(rm, BYTES);
	assert_true(count_entries("/proc/self/task") >= 2 + 3);
	for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		assert_int_equal(kill(getpid(), sent[i]), 0);
		move(rm, NULL, addr, i + 1);
	}
	live(server);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		sigset_t one;

		sigemptyset(&one);
		sigaddset(&one, sent[i]);
		assert_int_equal(sigtimedwait(&one, NULL, &at_once), sent[i]);
	}
	return atomic_load(&taken) == 0 ? 0 : 1;
}

/* A host that is interrupted all the time, and does not have calls restarted. */
static int role_interrupted(const char *server)
{
	const struct itimerval often = { { 0, 2000 }, { 0, 2000 } }, never = { 0 };

	handle(SIGALRM);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	live(server);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_true(atomic_load(&taken) > 10);
	assert_int_equal(atomic_load(&strangers), 0);
	return 0;
}

static void test_signals(void **state)
{
	be(*state, "signals", -1);
}

static void test_interrupted(void **state)
{
	be(*state, "interrupted", -1);
}

/* ---- stdio is locked ---- */

static atomic_int flusher;

/* It has the lock of the list of streams, and waits for the one of the first of them that is locked. */
static void *flush_all(void *unused)
{
	(void)unused;
	atomic_store(&flusher, (pid_t)syscall(SYS_gettid));
	fflush(NULL);
	return NULL;
}

/* Without stdio, which is locked. */
static bool sleeps(pid_t thread)
{
	char path[64], line[256] = "", state = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && read(fd, line, sizeof(line) - 1) > 0);
	close(fd);
	(void)sscanf(strrchr(line, ')'), ") %c", &state);
	return state == 'S';
}

/*
 * A session can be opened while all streams are locked, and used while none can even be opened: libibverbs and
 * librdmacm open some for the first session.
 */
static int role_stdio(const char *server)
{
	pthread_t locker, flushing;
	struct rmem_queue *q;
	struct rmem *rm;
	rmem_addr_t addr;

	setenv("RMEM_LOG", "debug", 1);
	sem_init(&locked, 0, 0);
	sem_init(&go_on, 0, 0);
	assert_int_equal(pthread_create(&locker, NULL, lock_stdio, NULL), 0);
	sem_wait(&locked);
	live(server);
	rm = lib_open(server, 0);
	assert_int_equal(pthread_create(&flushing, NULL, flush_all, NULL), 0);
	while (!atomic_load(&flusher) || !sleeps(atomic_load(&flusher)))
		sched_yield();
	addr = lib_alloc(rm, BYTES);
	q = lib_queue(rm, 4);
	move(rm, q, addr, 5);
	rmem_queue_destroy(q);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
	live(server);
	sem_post(&go_on);
	pthread_join(locker, NULL);
	pthread_join(flushing, NULL);
	return 0;
}

/* What is logged meanwhile arrives. */
static void test_stdio_locked(void **state)
{
	char text[64 * KIB] = "";
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	be(*state, "stdio", fds[1]);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	assert_non_null(strstr(text, "librmem: debug: connected at "));
	assert_non_null(strstr(text, "librmem: debug: channel connected to "));
	close(fds[0]);
	close(fds[1]);
}

/* ---- a full table of files ---- */

static struct rlimit usual;

static int lowest_free(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

static void limit_files(rlim_t files)
{
	const struct rlimit now = { files, usual.rlim_max };

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
}

static void expect_full(int rc, int wanted, int limit)
{
	char is[32];

	snprintf(is, sizeof(is), "is %d:", limit);
	lib_expect(rc, wanted, "RLIMIT_NOFILE");
	lib_expect(rc, wanted, is);
	lib_expect(rc, wanted, "ulimit -n");
}

/* With each number of files that are left, until there are enough. */
static void open_with_few(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	int first = lowest_free(), left = 0, rc;
	struct rmem *rm;

	attr.timeout_ms = RIG_LIMIT_MS;
	for (;; left++) {
		limit_files((rlim_t)(first + left));
		rc = rmem_open(server, &attr, &rm);
		limit_files(usual.rlim_cur);
		if (rc == 0 || left == FILES_ENOUGH)
			break;
		if (rc != -EMFILE)
			fprintf(stderr, "%d files left: %d: %s\n", left, rc, rmem_errmsg());
		expect_full(rc, -EMFILE, first + left);
		assert_int_equal(lowest_free(), first);
	}
	printf("%d files are enough\n", left);
	lib_succeed(rc);
	lib_succeed(rmem_close(rm));
}

struct newcomer {
	struct rmem *rm;
	rmem_addr_t addr;
	int limit;
	sem_t tried, again;
};

/* A thread without a channel: it needs a connection, which needs files. */
static void *come(void *arg)
{
	struct newcomer *n = arg;
	uint64_t word = 0;

	expect_full(rmem_read(n->rm, &word, n->addr, sizeof(word)), -EMFILE, n->limit);
	sem_post(&n->tried);
	sem_wait(&n->again);
	lib_succeed(rmem_read(n->rm, &word, n->addr, sizeof(word)));
	return NULL;
}

/* What has its connection goes on. What needs one is told, at once, and has it when there are files again. */
static void live_with_few(const char *server)
{
	struct rmem *rm = lib_open(server, 0);
	rmem_addr_t addr = lib_alloc(rm, BYTES), other;
	struct newcomer n = { .rm = rm, .addr = addr };
	struct rmem_queue *q;
	pthread_t thread;

	move(rm, NULL, addr, 1);
	sem_init(&n.tried, 0, 0);
	sem_init(&n.again, 0, 0);
	n.limit = lowest_free();
	limit_files((rlim_t)n.limit);
	move(rm, NULL, addr, 2);
	other = lib_alloc(rm, 1);
	lib_succeed(rmem_free(rm, other));
	expect_full(rmem_queue_create(rm, NULL, &q), -EMFILE, n.limit);
	assert_int_equal(pthread_create(&thread, NULL, come, &n), 0);
	sem_wait(&n.tried);
	limit_files(usual.rlim_cur);
	sem_post(&n.again);
	assert_int_equal(pthread_join(thread, NULL), 0);
	q = lib_queue(rm, 4);
	move(rm, q, addr, 3);
	rmem_queue_destroy(q);
	lib_succeed(rmem_free(rm, addr));
	lib_succeed(rmem_close(rm));
}

static int role_files(const char *server)
{
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	open_with_few(server);
	live_with_few(server);
	return 0;
}

static void test_full_table(void **state)
{
	be(*state, "files", -1);
}

/* ---- no thread to be had ---- */

/* One is the host itself; the session starts two. Names of call sites can do without one. */
static int role_nproc(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	int first;

	attr.timeout_ms = RIG_LIMIT_MS;
	/* Root has no limit. */
	assert_int_equal(setresgid(NOBODY, NOBODY, NOBODY), 0);
	assert_int_equal(setresuid(NOBODY, NOBODY, NOBODY), 0);
	first = lowest_free();
	for (rlim_t n = 1; n <= 3; n++) {
		const struct rlimit limit = { n, 3 };
		struct rmem *rm;
		char is[32];
		int rc;

		snprintf(is, sizeof(is), " is %d;", (int)n);
		assert_int_equal(setrlimit(RLIMIT_NPROC, &limit), 0);
		if (n == 3)
			break;
		rc = rmem_open(server, &attr, &rm);
		lib_expect(rc, -EAGAIN, "cannot start a thread");
		lib_expect(rc, -EAGAIN, "RLIMIT_NPROC");
		lib_expect(rc, -EAGAIN, is);
		lib_expect(rc, -EAGAIN, "ulimit -u");
		assert_int_equal(lowest_free(), first);
	}
	live(server);
	return 0;
}

static void test_no_thread(void **state)
{
	be(*state, "nproc", -1);
}

/* ---- plugins, and an allocator ---- */

#ifdef FOREIGN_PROGRAM
static void load(struct rig *r, const char *module, const char *preloaded)
{
	const char *const argv[] = { FOREIGN_PROGRAM, "sessions", r->server, module, NULL };
	struct process host;

	if (preloaded)
		setenv("LD_PRELOAD", preloaded, 1);
	process_start(&host, argv, (const int[]){ -1, -1, -1 });
	unsetenv("LD_PRELOAD");
	assert_int_equal(process_wait(&host, RIG_LIMIT_MS, module), 0);
}

static void test_plugins(void **state)
{
	struct rig *r = *state;

	rig_start(r, NULL);
	load(r, FOREIGN_SHARED, NULL);
	load(r, FOREIGN_STATIC, NULL);
	rig_end(r);
}

static void test_allocator(void **state)
{
	struct rig *r = *state;

	rig_start(r, NULL);
	load(r, FOREIGN_SHARED, FOREIGN_ALLOCATOR);
	rig_end(r);
}
#endif

static int role(const char *name, const char *server)
{
	static const struct {
		const char *name;
		int (*run)(const char *server);
	} roles[] = {
		{ "fork", role_fork },
		{ "image", role_image },
		{ "signals", role_signals },
		{ "interrupted", role_interrupted },
		{ "stdio", role_stdio },
		{ "files", role_files },
		{ "nproc", role_nproc },
	};

	host_thread = (pid_t)syscall(SYS_gettid);
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(roles[i].name, name) == 0)
			return roles[i].run(server);
	return 2;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_visitors),
		RIG_TEST(test_fork_and_exec),
		RIG_TEST(test_signals),
		RIG_TEST(test_interrupted),
		RIG_TEST(test_stdio_locked),
		RIG_TEST(test_full_table),
		RIG_TEST(test_no_thread),
#ifdef FOREIGN_PROGRAM
		RIG_TEST(test_plugins),
		RIG_TEST(test_allocator),
#endif
	};

	if (argc == 3)
		return role(argv[1], argv[2]);
	return rig_main(RIG_PORT_GUESTS, tests, sizeof(tests) / sizeof(tests[0]));
}
