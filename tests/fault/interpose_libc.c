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

EXPORT void *malloc(size_t size)
{
	return MAKE(malloc, ENOMEM, heap, __libc_malloc(size));
}

EXPORT void *calloc(size_t n, size_t size)
{
	return MAKE(calloc, ENOMEM, heap, __libc_calloc(n, size));
}

EXPORT void *realloc(void *old, size_t size)
{
	void *p;

	if (fault_hit(FAULT_realloc, ORIGIN)) {
		errno = ENOMEM;
		return NULL;
	}
	fault_destroyed(FAULT_OBJECT_heap, old);
	p = __libc_realloc(old, size);
	fault_created(FAULT_OBJECT_heap, p ? p : old, ORIGIN);
	return p;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	return MAKE(aligned_alloc, ENOMEM, heap, __libc_memalign(alignment, size));
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
	char *p = MAKE(strdup, ENOMEM, heap, __libc_malloc(size));

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
	return CALL(eventfd, fault_refuse(EMFILE), REAL(eventfd)(count, flags));
}

EXPORT int epoll_create1(int flags)
{
	return CALL(epoll_create1, fault_refuse(EMFILE), REAL(epoll_create1)(flags));
}

EXPORT int epoll_ctl(int epoll_fd, int command, int fd, struct epoll_event *event)
{
	return CALL(epoll_ctl, fault_refuse(ENOMEM), REAL(epoll_ctl)(epoll_fd, command, fd, event));
}

EXPORT int fcntl(int fd, int command, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, command);
	arg = va_arg(ap, void *);
	va_end(ap);
	return CALL(fcntl, fault_refuse(ENOMEM), REAL(fcntl)(fd, command, arg));
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	return CALL(poll, fault_refuse(ENOMEM), REAL(poll)(fds, n, timeout_ms));
}

EXPORT ssize_t getrandom(void *out, size_t size, unsigned flags)
{
	return CALL(getrandom, fault_refuse(ENOSYS), REAL(getrandom)(out, size, flags));
}

EXPORT int getifaddrs(struct ifaddrs **out)
{
	return MAKE_AT(getifaddrs, fault_refuse(ENOMEM), interfaces, *out, REAL(getifaddrs)(out));
}

EXPORT void freeifaddrs(struct ifaddrs *list)
{
	fault_destroyed(FAULT_OBJECT_interfaces, list);
	REAL(freeifaddrs)(list);
}

EXPORT int getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	return MAKE_AT(getaddrinfo, EAI_MEMORY, addresses, *out,
		REAL(getaddrinfo)(node, service, hints, out));
}

EXPORT void freeaddrinfo(struct addrinfo *list)
{
	fault_destroyed(FAULT_OBJECT_addresses, list);
	REAL(freeaddrinfo)(list);
}

EXPORT int pthread_create(
	pthread_t *out, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	return MAKE_AT(pthread_create, EAGAIN, thread, (void *)*out,
		REAL(pthread_create)(out, attr, start, arg));
}

/* It is on its own from now on. */
EXPORT int pthread_detach(pthread_t thread)
{
	int rc = REAL(pthread_detach)(thread);

	if (rc == 0)
		fault_destroyed(FAULT_OBJECT_thread, (void *)thread);
	return rc;
}

EXPORT int pthread_join(pthread_t thread, void **result)
{
	int rc = REAL(pthread_join)(thread, result);

	if (rc == 0)
		fault_destroyed(FAULT_OBJECT_thread, (void *)thread);
	return rc;
}
