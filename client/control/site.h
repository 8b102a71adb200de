/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Call sites: which line of the program allocates.
 *
 * An allocation captures its return addresses, which are looked up in a cache. A stack that is new
 * is described once as build ids and offsets, for the server to number; its names come later, from
 * a thread in the background (client/control/symbolizer.h). At most SITES_CACHED stacks are told apart; what
 * comes after is site 0, unknown.
 *
 * The caller locks, but not what asks the loader (stacks and descriptions): another thread may have the
 * loader's locks and call the library, in a constructor of what it loads.
 */
#ifndef RMEM_CLIENT_CONTROL_SITE_H
#define RMEM_CLIENT_CONTROL_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"

#define SITES_CACHED 4096

struct stack {
	unsigned depth;
	void *addresses[SITE_DEPTH_MAX]; /* return addresses, the innermost first */
	unsigned long long unloads; /* dlclose() calls so far: the same address may be other code */
};

/* Load what unwinding needs, so that it does not happen inside the first allocation. */
void stack_prepare(void);

/* The caller's stack from the frame that returns to caller outwards: our own frames stay out. */
void stack_capture(struct stack *out, void *caller);

/* A stack as the server knows it, with what it takes to find its names. */
struct site_description {
	struct site_request request;
	char *paths
		[SITE_DEPTH_MAX]; /* whole, where the request may hold only the end; may be NULL */
};

/* Returns NULL if out of memory. With no lock of ours. */
struct site_description *site_describe(const struct stack *stack);
void site_description_destroy(struct site_description *d); /* NULL is fine */

struct sites;

struct sites *sites_create(void); /* or NULL */
void sites_destroy(struct sites *s);
void sites_clear(struct sites *s); /* the server that numbered them is another one now */

struct site {
	uint32_t number;  /* the server's; 0: it has none for it */
	const char *code; /* of its innermost frame, as sites_code() */
};

/* Is it in the cache? Forgets everything first when code was unloaded since the last call. */
bool sites_find(struct sites *s, const struct stack *stack, struct site *out);

/* Remember it, if there is room; false: full. */
bool sites_add(struct sites *s, const struct stack *stack, struct site site);

/*
 * "program+0x1234", what addr2line(1) takes, for the line that allocates; it stays as long as the sites. NULL:
 * unknown, or too many.
 */
const char *sites_code(struct sites *s, const struct site_description *d);

/* Names for the frames of a description; frames without one say why in file. */
void site_resolve(
	const struct site_description *d, uint32_t number, struct site_names_request *out);

#endif
