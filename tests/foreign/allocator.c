/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An allocator that a program brings (LD_PRELOAD): its blocks are not those of the C library, what is freed is
 * overwritten, it does not stand to be called from inside itself, and there are times when nobody may call it: while
 * the program says so, and while the thread has a lock of librmem's, which it might need to go on.
 */
#include "tests/foreign/allocator.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define MAGIC 0x616c6c6f6361746fULL
#define FREED 0xdd
#define ALIGN 16
#define HELD_MAX 8

/* glibc's own names for its allocator: they work before anything else does. */
void *__libc_malloc(size_t size);
void __libc_free(void *p);

/* In front of what the program gets. */
struct block {
	uint64_t magic; /* and 1: it has been freed */
	void *base;     /* of all that was taken */
	size_t size;
};

static atomic_long live;
static _Thread_local bool inside, forbidden __attribute__((tls_model("initial-exec")));
static _Thread_local pthread_mutex_t *held[HELD_MAX] __attribute__((tls_model("initial-exec")));
static _Thread_local int nheld __attribute__((tls_model("initial-exec"))); /* locks of librmem's */

static void break_off(const char *why)
{
	void *frames[32];

	inside = forbidden = false; /* what follows may allocate */
	nheld = 0;
	(void)!write(STDERR_FILENO, "allocator: ", 11);
	(void)!write(STDERR_FILENO, why, strlen(why));
	(void)!write(STDERR_FILENO, "\n", 1);
	backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
	_exit(ALLOCATOR_STATUS);
}

/* The thread that finds the names of functions, for which nobody waits: its one lock is libdw's, which allocates. */
static bool looks_for_names(void)
{
	char name[16] = "";

	return nheld == 1 && prctl(PR_GET_NAME, name) == 0 && strcmp(name, "rmem-resolver") == 0;
}

static void enter(void)
{
	if (inside)
		break_off("called from inside itself");
	if (forbidden)
		break_off("called where nothing may be allocated or freed");
	if (nheld && !looks_for_names())
		break_off("called under a lock of librmem's");
	inside = true;
}

static void leave(void)
{
	inside = false;
}

static void *take(size_t alignment, size_t size)
{
	struct block *b = NULL;
	uintptr_t start;
	char *base;

	enter();
	if (alignment < ALIGN)
		alignment = ALIGN;
	base = size <= SIZE_MAX - alignment - sizeof(*b)
		       ? __libc_malloc(size + alignment + sizeof(*b))
		       : NULL;
	if (base) {
		start = ((uintptr_t)base + sizeof(*b) + alignment - 1) & ~(alignment - 1);
		b = (struct block *)start - 1;
		*b = (struct block){ .magic = MAGIC, .base = base, .size = size };
		atomic_fetch_add(&live, 1);
	} else {
		errno = ENOMEM;
	}
	leave();
	return b ? b + 1 : NULL;
}

static struct block *block_of(void *p)
{
	struct block *b = (struct block *)p - 1;

	if (b->magic == MAGIC + 1)
		break_off("freed twice");
	if (b->magic != MAGIC)
		break_off("freed, and never allocated here");
	return b;
}

#define EXPORT __attribute__((visibility("default")))

EXPORT void free(void *p)
{
	struct block *b;
	int saved_errno = errno;

	if (!p)
		return;
	enter();
	b = block_of(p);
	b->magic = MAGIC + 1;
	memset(p, FREED, b->size);
	atomic_fetch_sub(&live, 1);
	__libc_free(b->base);
	leave();
	errno = saved_errno;
}

EXPORT void *malloc(size_t size)
{
	return take(ALIGN, size);
}

EXPORT void *calloc(size_t n, size_t size)
{
	size_t all;
	void *p;

	if (__builtin_mul_overflow(n, size, &all))
		return NULL;
	p = take(ALIGN, all);
	return p ? memset(p, 0, all) : NULL;
}

EXPORT void *realloc(void *old, size_t size)
{
	void *p = take(ALIGN, size);
	size_t kept;

	if (!p || !old)
		return p;
	kept = block_of(old)->size;
	memcpy(p, old, kept < size ? kept : size);
	free(old);
	return p;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	return take(alignment, size);
}

EXPORT void *memalign(size_t alignment, size_t size);

EXPORT void *memalign(size_t alignment, size_t size)
{
	return take(alignment, size);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *p = take(alignment, size);

	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

/* ---- locks ---- */

static atomic_long taken; /* by librmem, ever */

static int real(_Atomic(void *) *cache, const char *name, pthread_mutex_t *mutex)
{
	void *f = atomic_load(cache);

	if (!f) {
		f = dlsym(RTLD_NEXT, name);
		atomic_store(cache, f);
	}
	return ((int (*)(pthread_mutex_t *))f)(mutex);
}

static bool is_librmem(void *address)
{
	struct dl_find_object object;

	return _dl_find_object(address, &object) == 0 &&
	       strstr(object.dlfo_link_map->l_name, "/librmem.so");
}

static int note_lock(int rc, pthread_mutex_t *mutex, void *caller)
{
	if (rc == 0 && is_librmem(caller)) {
		if (nheld == HELD_MAX)
			break_off("librmem has more locks than can be counted");
		held[nheld++] = mutex;
		atomic_fetch_add(&taken, 1);
	}
	return rc;
}

EXPORT int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	static _Atomic(void *) cache;
	int rc = real(&cache, "pthread_mutex_lock", mutex);

	return note_lock(rc, mutex, __builtin_return_address(0));
}

EXPORT int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
	static _Atomic(void *) cache;
	int rc = real(&cache, "pthread_mutex_trylock", mutex);

	return note_lock(rc, mutex, __builtin_return_address(0));
}

/* By the lock, not by the caller: as the last call of a function it returns to that function's caller. */
EXPORT int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	static _Atomic(void *) cache;

	for (int i = nheld; i-- > 0;)
		if (held[i] == mutex) {
			held[i] = held[--nheld];
			break;
		}
	return real(&cache, "pthread_mutex_unlock", mutex);
}

long allocator_locks(void)
{
	return atomic_load(&taken);
}

void allocator_forbid(bool now)
{
	forbidden = now;
}

long allocator_live(void)
{
	return atomic_load(&live);
}
