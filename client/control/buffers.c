/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/buffers.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/denial.h"
#include "common/verbs.h"

#define LONG_BYTES (1UL << 30)

int buffers_reserve(struct buffers *t, size_t count)
{
	size_t capacity = t->capacity ? t->capacity : 16;
	struct buffer *items;

	if (count <= t->capacity)
		return 0;
	while (capacity < count)
		capacity *= 2;
	items = heap_grow(
		t->heap, t->items, t->capacity * sizeof(*items), capacity * sizeof(*items));
	if (!items)
		return -ENOMEM;
	t->items = items;
	t->capacity = capacity;
	return 0;
}

/* How many start at or below addr. */
static size_t upper_bound(const struct buffers *t, uintptr_t addr)
{
	size_t low = 0, high = t->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->items[mid].start <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* One that shares a byte with it, or NULL. */
static const struct buffer *overlapping(const struct buffers *t, const struct buffer *b)
{
	size_t i = upper_bound(t, b->start);

	if (i > 0 && b->start - t->items[i - 1].start < t->items[i - 1].bytes)
		return &t->items[i - 1];
	if (i < t->count && t->items[i].start - b->start < b->bytes)
		return &t->items[i];
	return NULL;
}

int buffers_check(const struct buffers *t, const struct buffer *b, struct errinfo *errinfo)
{
	const struct buffer *other;

	if (b->bytes == 0)
		return errinfo_set(
			errinfo, -EINVAL, "a buffer of 0 bytes: it must have at least 1");
	if (b->bytes > UINTPTR_MAX - b->start)
		return errinfo_set(errinfo, -EINVAL,
			"%zu bytes at %p pass the end of the address space", b->bytes,
			(void *)b->start);
	other = overlapping(t, b);
	if (other)
		return errinfo_set(errinfo, -EINVAL,
			"%zu bytes at %p overlap the %zu bytes at %p, which are registered "
			"already: release those first",
			b->bytes, (void *)b->start, other->bytes, (void *)other->start);
	return 0;
}

void buffers_add(struct buffers *t, const struct buffer *b)
{
	size_t i = upper_bound(t, b->start);

	memmove(&t->items[i + 1], &t->items[i], (t->count - i) * sizeof(*t->items));
	t->items[i] = *b;
	t->count++;
}

void buffers_remove(struct buffers *t, struct buffer *b)
{
	size_t i = (size_t)(b - t->items);

	memmove(b, b + 1, (t->count - i - 1) * sizeof(*t->items));
	t->count--;
}

struct buffer *buffers_find(const struct buffers *t, uintptr_t addr)
{
	size_t i = upper_bound(t, addr);

	return i > 0 && t->items[i - 1].start == addr ? &t->items[i - 1] : NULL;
}

struct buffer *buffers_find_range(const struct buffers *t, uintptr_t addr, size_t bytes)
{
	size_t i = upper_bound(t, addr);
	struct buffer *b;
	uintptr_t offset;

	if (i == 0)
		return NULL;
	b = &t->items[i - 1];
	offset = addr - b->start;
	return offset < b->bytes && bytes <= b->bytes - offset ? b : NULL;
}

void buffers_destroy(struct buffers *t)
{
	for (size_t i = 0; i < t->count; i++)
		buffer_unmap(&t->items[i]);
	*t = (struct buffers){ 0 };
}

int buffers_explain_memory(size_t bytes, const char *else_, struct errinfo *errinfo)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return errinfo_set(errinfo, -ENOMEM,
			"the RDMA device cannot register %zu bytes: out of memory (RLIMIT_MEMLOCK "
			"is unlimited): see the control group's memory.max, and 'ulimit -v'",
			bytes);
	return errinfo_set(errinfo, -ENOMEM,
		"the RDMA device cannot lock %zu bytes: out of memory, or over the limit of this "
		"process, which is %llu KiB for all it locks: raise it with 'ulimit -l', memlock "
		"in /etc/security/limits.conf, or LimitMEMLOCK= of a systemd unit%s",
		bytes, (unsigned long long)limit.rlim_cur / 1024, else_);
}

/* More than the device takes at once? It is asked for its word only about what is very long. */
static int check_region(const struct buffer *b, struct ibv_pd *pd, struct errinfo *errinfo)
{
	struct ibv_device_attr attr;

	if (b->bytes <= LONG_BYTES || ibv_query_device(pd->context, &attr) ||
		b->bytes <= verbs_region_max(&attr))
		return 0;
	return errinfo_set(errinfo, -ENOMEM,
		"the RDMA device %s cannot register %zu bytes at once, but only %" PRIu64
		": register parts that are neighbours",
		ibv_get_device_name(pd->context->device), b->bytes, verbs_region_max(&attr));
}

int buffer_register(struct buffer *b, struct ibv_pd *pd, struct errinfo *errinfo)
{
	char remedy[DENIAL_TEXT_SIZE];
	int rc = check_region(b, pd, errinfo);

	if (rc)
		return rc;
	b->mr = ibv_reg_mr(pd, (void *)b->start, b->bytes, IBV_ACCESS_LOCAL_WRITE);
	if (b->mr) {
		b->lkey = b->mr->lkey;
		return 0;
	}
	rc = verbs_errno();
	if (rc == -ENOMEM)
		return buffers_explain_memory(b->bytes, "", errinfo);
	if (rc == -EFAULT)
		return errinfo_set(errinfo, -EINVAL,
			"not all of the %zu bytes at %p are mapped and writable", b->bytes,
			(void *)b->start);
	return errinfo_set(errinfo, rc, "the RDMA device cannot register %zu bytes at %p: %s%s%s",
		b->bytes, (void *)b->start, errinfo_errno(-rc), rc == -EAGAIN ? ": " : "",
		rc == -EAGAIN ? denial_remedy(DENIED_PINNED, rc, remedy) : "");
}

void buffer_deregister(struct buffer *b)
{
	if (b->mr)
		ibv_dereg_mr(b->mr);
	b->mr = NULL;
}

int buffer_map(struct buffer *b, struct errinfo *errinfo)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = MAP_FAILED;

	if (b->bytes <= SIZE_MAX - page) {
		b->mapped_bytes = (b->bytes + page - 1) / page * page;
		p = mmap(NULL, b->mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	}
	if (p == MAP_FAILED) {
		b->mapped_bytes = 0;
		return errinfo_set(errinfo, -ENOMEM,
			"this process cannot map %zu bytes: more than its limit ('ulimit -v'), its "
			"address space, or what the kernel promises (vm.overcommit_memory)",
			b->bytes);
	}
	b->start = (uintptr_t)p;
	return 0;
}

void buffer_unmap(struct buffer *b)
{
	if (b->mapped_bytes)
		munmap((void *)b->start, b->mapped_bytes);
	b->mapped_bytes = 0;
}
