/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/private_memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

#define ENTRIES 255 /* of a chunk: it takes a page */
#define TAKEN ((uintptr_t)1)

/* start is 0: unused; TAKEN: being filled in. */
struct private_entry {
	_Atomic uintptr_t start;
	_Atomic size_t bytes;
};

/* Chunks are never freed, so that the list is read without a lock. */
struct chunk {
	_Atomic(struct chunk *) next;
	struct private_entry entries[ENTRIES];
};

static struct chunk first;
static _Atomic(struct chunk *) roomy; /* where to look first; NULL: from the beginning */
static _Atomic uint64_t version;

static struct private_entry *take_in(struct chunk *c)
{
	for (unsigned i = 0; i < ENTRIES; i++) {
		uintptr_t unused = 0;

		if (!atomic_load_explicit(&c->entries[i].start, memory_order_relaxed) &&
			atomic_compare_exchange_strong(&c->entries[i].start, &unused, TAKEN))
			return &c->entries[i];
	}
	return NULL;
}

/* The chunk after c, made if it is the last. NULL: out of memory. */
static struct chunk *extend(struct chunk *c)
{
	struct chunk *new, *next = atomic_load(&c->next);

	if (next)
		return next;
	new = mmap(NULL, sizeof(*new), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (new == MAP_FAILED)
		return NULL;
	if (atomic_compare_exchange_strong(&c->next, &next, new))
		return new;
	(void)munmap(new, sizeof(*new)); /* another thread was faster */
	return next;
}

static struct private_entry *take_from(struct chunk *c, bool grow)
{
	struct private_entry *e = NULL;

	for (; c; c = grow ? extend(c) : atomic_load(&c->next)) {
		e = take_in(c);
		if (!e)
			continue;
		atomic_store(&roomy, c);
		break;
	}
	return e;
}

struct private_entry *private_memory_add(const void *start, size_t bytes)
{
	struct chunk *from = atomic_load(&roomy);
	struct private_entry *e = from ? take_from(from, false) : NULL;

	if (!e)
		e = take_from(&first, true);
	if (!e)
		return NULL;
	atomic_store(&e->bytes, bytes);
	atomic_store(&e->start, (uintptr_t)start);
	atomic_fetch_add(&version, 1);
	return e;
}

void private_memory_remove(struct private_entry *e)
{
	if (!e)
		return;
	atomic_store(&e->start, 0);
	atomic_fetch_add(&version, 1);
}

size_t private_memory_list(struct private_range *out, size_t max)
{
	size_t n = 0;

	for (struct chunk *c = &first; c; c = atomic_load(&c->next)) {
		for (unsigned i = 0; i < ENTRIES; i++) {
			const uintptr_t start = atomic_load(&c->entries[i].start);
			const size_t bytes = atomic_load(&c->entries[i].bytes);

			/* Filled in anew meanwhile: then bytes may be of the other one. */
			if (start <= TAKEN || atomic_load(&c->entries[i].start) != start)
				continue;
			if (n < max)
				out[n] = (struct private_range){ start, start + bytes };
			n++;
		}
	}
	return n;
}

uint64_t private_memory_version(void)
{
	return atomic_load(&version);
}
