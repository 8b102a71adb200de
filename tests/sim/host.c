/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/host.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/sim/trace.h"

#define MAPS_MAX 32
#define FDS_MAX 32

/* In front of every piece of memory of this program; of the server's own, in a list. */
struct piece {
	struct piece *prev, *next; /* NULL: not the server's */
	size_t bytes;
	size_t unused; /* keeps what follows aligned to 16 bytes */
};

static struct {
	bool running;
	unsigned places; /* until it is killed */
	jmp_buf out;
	struct piece pieces; /* the head of a ring */
	size_t npieces;
	struct {
		char *from;
		size_t bytes;
	} maps[MAPS_MAX];
	unsigned nmaps;
	int first_fd;
} host = { .pieces = { &host.pieces, &host.pieces, 0, 0 } };

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void __real_free(void *p);
void *__real_mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *addr, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void __wrap_free(void *p);
void *__wrap_mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *addr, size_t bytes);

/* ---- heap ---- */

static void *keep(struct piece *piece, size_t bytes)
{
	if (!piece)
		return NULL;
	piece->bytes = bytes;
	piece->prev = piece->next = NULL;
	if (host.running) {
		piece->next = &host.pieces;
		piece->prev = host.pieces.prev;
		piece->prev->next = piece->next->prev = piece;
		host.npieces++;
	}
	return piece + 1;
}

void *__wrap_malloc(size_t bytes)
{
	return keep(__real_malloc(sizeof(struct piece) + bytes), bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	if (n && bytes > (SIZE_MAX - sizeof(struct piece)) / n)
		return NULL;
	return keep(__real_calloc(1, sizeof(struct piece) + n * bytes), n * bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
	void *fresh = __wrap_malloc(bytes);
	const size_t had = p ? ((struct piece *)p - 1)->bytes : 0;

	if (fresh && p) {
		memcpy(fresh, p, had < bytes ? had : bytes);
		__wrap_free(p);
	}
	return fresh;
}

void __wrap_free(void *p)
{
	struct piece *piece;

	if (!p)
		return;
	piece = (struct piece *)p - 1;
	if (piece->prev) {
		piece->prev->next = piece->next;
		piece->next->prev = piece->prev;
		host.npieces--;
	}
	__real_free(piece);
}

static void free_all(void)
{
	while (host.pieces.next != &host.pieces)
		__wrap_free(host.pieces.next + 1);
}

/* ---- mappings of files ---- */

void *__wrap_mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	void *at = __real_mmap(addr, bytes, prot, flags, fd, offset);

	if (host.running && at != MAP_FAILED && flags & MAP_SHARED) {
		trace_require(host.nmaps < MAPS_MAX, "the server maps too many files");
		host.maps[host.nmaps].from = at;
		host.maps[host.nmaps++].bytes = bytes;
	}
	return at;
}

int __wrap_munmap(void *addr, size_t bytes)
{
	for (unsigned i = 0; i < host.nmaps; i++) {
		if (host.maps[i].from == addr) {
			host.maps[i] = host.maps[--host.nmaps];
			break;
		}
	}
	return __real_munmap(addr, bytes);
}

static bool is_file(const volatile char *at)
{
	for (unsigned i = 0; i < host.nmaps; i++) {
		if (at >= host.maps[i].from && at < host.maps[i].from + host.maps[i].bytes)
			return true;
	}
	return false;
}

/* ---- life and death ---- */

void host_begin(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	host.first_fd = fd;
	close(fd);
	host.places = 0;
}

bool host_run(void (*act)(void *arg), void *arg)
{
	if (setjmp(host.out)) {
		host_kill();
		return false;
	}
	host.running = true;
	act(arg);
	host.running = false;
	return true;
}

void host_arm(unsigned places)
{
	host.places = places;
}

void host_kill(void)
{
	host.running = false;
	host.places = 0;
	free_all();
	while (host.nmaps)
		__wrap_munmap(host.maps[0].from, host.maps[0].bytes);
	for (int fd = host.first_fd; fd < host.first_fd + FDS_MAX; fd++)
		close(fd);
}

size_t host_end(void)
{
	size_t forgotten = host.npieces + host.nmaps;

	host_kill();
	return forgotten;
}

void host_place(void)
{
	if (host.running && host.places && --host.places == 0)
		longjmp(host.out, 1);
}

void host_store(const volatile void *to)
{
	if (host.running && host.places && is_file(to))
		host_place();
}
