/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a test and the interposer (interpose.h) in the process under test share: one struct in a file that both
 * map. The test says which call is to fail; the interposer counts the calls, fails that one, and
 * tells where it was made and what the process has created and not destroyed.
 *
 * Only calls that our own code makes count (librmem's, or rmemd's): what libibverbs or libc call for
 * themselves does not.
 *
 * The test writes the plan (fault_plan_arm), any thread of the process writes the rest.
 */
#ifndef RMEM_TESTS_FAULT_PLAN_H
#define RMEM_TESTS_FAULT_PLAN_H

#include <stdatomic.h>
#include <stdint.h>

#define FAULT_FILE "RMEM_FAULT_FILE" /* environment: the file to map */
#define FAULT_OWNER \
	"RMEM_FAULT_OWNER" /* environment: the shared object whose calls count; "": the program */

#define FAULT_POINTS 8192 /* calls of a kind whose place is remembered */
#define FAULT_TARGETS 256
#define FAULT_TEXT 3072

/*
 * The calls that can fail, each a kind of fault. The three groups are judged differently: those that
 * make or use something; those that end something (a failure leaves it where it is, so a leak is no
 * surprise); and those that are more than one call's return value:
 *	post_send_part	a list of requests of which the device takes the first half
 *	qp_error	the queue pair fails by itself just before a post
 *	completion	a request that was carried out completes with an error, and its queue pair fails
 *	cm_event	the connection manager reports that a step has failed
 *	cm_refused	nobody listens any more, or not yet, where a connection is asked for
 */
#define FAULT_KINDS_OF(MAKES, ENDS, MORE) \
	MAKES(malloc) \
	MAKES(calloc) \
	MAKES(realloc) \
	MAKES(aligned_alloc) \
	MAKES(posix_memalign) \
	MAKES(strdup) \
	MAKES(heap_alloc) \
	MAKES(heap_grow) \
	MAKES(mmap) \
	MAKES(eventfd) \
	MAKES(epoll_create1) \
	MAKES(epoll_ctl) \
	MAKES(fcntl) \
	MAKES(poll) \
	MAKES(getrandom) \
	MAKES(getifaddrs) \
	MAKES(getaddrinfo) \
	MAKES(pthread_create) \
	MAKES(ibv_get_device_list) \
	MAKES(ibv_query_device) \
	MAKES(ibv_query_port) \
	MAKES(ibv_query_gid) \
	MAKES(ibv_alloc_pd) \
	MAKES(ibv_reg_mr) \
	MAKES(ibv_create_comp_channel) \
	MAKES(ibv_create_cq) \
	MAKES(ibv_req_notify_cq) \
	MAKES(ibv_get_cq_event) \
	MAKES(ibv_poll_cq) \
	MAKES(ibv_create_qp) \
	MAKES(ibv_modify_qp) \
	MAKES(ibv_post_send) \
	MAKES(ibv_post_recv) \
	MAKES(ibv_alloc_mw) \
	MAKES(rdma_create_event_channel) \
	MAKES(rdma_create_id) \
	MAKES(rdma_get_devices) \
	MAKES(rdma_bind_addr) \
	MAKES(rdma_listen) \
	MAKES(rdma_resolve_addr) \
	MAKES(rdma_resolve_route) \
	MAKES(rdma_create_qp) \
	MAKES(rdma_set_option) \
	MAKES(rdma_connect) \
	MAKES(rdma_accept) \
	MAKES(rdma_reject) \
	MAKES(rdma_get_cm_event) \
	ENDS(rdma_disconnect) \
	ENDS(rdma_destroy_id) \
	ENDS(ibv_destroy_qp) \
	ENDS(ibv_destroy_cq) \
	ENDS(ibv_destroy_comp_channel) \
	ENDS(ibv_dealloc_mw) \
	ENDS(ibv_dereg_mr) \
	ENDS(ibv_dealloc_pd) \
	MORE(post_send_part) \
	MORE(qp_error) \
	MORE(completion) \
	MORE(cm_event) \
	MORE(cm_refused)

#define FAULT_ENUM(name) FAULT_##name,
enum fault_kind { FAULT_NONE, FAULT_KINDS_OF(FAULT_ENUM, FAULT_ENUM, FAULT_ENUM) FAULT_KINDS };

#define FAULT_NO_NAME(name)
#define FAULT_NAME(name) #name,
static const char *const fault_names[FAULT_KINDS] = { "none",
	FAULT_KINDS_OF(FAULT_NAME, FAULT_NAME, FAULT_NAME) };

#define FAULT_YES(name) 1,
#define FAULT_NO(name) 0,
static const char fault_ends[FAULT_KINDS] = { 0, FAULT_KINDS_OF(FAULT_NO, FAULT_YES, FAULT_NO) };

/* What is created and must be destroyed. */
#define FAULT_OBJECTS_OF(X) \
	X(heap) \
	X(mapping) \
	X(thread) \
	X(interfaces) \
	X(addresses) \
	X(devices) \
	X(domain) \
	X(region) \
	X(comp_channel) \
	X(cq) \
	X(qp) \
	X(window) \
	X(event_channel) \
	X(id) \
	X(cm_event)

#define FAULT_OBJECT_ENUM(name) FAULT_OBJECT_##name,
enum fault_object { FAULT_OBJECTS_OF(FAULT_OBJECT_ENUM) FAULT_OBJECTS };
static const char *const fault_object_names[FAULT_OBJECTS] = { FAULT_OBJECTS_OF(FAULT_NAME) };

struct fault_plan {
	_Atomic uint32_t kind; /* enum fault_kind to fail, FAULT_NONE: none */
	_Atomic uint64_t nth;  /* since it was armed, from 1; 0: the targets */
	uint32_t ntargets;     /* the first call from each of these places fails */
	uint32_t targets[FAULT_TARGETS];
	_Atomic uint32_t hit[FAULT_TARGETS]; /* it has */
	_Atomic uint32_t paused;             /* nothing is counted */
	_Atomic uint32_t depth;              /* a place is so many calls deep; 0: all */
	_Atomic uint32_t sticks;             /* the object of that call can never be ended */
	_Atomic uintptr_t stuck;             /* that object */
	_Atomic uint64_t base[FAULT_KINDS];  /* counts when it was armed */

	_Atomic uint64_t counts[FAULT_KINDS];
	_Atomic uint32_t points[FAULT_KINDS][FAULT_POINTS]; /* place of each call since */
	_Atomic uint32_t fired;                             /* so many calls failed */
	char where
		[FAULT_TEXT]; /* the stack of the last call that failed: "object+0xoffset", innermost first */

	_Atomic int64_t live[FAULT_OBJECTS]; /* created and not destroyed */
	_Atomic int64_t unacknowledged;      /* CQ events got and not acknowledged */
	char leaks[FAULT_TEXT];              /* at exit: what is left, and where it was created */

	char step
		[64]; /* what the process is doing: written by the program under test, if it does */
};

/* Count from now on, and fail the nth call of a kind from now, or with 0 the first from every target. */
static inline void fault_plan_arm(struct fault_plan *p, enum fault_kind kind, uint64_t nth)
{
	atomic_store(&p->kind, FAULT_NONE);
	for (int k = 0; k < FAULT_KINDS; k++)
		atomic_store(&p->base[k], atomic_load(&p->counts[k]));
	atomic_store(&p->fired, 0);
	p->where[0] = '\0';
	atomic_store(&p->nth, nth);
	atomic_store(&p->kind, kind);
}

static inline void fault_plan_disarm(struct fault_plan *p)
{
	atomic_store(&p->kind, FAULT_NONE);
}

#endif
