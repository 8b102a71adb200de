/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/allocator.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/slabs.h"

/* ---- the C library's ---- */

static int glibc_open(void)
{
	return 0;
}

static void *glibc_alloc(size_t bytes, size_t align)
{
	void *p;

	if (align <= 16)
		return malloc(bytes);
	return posix_memalign(&p, align, bytes) == 0 ? p : NULL;
}

static void *glibc_resize(void *p, size_t old_bytes, size_t bytes)
{
	(void)old_bytes;
	return realloc(p, bytes);
}

static void glibc_free(void *p, size_t bytes)
{
	(void)bytes;
	free(p);
}

const struct allocator allocator_glibc = { "glibc", glibc_open, glibc_alloc, glibc_resize,
	glibc_free, NULL, NULL };

/* ---- mimalloc, loaded when it is asked for: linked, it would replace the C library's for everything ---- */

static void *(*mi_malloc)(size_t);
static void *(*mi_malloc_aligned)(size_t, size_t);
static void *(*mi_realloc)(void *, size_t);
static void (*mi_free)(void *);

static int mimalloc_open(void)
{
	void *lib = dlopen("libmimalloc.so.2", RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		return -ENOENT;
	*(void **)&mi_malloc = dlsym(lib, "mi_malloc");
	*(void **)&mi_malloc_aligned = dlsym(lib, "mi_malloc_aligned");
	*(void **)&mi_realloc = dlsym(lib, "mi_realloc");
	*(void **)&mi_free = dlsym(lib, "mi_free");
	return mi_malloc && mi_malloc_aligned && mi_realloc && mi_free ? 0 : -ENOSYS;
}

static void *mimalloc_alloc(size_t bytes, size_t align)
{
	return align <= 16 ? mi_malloc(bytes) : mi_malloc_aligned(bytes, align);
}

static void *mimalloc_resize(void *p, size_t old_bytes, size_t bytes)
{
	(void)old_bytes;
	return mi_realloc(p, bytes);
}

static void mimalloc_free(void *p, size_t bytes)
{
	(void)bytes;
	mi_free(p);
}

const struct allocator allocator_mimalloc = { "mimalloc", mimalloc_open, mimalloc_alloc,
	mimalloc_resize, mimalloc_free, NULL, NULL };

/* ---- librmem's ---- */

const struct allocator allocator_rmem = { "rmem", slabs_open, slabs_alloc, slabs_resize, slabs_free,
	slabs_footprint, slabs_lent };

const struct allocator *allocator_named(const char *name)
{
	static const struct allocator *const all[] = { &allocator_glibc, &allocator_mimalloc,
		&allocator_rmem };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}
