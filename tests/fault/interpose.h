/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The interposer: a shared object that is loaded before all others (LD_PRELOAD) into the program under
 * test, and stands between it and libibverbs, librdmacm and libc. It needs no change there, and only for faults on
 * librmem's private heap a special link (heap_calls.c). Calls that are inline functions (ibv_post_send, ibv_poll_cq, ...) go through a table in
 * the device's context, in which the interposer puts itself once it sees the context.
 *
 *	interpose.c		whose call is it, is it the one to fail, what is alive
 *	interpose_libc.c	memory, descriptors, threads
 *	interpose_verbs.c	verbs
 *	interpose_cm.c		the connection manager
 *
 * Who made a call is told by its return address. Any thread.
 */
#ifndef RMEM_TESTS_FAULT_INTERPOSE_H
#define RMEM_TESTS_FAULT_INTERPOSE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "tests/fault/plan.h"

struct ibv_context;
struct ibv_qp;

#define EXPORT __attribute__((visibility("default")))

/* The place a call of an interposed function comes from. To be used in that function itself. */
struct origin {
	void *address; /* of the return */
	void **frame;  /* the interposed function's own */
};
#define ORIGIN ((struct origin){ __builtin_return_address(0), (void **)__builtin_frame_address(0) })

/* The next definition of a function: the real one. Never NULL. */
void *fault_real(_Atomic(void *) *cache, const char *name);

#define REAL(function) \
	({ \
		static _Atomic(void *) cache; \
		(__typeof__(&(function)))fault_real(&cache, #function); \
	})

bool fault_is_ours(struct origin origin);

/* Count a call; must this one fail? False for calls that are not ours. */
EXPORT bool fault_hit(enum fault_kind kind, struct origin origin);

/* The same for a call that ends an object: it fails for ever if the plan says that the fault sticks. */
bool fault_hit_object(enum fault_kind kind, struct origin origin, const void *object);

/* Something was created, or destroyed. NULL is neither. What was not ours when created is ignored. */
void fault_created(enum fault_object object, const void *key, struct origin origin);
void fault_destroyed(enum fault_object object, const void *key);

void fault_unacknowledged(int n);

/* How most calls fail. */
static inline int fault_refuse(int error)
{
	errno = error;
	return -1;
}

/*
 * What most interposed functions do, in the function itself because of ORIGIN. What they are given is evaluated
 * only if it comes to that: the call if it is not the one to fail, the key when there is an object.
 *
 *	CALL	makes a call, or is what it returns when it fails
 *	MAKE	the same for one that returns a pointer to what it has made, or NULL and errno
 *	MAKE_AT	the same for one that returns 0 when it has made something, known by a key
 *	END	the same for one that returns 0 when it has ended the object of that key
 */
#define CALL(kind, failed, call) (fault_hit(FAULT_##kind, ORIGIN) ? (failed) : (call))

#define MAKE(kind, error, object, call) \
	({ \
		__typeof__(call) made = NULL; \
\
		if (fault_hit(FAULT_##kind, ORIGIN)) \
			errno = (error); \
		else \
			made = (call); \
		fault_created(FAULT_OBJECT_##object, made, ORIGIN); \
		made; \
	})

#define MAKE_AT(kind, failed, object, key, call) \
	({ \
		int made = fault_hit(FAULT_##kind, ORIGIN) ? (failed) : (call); \
\
		if (made == 0) \
			fault_created(FAULT_OBJECT_##object, key, ORIGIN); \
		made; \
	})

#define END(kind, failed, object, key, call) \
	({ \
		int ended = fault_hit_object(FAULT_##kind, ORIGIN, key) ? (failed) : (call); \
\
		if (ended == 0) \
			fault_destroyed(FAULT_OBJECT_##object, key); \
		ended; \
	})

/* Stand in the context's table of calls. */
void fault_hook(struct ibv_context *ctx);

/* Queue pairs by number: a completion names no more. */
void fault_remember(struct ibv_qp *qp);
void fault_forget(struct ibv_qp *qp);

#endif
