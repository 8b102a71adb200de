/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "tests/fault/interpose.h"

/* glibc's own names for its allocator: they work before anything else does. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);

static void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

EXPORT void *malloc(size_t size)
{
	void *p;

	if (fault_hit(FAULT_malloc, ORIGIN))
		return no_memory();
	p = __libc_malloc(size);
	fault_created(FAULT_OBJECT_heap, p, ORIGIN);
	return p;
}

EXPORT void *calloc(size_t n, size_t size)
{
	void *p;

	if (fault_hit(FAULT_calloc, ORIGIN))
		return no_memory();
	p = __libc_calloc(n, size);
	fault_created(FAULT_OBJECT_heap, p, ORIGIN);
	return p;
}

EXPORT void *realloc(void *old, size_t size)
{
	void *p;

	if (fault_hit(FAULT_realloc, ORIGIN))
		return no_memory();
	fault_destroyed(FAULT_OBJECT_heap, old);
	p = __libc_realloc(old, size);
	fault_created(FAULT_OBJECT_heap, p ? p : old, ORIGIN);
	return p;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	void *p;

	if (fault_hit(FAULT_aligned_alloc, ORIGIN))
		return no_memory();
	p = __libc_memalign(alignment, size);
	fault_created(FAULT_OBJECT_heap, p, ORIGIN);
	return p;
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *p;

	if (fault_hit(FAULT_posix_memalign, ORIGIN))
		return ENOMEM;
	p = __libc_memalign(alignment, size);
	fault_created(FAULT_OBJECT_heap, p, ORIGIN);
	if (p)
		*out = p;
	return p ? 0 : ENOMEM;
}

EXPORT char *strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *p;

	if (fault_hit(FAULT_strdup, ORIGIN))
		return no_memory();
	p = __libc_malloc(size);
	fault_created(FAULT_OBJECT_heap, p, ORIGIN);
	return p ? memcpy(p, text, size) : NULL;
}

EXPORT void free(void *p)
{
	int saved = errno;

	fault_destroyed(FAULT_OBJECT_heap, p);
	__libc_free(p);
	errno = saved;
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	void *p;

	if (fault_hit(FAULT_mmap, ORIGIN)) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	p = REAL(mmap)(addr, len, prot, flags, fd, offset);
	if (p != MAP_FAILED)
		fault_created(FAULT_OBJECT_mapping, p, ORIGIN);
	return p;
}

EXPORT int munmap(void *addr, size_t len)
{
	fault_destroyed(FAULT_OBJECT_mapping, addr);
	return REAL(munmap)(addr, len);
}

EXPORT int eventfd(unsigned count, int flags)
{
	if (fault_hit(FAULT_eventfd, ORIGIN)) {
		errno = EMFILE;
		return -1;
	}
	return REAL(eventfd)(count, flags);
}

EXPORT int epoll_create1(int flags)
{
	if (fault_hit(FAULT_epoll_create1, ORIGIN)) {
		errno = EMFILE;
		return -1;
	}
	return REAL(epoll_create1)(flags);
}

EXPORT int epoll_ctl(int epoll_fd, int command, int fd, struct epoll_event *event)
{
	if (fault_hit(FAULT_epoll_ctl, ORIGIN)) {
		errno = ENOMEM;
		return -1;
	}
	return REAL(epoll_ctl)(epoll_fd, command, fd, event);
}

EXPORT int fcntl(int fd, int command, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, command);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (fault_hit(FAULT_fcntl, ORIGIN)) {
		errno = ENOMEM;
		return -1;
	}
	return REAL(fcntl)(fd, command, arg);
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	if (fault_hit(FAULT_poll, ORIGIN)) {
		errno = ENOMEM;
		return -1;
	}
	return REAL(poll)(fds, n, timeout_ms);
}

EXPORT ssize_t getrandom(void *out, size_t size, unsigned flags)
{
	if (fault_hit(FAULT_getrandom, ORIGIN)) {
		errno = ENOSYS;
		return -1;
	}
	return REAL(getrandom)(out, size, flags);
}

EXPORT int getifaddrs(struct ifaddrs **out)
{
	int rc;

	if (fault_hit(FAULT_getifaddrs, ORIGIN)) {
		errno = ENOMEM;
		return -1;
	}
	rc = REAL(getifaddrs)(out);
	if (rc == 0)
		fault_created(FAULT_OBJECT_interfaces, *out, ORIGIN);
	return rc;
}

EXPORT void freeifaddrs(struct ifaddrs *list)
{
	fault_destroyed(FAULT_OBJECT_interfaces, list);
	REAL(freeifaddrs)(list);
}

EXPORT int getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	int rc;

	if (fault_hit(FAULT_getaddrinfo, ORIGIN))
		return EAI_MEMORY;
	rc = REAL(getaddrinfo)(node, service, hints, out);
	if (rc == 0)
		fault_created(FAULT_OBJECT_addresses, *out, ORIGIN);
	return rc;
}

EXPORT void freeaddrinfo(struct addrinfo *list)
{
	fault_destroyed(FAULT_OBJECT_addresses, list);
	REAL(freeaddrinfo)(list);
}

EXPORT int pthread_create(
	pthread_t *out, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	int rc;

	if (fault_hit(FAULT_pthread_create, ORIGIN))
		return EAGAIN;
	rc = REAL(pthread_create)(out, attr, start, arg);
	if (rc == 0)
		fault_created(FAULT_OBJECT_thread, (void *)*out, ORIGIN);
	return rc;
}

EXPORT int pthread_join(pthread_t thread, void **result)
{
	int rc = REAL(pthread_join)(thread, result);

	if (rc == 0)
		fault_destroyed(FAULT_OBJECT_thread, (void *)thread);
	return rc;
}
