/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/trace.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#define MAGIC "rmemtrc1"
#define OTHER_THREAD 8U

/* Not malloc(), which may be what is measured: a large free() changes how it behaves. */
static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes);
}

/* More than any number in a trace: the file has ended, or what is there is none. */
#define NO_NUMBER UINT64_MAX

static uint64_t get_number(FILE *from)
{
	uint64_t n = 0;

	for (unsigned shift = 0; shift < 35; shift += 7) {
		const int c = getc_unlocked(from);

		if (c == EOF)
			return NO_NUMBER;
		n |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return n;
	}
	return NO_NUMBER;
}

static void put_number(FILE *to, uint32_t n)
{
	for (; n >= 0x80; n >>= 7)
		putc_unlocked((int)(n & 0x7f) | 0x80, to);
	putc_unlocked((int)n, to);
}

/* While a trace is read: of each object so far, its bytes, or 0 if it is freed. */
struct reading {
	FILE *from;
	struct trace *t;
	uint32_t *bytes;
	uint32_t made;
	uint16_t thread;
	uint64_t live_bytes;
};

/* Which object, and how large it is from now on. */
static bool read_object(struct reading *r, struct trace_event *e)
{
	const bool old = e->kind == TRACE_FREE || e->kind == TRACE_REALLOC;
	const uint64_t back = old ? get_number(r->from) : 0;
	const uint64_t bytes = e->kind == TRACE_FREE ? 0 : get_number(r->from);

	if (bytes > TRACE_BYTES_MAX || (bytes == 0) != (e->kind == TRACE_FREE))
		return false;
	if (old && back >= r->made)
		return false;
	if (!old && r->made == r->t->objects)
		return false;
	e->object = old ? r->made - 1 - (uint32_t)back : r->made++;
	e->bytes = (uint32_t)bytes;
	if (old && r->bytes[e->object] == 0)
		return false;
	r->live_bytes += bytes - r->bytes[e->object];
	r->bytes[e->object] = e->bytes;
	return true;
}

static bool read_event(struct reading *r, struct trace_event *e)
{
	const uint64_t kind = get_number(r->from);
	uint64_t thread = r->thread, align_log2 = 0;

	if (kind >= 2 * OTHER_THREAD || (kind & ~OTHER_THREAD) > TRACE_FREE)
		return false;
	if (kind & OTHER_THREAD)
		thread = get_number(r->from);
	if (thread >= r->t->threads)
		return false;
	e->kind = (uint8_t)(kind & ~OTHER_THREAD);
	e->thread = r->thread = (uint16_t)thread;
	if (!read_object(r, e))
		return false;
	if (e->kind == TRACE_ALIGNED)
		align_log2 = get_number(r->from);
	e->align_log2 = (uint8_t)align_log2;
	return align_log2 <= TRACE_ALIGN_LOG2_MAX;
}

static int read_events(struct reading *r)
{
	struct trace *t = r->t;

	t->event = map(t->events * sizeof(*t->event));
	r->bytes = map(t->objects * sizeof(*r->bytes));
	if (!t->event || !r->bytes)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->events; i++) {
		if (!read_event(r, &t->event[i]))
			return -EINVAL;
		if (r->live_bytes > t->peak_bytes) {
			t->peak_bytes = r->live_bytes;
			t->peak = i;
		}
	}
	return r->made == t->objects && getc(r->from) == EOF ? 0 : -EINVAL;
}

int trace_read(struct trace *out, FILE *from)
{
	struct trace t = { 0 };
	struct reading r = { .from = from, .t = &t };
	char magic[sizeof(MAGIC) - 1];
	uint64_t threads, objects, events;
	int rc;

	if (fread(magic, sizeof(magic), 1, from) != 1 || memcmp(magic, MAGIC, sizeof(magic)) != 0)
		return -EINVAL;
	threads = get_number(from);
	objects = get_number(from);
	events = get_number(from);
	if (threads == 0 || threads > TRACE_THREADS_MAX || events > TRACE_EVENTS_MAX ||
		events == 0 || objects > events || objects == 0)
		return -EINVAL;
	t.threads = (uint32_t)threads;
	t.objects = (uint32_t)objects;
	t.events = (uint32_t)events;
	rc = read_events(&r);
	unmap(r.bytes, t.objects * sizeof(*r.bytes));
	if (rc != 0) {
		trace_release(&t);
		return rc;
	}
	*out = t;
	return 0;
}

int trace_write(const struct trace *t, FILE *to)
{
	uint32_t made = 0;
	uint16_t thread = 0;

	fputs(MAGIC, to);
	put_number(to, t->threads);
	put_number(to, t->objects);
	put_number(to, t->events);
	for (const struct trace_event *e = t->event; e < t->event + t->events; e++) {
		const bool old = e->kind == TRACE_FREE || e->kind == TRACE_REALLOC;

		put_number(to, e->kind | (e->thread != thread ? OTHER_THREAD : 0));
		if (e->thread != thread)
			put_number(to, thread = e->thread);
		if (old)
			put_number(to, made - 1 - e->object);
		else
			made++;
		if (e->kind != TRACE_FREE)
			put_number(to, e->bytes);
		if (e->kind == TRACE_ALIGNED)
			put_number(to, e->align_log2);
	}
	return fflush(to) == 0 && !ferror(to) ? 0 : -EIO;
}

void trace_release(struct trace *t)
{
	unmap(t->event, t->events * sizeof(*t->event));
	*t = (struct trace){ 0 };
}
