/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A recorded sequence of allocations: who (thread), what (kind), how much, which object. No addresses and no contents.
 *
 * In a file (traces/NAME.xz, once decompressed): "rmemtrc1", then numbers of 7 bits per byte, lowest first, the top bit
 * set in all but the last byte of a number: threads, objects, events; then per event
 *
 *	kind, plus 8 if the thread is another one than before
 *	the thread, if so
 *	TRACE_FREE, TRACE_REALLOC: how many objects were made since this one was (0: it is the newest)
 *	all but TRACE_FREE: the bytes asked for, at least 1
 *	TRACE_ALIGNED: log2 of the alignment
 *
 * Objects are numbered in the order in which they were allocated. A reallocated object keeps its number.
 *
 * A file is checked while it is read: what trace_read() returns names only objects that live, and threads below
 * `threads`.
 */
#ifndef RMEM_BENCH_TRACE_H
#define RMEM_BENCH_TRACE_H

#include <stdint.h>
#include <stdio.h>

enum trace_kind { TRACE_ALLOC, TRACE_CALLOC, TRACE_ALIGNED, TRACE_REALLOC, TRACE_FREE };

struct trace_event {
	uint32_t object;
	uint32_t bytes; /* TRACE_FREE: 0 */
	uint16_t thread;
	uint8_t kind;
	uint8_t align_log2; /* TRACE_ALIGNED, else 0 */
};

struct trace {
	uint32_t threads, objects, events;
	uint32_t peak;       /* the event after which most bytes live */
	uint64_t peak_bytes; /* so many */
	struct trace_event *event;
};

#define TRACE_EVENTS_MAX 4000000U
#define TRACE_THREADS_MAX 64U
#define TRACE_BYTES_MAX (1U << 30) /* of an object */
#define TRACE_ALIGN_LOG2_MAX 21

/* 0, -EINVAL (no trace, or a damaged one) or -ENOMEM. To be released with trace_release(). */
int trace_read(struct trace *t, FILE *from);
/* 0 or -EIO. */
int trace_write(const struct trace *t, FILE *to);
void trace_release(struct trace *t);

#endif
