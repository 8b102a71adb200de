/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * foreign CASE MODULE...: a program that knows nothing of librmem, and loads what uses it. It is not linked with
 * it, so that the library is mapped and unmapped as the module is.
 */
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
#include <unistd.h>

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			exit(1); \
		} \
	} while (0)

struct plugin {
	void *module;
	int (*open)(void);
	const char *(*errmsg)(void);
};

static struct plugin load(const char *path)
{
	struct plugin p = { .module = dlopen(path, RTLD_NOW) };

	if (!p.module)
		fprintf(stderr, "%s\n", dlerror());
	CHECK(p.module);
	p.open = (int (*)(void))dlsym(p.module, "plugin_open");
	p.errmsg = (const char *(*)(void))dlsym(p.module, "plugin_errmsg");
	CHECK(p.open && p.errmsg);
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
