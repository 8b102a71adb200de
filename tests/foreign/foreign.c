/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * foreign CASE MODULE...: a program that knows nothing of librmem, and loads what uses it. It is not linked with
 * it, so that the library is mapped and unmapped as the module is. The case "sessions" has a server before the module.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/foreign/allocator.h"

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			exit(1); \
		} \
	} while (0)

#define ROUNDS 20 /* without a server */
#define SESSIONS 4
#define VISITORS 500
#define LIMIT_S 60

struct plugin {
	void *module;
	int (*open)(void);
	const char *(*errmsg)(void);
	int (*begin)(const char *server);
	int (*copy)(void);
	int (*end)(void);
};

static struct plugin load(const char *path)
{
	struct plugin p = { .module = dlopen(path, RTLD_NOW | RTLD_LOCAL) };

	if (!p.module)
		fprintf(stderr, "%s\n", dlerror());
	CHECK(p.module);
	p.open = (int (*)(void))dlsym(p.module, "plugin_open");
	p.errmsg = (const char *(*)(void))dlsym(p.module, "plugin_errmsg");
	p.begin = (int (*)(const char *))dlsym(p.module, "plugin_begin");
	p.copy = (int (*)(void))dlsym(p.module, "plugin_copy");
	p.end = (int (*)(void))dlsym(p.module, "plugin_end");
	CHECK(p.open && p.errmsg && p.begin && p.copy && p.end);
	return p;
}

/* ---- a thread outlives the module that it has used ---- */

static sem_t used, unloaded;

static void *use(void *arg)
{
	const struct plugin *p = arg;

	CHECK(p->open() == -EINVAL);
	CHECK(strstr(p->errmsg(), "the server's name is empty"));
	sem_post(&used);
	sem_wait(&unloaded);
	return NULL;
}

static void unload(char **modules)
{
	struct plugin p = load(modules[0]);
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, use, &p) == 0);
	sem_wait(&used);
	CHECK(dlclose(p.module) == 0);
	sem_post(&unloaded);
	CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- others have taken all keys ---- */

static pthread_key_t keys[PTHREAD_KEYS_MAX];
static int nkeys;

static void check_keys(void)
{
	for (int i = 0; i < nkeys; i++)
		CHECK(pthread_getspecific(keys[i]) == &keys[i]);
}

static void *use_without_keys(void *arg)
{
	const struct plugin *p = arg;

	for (int i = 0; i < nkeys; i++)
		CHECK(pthread_setspecific(keys[i], &keys[i]) == 0);
	CHECK(p->open() == -EINVAL);
	CHECK(strcmp(p->errmsg(), "Invalid argument") == 0);
	check_keys();
	return NULL;
}

static void without_keys(char **modules)
{
	struct plugin p = load(modules[0]);
	pthread_t thread;

	while (nkeys < PTHREAD_KEYS_MAX && pthread_key_create(&keys[nkeys], NULL) == 0)
		nkeys++;
	CHECK(nkeys > PTHREAD_KEYS_MAX / 2);
	use_without_keys(&p);
	CHECK(pthread_create(&thread, NULL, use_without_keys, &p) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	check_keys();
}

/* ---- others have used the thread-local storage ---- */

static void after_greedy(char **modules)
{
	CHECK(dlopen(modules[0], RTLD_NOW));
	CHECK(load(modules[1]).open() == -EINVAL);
}

/* ---- children ---- */

static pid_t fork_bare(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void children(char **modules)
{
	static pid_t (*const ways[])(void) = { fork, _Fork, fork_bare };
	struct plugin p = load(modules[0]);

	CHECK(p.open() == -EINVAL);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int status;
		pid_t pid = ways[i]();

		CHECK(pid >= 0);
		if (pid == 0)
			_exit(p.open() == -EPERM && strstr(p.errmsg(), "fork") ? 0 : 1);
		CHECK(waitpid(pid, &status, 0) == pid);
		if (status)
			fprintf(stderr, "way %zu of making a child: status %d\n", i, status);
		CHECK(status == 0);
	}
	CHECK(p.open() == -EINVAL);
}

/* ---- loaded and unloaded, again and again, each time by another thread ---- */

/* What the process has: files, threads, mappings of modules. */
struct belongings {
	unsigned files, threads, mappings;
};

static unsigned count_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	CHECK(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static struct belongings look(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	struct belongings b = { 0 };
	char line[PATH_MAX + 100];

	CHECK(maps);
	while (fgets(line, sizeof(line), maps))
		b.mappings += strstr(line, ".so") != NULL;
	fclose(maps);
	b.files = count_entries("/proc/self/fd");
	b.threads = count_entries("/proc/self/task");
	return b;
}

/* Threads that nobody waits for may take a while to end. */
static struct belongings look_when_alone(void)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	const time_t limit = time(NULL) + LIMIT_S;
	struct belongings b = look();

	while (b.threads != 3 && time(NULL) < limit) { /* ".", ".." and this one */
		nanosleep(&pause, NULL);
		b = look();
	}
	return b;
}

/* With a session, if there is a server. */
struct visit {
	const char *server, *module;
};

static int tell(const struct plugin *p, int rc)
{
	if (rc)
		fprintf(stderr, "%d: %s\n", rc, p->errmsg());
	return rc;
}

/* Only the first copies of a thread may allocate. */
static void use_session(const struct plugin *p, const char *server)
{
	void (*forbid)(bool) = (void (*)(bool))dlsym(RTLD_DEFAULT, "allocator_forbid");

	CHECK(tell(p, p->begin(server)) == 0);
	CHECK(tell(p, p->copy()) == 0);
	if (forbid)
		forbid(true);
	CHECK(tell(p, p->copy()) == 0);
	if (forbid)
		forbid(false);
	CHECK(tell(p, p->end()) == 0);
}

static void *visit(void *arg)
{
	const struct visit *v = arg;
	struct plugin p = load(v->module);

	CHECK(p.open() == -EINVAL);
	CHECK(strstr(p.errmsg(), "the server's name is empty"));
	if (v->server)
		use_session(&p, v->server);
	CHECK(dlclose(p.module) == 0);
	return NULL;
}

/* From the second round on there is always the same. */
static void visit_often(struct visit *v, int rounds)
{
	struct belongings second = { 0 }, now;

	for (int i = 0; i < rounds; i++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, visit, v) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		now = look_when_alone();
		if (i == 1)
			second = now;
		if (i >= 1 && memcmp(&now, &second, sizeof(now)) != 0)
			fprintf(stderr, "round %d: %u files, %u threads, %u mappings\n", i,
				now.files, now.threads, now.mappings);
		CHECK(i < 1 || memcmp(&now, &second, sizeof(now)) == 0);
	}
	CHECK(!dlsym(RTLD_DEFAULT, "rmem_open")); /* nothing of it is the program's */
}

static void again(char **modules)
{
	visit_often(&(struct visit){ NULL, modules[0] }, ROUNDS);
}

static void sessions(char **arguments)
{
	long (*locks)(void) = (long (*)(void))dlsym(RTLD_DEFAULT, "allocator_locks");

	visit_often(&(struct visit){ arguments[0], arguments[1] }, SESSIONS);
	CHECK(!locks || locks() > SESSIONS);
}

/* ---- the program has an allocator of its own ---- */

static void *fail_twice(void *arg)
{
	const struct plugin *p = arg;

	CHECK(p->open() == -EINVAL && p->open() == -EINVAL);
	return NULL;
}

/* What calls take and threads keep is given back, and a child allocates nothing. */
static void allocator(char **modules)
{
	void (*forbid)(bool) = (void (*)(bool))dlsym(RTLD_DEFAULT, "allocator_forbid");
	long (*live)(void) = (long (*)(void))dlsym(RTLD_DEFAULT, "allocator_live"), before = 0;
	struct plugin p = load(modules[0]);
	int status;
	pid_t pid;

	CHECK(forbid && live);
	for (int i = 0; i < VISITORS; i++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, fail_twice, &p) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		if (i == 0)
			before = live();
	}
	CHECK(live() == before);
	CHECK(p.open() == -EINVAL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		forbid(true);
		_exit(p.open() == -EPERM && strstr(p.errmsg(), "fork") ? 0 : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(char **modules);
	} cases[] = {
		{ "unload", unload },
		{ "without_keys", without_keys },
		{ "after_greedy", after_greedy },
		{ "children", children },
		{ "again", again },
		{ "sessions", sessions },
		{ "allocator", allocator },
	};

	CHECK(argc > 2);
	CHECK(sem_init(&used, 0, 0) == 0 && sem_init(&unloaded, 0, 0) == 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run(argv + 2);
			return 0;
		}
	fprintf(stderr, "no case %s\n", argv[1]);
	return 2;
}
