/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Call sites: which line of the program allocates.
 *
 * An allocation captures its return addresses, which are looked up in a cache. A stack that is new
 * is described once as build ids and offsets, for the server to number; its names come later, from
 * a thread in the background (client/control/symbolizer.h).
 *
 * The cache has room for every number that a server can give, so that one that is full holds mostly stacks without a
 * number: it is emptied then, and fills again. Where the server refuses a number, none is asked for during a while that
 * doubles from refusal to refusal (SITES_QUIET_NS to SITES_QUIET_MAX_NS); stacks are of site 0, unknown, meanwhile.
 * So neither many stacks nor a full server cost a round trip at every allocation.
 *
 * The caller locks, but not what asks the loader (stacks and descriptions): another thread may have the
 * loader's locks and call the library, in a constructor of what it loads. Memory comes from the session's
 * heap, never from malloc(), whose locks a signal, a fork or a replacement of it may hold for long. Only
 * site_resolve() allocates as it likes, for it is called where no call of the program waits for it.
 */
#ifndef RMEM_CLIENT_CONTROL_SITE_H
#define RMEM_CLIENT_CONTROL_SITE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "common/heap.h"
#include "common/mapped_file.h"
#include "common/message.h"

#define SITES_CACHED 16384
#define SITE_CODES_MAX 4096
#define SITES_QUIET_NS (1 * NSEC_PER_SEC)
#define SITES_QUIET_MAX_NS (64 * NSEC_PER_SEC)

#define STACK_PLACES (SITE_DEPTH_MAX - 1)
struct stack {
	unsigned depth;
	void *addresses[SITE_DEPTH_MAX]; /* return addresses, the innermost first */
	/* where the return addresses after the innermost are stored; NULL: there is none, or it cannot be told */
	const void *const *places[STACK_PLACES];
	unsigned long long unloads; /* dlclose() calls so far: the same address may be other code */
};

/* Load what unwinding needs, so that it does not happen inside the first allocation. */
void stack_prepare(void);

/* The caller's stack from the frame that returns to caller outwards: our own frames stay out. NULL: with them. Takes microseconds. */
void stack_capture(struct stack *out, void *caller);

/* Where the names of a module are found. */
struct site_module_file {
	char *path; /* whole, where the request may hold only the end; may be NULL */
	uintptr_t bias;
	bool no_build_id;          /* the one in the request stands in for it */
	struct mapped_file mapped; /* then, and if there is a path */
};

/* A stack as the server knows it, with what it takes to find its names. */
struct site_description {
	struct heap *heap; /* that this and the paths lie on */
	struct site_request request;
	struct site_module_file files[SITE_DEPTH_MAX];
};

/* Returns NULL if out of memory. With no lock of ours. */
struct site_description *site_describe(struct heap *heap, const struct stack *stack);
/* The same on another heap, which may outlive the first. NULL: out of memory. */
struct site_description *site_description_copy(struct heap *heap, const struct site_description *d);
void site_description_destroy(struct site_description *d); /* NULL is fine */

struct sites;

/* They end with the heap. version, which outlives them, changes when numbers become invalid. NULL: out of memory. */
struct sites *sites_create(struct heap *heap, _Atomic uint64_t *version);
void sites_clear(struct sites *s); /* the server that numbered them is another one now */

struct site {
	uint32_t number;  /* the server's; 0: it has none for it */
	const char *code; /* of its innermost frame, as sites_code() */
};

/*
 * Is it in the cache, with a number or while none is asked for? Forgets everything first when code was unloaded since
 * the last call.
 */
bool sites_find(struct sites *s, const struct stack *stack, uint64_t now_ns, struct site *out);

/* May the server be asked for a number now? */
bool sites_may_ask(const struct sites *s, uint64_t now_ns);

/* Remember what it said; false: out of memory. Number 0, when it was asked: it refused. */
bool sites_add(struct sites *s, const struct stack *stack, struct site site);
void sites_refused(struct sites *s, uint64_t now_ns);

/* The stack that has this number, not 0. false: it is not in the cache. */
bool sites_stack(const struct sites *s, uint32_t number, struct stack *out);

/* A frame of a description as "program+0x1234". Returns its length, or 0: it is not known where it is. */
int site_frame(const struct site_description *d, unsigned frame, char *out, size_t size);

/*
 * "program+0x1234", what addr2line(1) takes, for the line that allocates; it stays as long as the heap. NULL:
 * unknown, or too many.
 */
const char *sites_code(struct sites *s, const struct site_description *d);

/* Names for the frames of a description; frames without one say why in file. */
void site_resolve(
	const struct site_description *d, uint32_t number, struct site_names_request *out);

#endif
