/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes a trace (bench/trace.h) of what record.c wrote: numbers instead of addresses, and no more than so many events.
 *
 *	trace-pack EVENTS <RAW >TRACE
 *
 * Events on memory that was allocated before the recording began are left out.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "bench/trace.h"
#include "bench/traces/raw.h"

#define NOT_THERE UINT32_MAX

/* Which object lives at an address: a hash table, open, linear, of addresses that never leave it. */
#define PLACES_LOG2 23
static struct place {
	uint64_t addr;
	uint32_t object; /* NOT_THERE: none now */
} places[1U << PLACES_LOG2];

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "trace-pack: %s\n", what);
	exit(1);
}

static struct place *place_of(uint64_t addr)
{
	uint64_t i = addr * 0x9e3779b97f4a7c15ULL >> (64 - PLACES_LOG2);

	while (places[i].addr != addr && places[i].addr != 0)
		i = (i + 1) & ((1U << PLACES_LOG2) - 1);
	if (places[i].addr == 0)
		places[i] = (struct place){ .addr = addr, .object = NOT_THERE };
	return &places[i];
}

static uint32_t take(uint64_t addr)
{
	struct place *p = place_of(addr);
	const uint32_t object = p->object;

	p->object = NOT_THERE;
	return object;
}

static uint8_t align_log2_of(uint64_t align)
{
	return align > 1 ? (uint8_t)(63 - __builtin_clzll(align)) : 0;
}

/* False: not an event of the trace. */
static bool convert(struct trace *t, const struct raw_event *raw, struct trace_event *e)
{
	static const uint8_t kinds[] = { TRACE_ALLOC, TRACE_CALLOC, TRACE_ALIGNED, TRACE_REALLOC,
		TRACE_FREE };
	const bool old = raw->kind == RAW_REALLOC || raw->kind == RAW_FREE;

	must(raw->kind <= RAW_FREE && raw->bytes <= TRACE_BYTES_MAX &&
			raw->thread < TRACE_THREADS_MAX,
		"not what record.c wrote, or more than a trace can hold");
	e->kind = kinds[raw->kind];
	e->thread = (uint16_t)raw->thread;
	e->object = old ? take(raw->kind == RAW_FREE ? raw->addr : raw->other) : t->objects++;
	if (e->object == NOT_THERE)
		return false;
	if (raw->kind != RAW_FREE) {
		e->bytes = raw->bytes ? (uint32_t)raw->bytes : 1;
		place_of(raw->addr)->object = e->object;
	}
	if (raw->kind == RAW_ALIGNED)
		e->align_log2 = align_log2_of(raw->other);
	if (raw->thread >= t->threads)
		t->threads = raw->thread + 1;
	return true;
}

int main(int argc, char **argv)
{
	const unsigned long max = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	struct trace t = { 0 };
	struct raw_event raw;

	must(max > 0 && max <= TRACE_EVENTS_MAX, "usage: trace-pack EVENTS <RAW >TRACE");
	t.event = calloc(max, sizeof(*t.event));
	must(t.event, "no memory");
	while (t.events < max && fread(&raw, sizeof(raw), 1, stdin) == 1)
		t.events += convert(&t, &raw, &t.event[t.events]);
	must(t.events > 0, "nothing was recorded");
	must(trace_write(&t, stdout) == 0, "cannot write");
	trace_release(&t);
	return 0;
}
