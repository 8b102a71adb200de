/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that need the server, open and close: arguments in, the session's work, an errno and a sentence out. */
#include "rmem/rmem.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/call.h"
#include "client/mark.h"
#include "client/queue.h"
#include "client/request.h"
#include "client/site.h"
#include "common/addr.h"
#include "common/clock.h"
#include "common/identity.h"
#include "common/log.h"

#define TIMEOUT_DEFAULT_MS 3000
#define CHANNELS_DEFAULT 8
#define CHANNELS_MAX 32 /* and as many for queues: what a server gives one session */
#define NAMES_LIMIT_NS (3 * NSEC_PER_SEC) /* that rmem_close() waits for call sites' names */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare_once(void)
{
	const char *level = secure_getenv("RMEM_LOG");
	enum log_level threshold;

	/* Another way to make a child leaves it the sign: then rmemd goes by other evidence. */
	pthread_atfork(NULL, NULL, marks_forked);
	if (level && log_parse_level(level, &threshold) == 0)
		log_init("librmem", threshold);
}

static uint64_t deadline_of(const struct rmem *rm)
{
	return clock_boot_ns() + rm->session.timeout_ns;
}

static int configure(
	struct rmem *rm, const char *server, const struct rmem_open_attr *attr, struct why *why)
{
	struct session *s = &rm->session;
	int rc, timeout_ms = TIMEOUT_DEFAULT_MS, channels = CHANNELS_DEFAULT;

	if (attr) {
		rc = call_check_attr(attr, attr->size, sizeof(*attr), why);
		if (rc)
			return rc;
		if (attr->timeout_ms < 0)
			return why_set(why, -EINVAL, "timeout_ms is negative");
		if (attr->timeout_ms)
			timeout_ms = attr->timeout_ms;
		if (attr->channels < 0 || attr->channels > CHANNELS_MAX)
			return why_set(why, -EINVAL, "%d channels: 1 to %d can be had, 0 means %d",
				attr->channels, CHANNELS_MAX, CHANNELS_DEFAULT);
		if (attr->channels)
			channels = attr->channels;
	}
	seats_init(&rm->seats, s, (unsigned)channels);
	s->timeout_ns = (uint64_t)timeout_ms * NSEC_PER_MSEC;
	if (server && !*server)
		return why_set(why, -EINVAL,
			"the server's name is empty: NULL means $RMEM_SERVER, else this machine");
	rc = target_parse(server ? server : secure_getenv("RMEM_SERVER"), &s->target, why);
	if (rc)
		return rc;
	if (attr && attr->device) {
		s->device = strdup(attr->device);
		if (!s->device)
			return why_set(why, -ENOMEM, "out of memory");
	}
	identity_self(&s->identity, attr ? attr->job : NULL);
	mark_show(&s->mark);
	s->identity.mark = s->mark.number;
	s->identity.mark_place = s->mark.place;
	return 0;
}

/* Say goodbye, if the server knows us. */
static int say_goodbye(struct rmem *rm, uint64_t deadline_ns, struct why *why)
{
	struct session *s = &rm->session;
	struct wire reply;
	int rc;

	if (!s->resumable)
		return 0;
	rc = session_lock(s, deadline_ns, why);
	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, why);
	if (rc == 0) {
		request_begin(s);
		rc = request_call(s, MESSAGE_BYE, deadline_ns, &reply, why);
	}
	session_unlock(s);
	/* The server knows no such session: most likely it ended it, and only the answer was lost. */
	return rc == -ESTALE ? 0 : rc;
}

/*
 * Until the deadline: half of the time for operations that are outstanding, half of what is left for names, so that
 * there is time for the goodbye.
 */
static int teardown(struct rmem *rm, uint64_t deadline, struct why *why)
{
	uint64_t now = clock_boot_ns(), one = 1, names;
	struct session *s = &rm->session;
	int rc;

	atomic_store(&s->closing_ns, deadline);
	queues_destroy(rm, deadline > now ? now + (deadline - now) / 2 : now);
	now = clock_boot_ns();
	names = deadline > now ? (deadline - now) / 2 : 0;
	namer_stop(&rm->namer, now + (names < NAMES_LIMIT_NS ? names : NAMES_LIMIT_NS));
	if (write(s->cancel_fd, &one, sizeof(one)) < 0)
		log_debug("eventfd: %s", why_errno(errno));
	keeper_stop(&rm->keeper);
	/* From here on we are alone, and may wait for the server again. */
	while (read(s->cancel_fd, &one, sizeof(one)) > 0)
		;
	rc = say_goodbye(rm, deadline, why);
	seats_destroy(&rm->seats);
	session_destroy(s);
	pthread_mutex_destroy(&rm->queues_lock);
	sites_destroy(rm->sites);
	free(rm);
	return rc;
}

RMEM_API int rmem_open(const char *server, const struct rmem_open_attr *attr, struct rmem **out)
{
	uint64_t deadline = clock_boot_ns();
	struct why why = { "" };
	struct rmem *rm = NULL;
	int rc;

	pthread_once(&once, prepare_once);
	stack_prepare();
	if (!out)
		return call_done(why_set(&why, -EINVAL, "out is NULL"), "rmem_open", &why);
	rc = call_check_fork(&why);
	if (rc)
		return call_done(rc, "rmem_open", &why);
	rm = calloc(1, sizeof(*rm));
	if (rm)
		rm->sites = sites_create();
	if (!rm || !rm->sites) {
		free(rm);
		return call_done(-ENOMEM, "rmem_open", &why);
	}
	pthread_mutex_init(&rm->queues_lock, NULL);
	rc = session_init(&rm->session, &why);
	if (rc == 0)
		rc = configure(rm, server, attr, &why);
	deadline += rm->session.timeout_ns;
	if (rc == 0)
		rc = session_connect(&rm->session, deadline, &why);
	if (rc == 0)
		rc = keeper_start(&rm->keeper, &rm->session, &why);
	if (rc == 0)
		rc = namer_start(&rm->namer, &rm->session, &why);
	if (rc) {
		struct why ignored = { "" };

		teardown(rm, deadline, &ignored);
		return call_done(rc, "rmem_open", &why);
	}
	*out = rm;
	return 0;
}

RMEM_API int rmem_close(struct rmem *rm)
{
	struct why why = { "" };

	if (!rm)
		return 0;
	if (!call_is_ours(rm)) {
		queues_abandon(rm);
		seats_abandon(&rm->seats);
		session_abandon(&rm->session);
		sites_destroy(rm->sites);
		free(rm);
		return 0;
	}
	return call_done(teardown(rm, deadline_of(rm), &why), "rmem_close", &why);
}

/* What rmem_alloc() is asked for, and where. */
struct wish {
	size_t bytes;
	int node;
	struct stack stack;
	struct site_description *description; /* of the stack, if the server may not know it yet */
};

/*
 * With control: the server's number for a stack; 0 if there is none to be had. UNDESCRIBED: it is to be
 * described first, without a lock.
 */
#define UNDESCRIBED 1
static int number_site(
	struct rmem *rm, struct wish *wish, uint64_t deadline_ns, struct site *out, struct why *why)
{
	struct session *s = &rm->session;
	struct site_reply reply = { 0 };
	struct wire in;
	int rc;

	if (rm->sites_serial != s->serial)
		sites_clear(rm->sites);
	rm->sites_serial = s->serial;
	*out = (struct site){ 0 };
	if (sites_find(rm->sites, &wish->stack, out))
		return 0;
	if (!wish->description)
		return UNDESCRIBED;
	out->code = sites_code(rm->sites, wish->description);
	site_request_put(request_begin(s), &wish->description->request);
	rc = request_call(s, MESSAGE_SITE, deadline_ns, &in, why);
	if (rc == 0) {
		site_reply_get(&in, &reply);
		if (wire_finish(&in) == 0)
			out->number = reply.site;
	}
	/* Names that another process, or an earlier session, has given are not looked up again. */
	if (rc == 0 && sites_add(rm->sites, &wish->stack, *out) && out->number && !reply.named) {
		namer_add(&rm->namer, wish->description, out->number, s->serial);
		wish->description = NULL;
	}
	/* A server that will not number it can still allocate. */
	return rc == -ETIMEDOUT || rc == -ECONNRESET || rc == -ESTALE || rc == -ENOMEM ? rc : 0;
}

/* With control: one ALLOC. What was lost and not freed yet keeps its addresses. */
static int ask_for_memory(struct session *s, struct alloc_request *request, uint64_t deadline_ns,
	struct alloc_reply *out, struct why *why)
{
	struct wire in;
	int rc;

	pthread_mutex_lock(&s->table);
	request->navoid = (uint8_t)allocations_reserved(&s->allocations, request->avoid);
	pthread_mutex_unlock(&s->table);
	alloc_request_put(request_begin(s), request);
	rc = request_call(s, MESSAGE_ALLOC, deadline_ns, &in, why);
	if (rc == -ENOSPC && request->navoid) {
		const struct why refusal = *why;

		why_fill(why,
			"%.350s; addresses of allocations that this program has lost, and not yet "
			"given up, are not used: rmem_free() each (it says -ESTALE)",
			refusal.text);
	}
	if (rc)
		return rc;
	alloc_reply_get(&in, out);
	if (wire_finish(&in) || out->bytes != request->bytes || !addr_is_remote(out->addr))
		return why_set(why, -EPROTO, "rmemd sent a malformed answer to an allocation");
	return 0;
}

static bool was_to_be_avoided(const struct alloc_request *request, const struct alloc_reply *lent)
{
	for (unsigned i = 0; i < request->navoid; i++)
		if (request->avoid[i].start < lent->addr + lent->bytes &&
			lent->addr < request->avoid[i].end)
			return true;
	return false;
}

/*
 * With control: take over what the server has lent. Its key comes at the first touch. -EEXIST: the owner of what is
 * attached there has freed it, and this is how we hear of it, or another thread while we were asking: the next
 * request says that its addresses are to be avoided.
 */
static int accept_allocation(struct session *s, const struct alloc_request *request,
	const struct alloc_reply *lent, struct origin origin, struct why *why)
{
	int rc;

	if (was_to_be_avoided(request, lent))
		return why_set(why, -EPROTO, "rmemd lent memory that it was asked to avoid");
	pthread_mutex_lock(&s->table);
	rc = allocations_add(&s->allocations, lent->addr, lent->bytes, lent->serial, origin);
	if (rc == -EEXIST && allocations_displace(&s->allocations, lent->addr, lent->bytes))
		session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
	if (rc == 0 || rc == -EEXIST)
		return rc;
	return why_set(why, -EPROTO, "rmemd lent memory that cannot be");
}

static int give_back(
	struct session *s, const struct alloc_reply *lent, uint64_t deadline_ns, struct why *why)
{
	const struct free_request request = { .addr = lent->addr, .serial = lent->serial };
	struct wire in;

	free_request_put(request_begin(s), &request);
	return request_call(s, MESSAGE_FREE, deadline_ns, &in, why);
}

static int alloc_locked(
	struct rmem *rm, struct wish *wish, uint64_t deadline_ns, rmem_addr_t *out, struct why *why)
{
	struct session *s = &rm->session;
	struct alloc_request request = { .bytes = wish->bytes, .node = wish->node };
	struct alloc_reply lent;
	struct site site;
	int rc;

	/* First, so that no grant can be lost for lack of memory here. */
	pthread_mutex_lock(&s->table);
	rc = allocations_reserve(&s->allocations);
	pthread_mutex_unlock(&s->table);
	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, why);
	if (rc == 0)
		rc = number_site(rm, wish, deadline_ns, &site, why);
	if (rc)
		return rc;
	request.site = site.number;
	/* Each round but the last adds a range to those that are avoided: it ends. */
	while ((rc = ask_for_memory(s, &request, deadline_ns, &lent, why)) == 0) {
		rc = accept_allocation(
			s, &request, &lent, (struct origin){ site.number, site.code }, why);
		if (rc != -EEXIST)
			break;
		rc = give_back(s, &lent, deadline_ns, why);
		if (rc)
			break;
	}
	if (rc == 0)
		*out = lent.addr;
	return rc;
}

static int alloc_once(
	struct rmem *rm, struct wish *wish, uint64_t deadline_ns, rmem_addr_t *out, struct why *why)
{
	uint64_t serial;
	int rc = session_lock(&rm->session, deadline_ns, why);

	if (rc)
		return rc;
	serial = rm->session.serial;
	rc = alloc_locked(rm, wish, deadline_ns, out, why);
	/* What was lost with the old session does not matter to a new allocation. */
	if (rc == -ESTALE && rm->session.serial != serial)
		rc = alloc_locked(rm, wish, deadline_ns, out, why);
	session_unlock(&rm->session);
	return rc;
}

/* The loader is asked while no lock of ours is held: a thread that has its lock may be waiting for ours. */
static int alloc_described(
	struct rmem *rm, struct wish *wish, uint64_t deadline_ns, rmem_addr_t *out, struct why *why)
{
	int rc = alloc_once(rm, wish, deadline_ns, out, why);

	while (rc == UNDESCRIBED) {
		wish->description = site_describe(&wish->stack);
		rc = wish->description ? alloc_once(rm, wish, deadline_ns, out, why) : -ENOMEM;
		site_description_destroy(wish->description);
		wish->description = NULL;
	}
	return rc;
}

RMEM_API __attribute__((noinline)) int rmem_alloc(
	struct rmem *rm, size_t bytes, const struct rmem_alloc_attr *attr, rmem_addr_t *out)
{
	struct wish wish = { .bytes = bytes, .node = attr ? attr->node : RMEM_NODE_ANY };
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc == 0 && attr)
		rc = call_check_attr(attr, attr->size, sizeof(*attr), &why);
	if (rc == 0 && !out)
		rc = why_set(&why, -EINVAL, "out is NULL");
	if (rc == 0 && bytes == 0)
		rc = why_set(&why, -EINVAL, "an allocation of 0 bytes: ask for at least 1");
	if (rc == 0 && wish.node < RMEM_NODE_ANY)
		rc = why_set(&why, -EINVAL, "there is no NUMA node %d", wish.node);
	if (rc)
		return call_done(rc, "rmem_alloc", &why);
	stack_capture(&wish.stack, __builtin_return_address(0));
	rc = alloc_described(rm, &wish, deadline_of(rm), out, &why);
	return call_done(rc, "rmem_alloc", &why);
}

/* Is addr something that can be freed? *request names it. 1: nothing is left to do. */
static int check_free(
	struct session *s, rmem_addr_t addr, struct free_request *request, struct why *why)
{
	struct own *own;
	int rc = 0;

	pthread_mutex_lock(&s->table);
	own = allocations_find(&s->allocations, addr);
	if (own)
		*request = (struct free_request){ .addr = addr, .serial = own->id };
	if (!own && allocations_find_range(&s->allocations, addr, 1)) {
		rc = why_set(why, -EINVAL,
			"0x%" PRIx64 " is inside the allocation at 0x%" PRIx64
			", not its beginning",
			addr, allocations_find_range(&s->allocations, addr, 1)->addr);
	} else if (!own) {
		rc = why_set(why, -EINVAL, "0x%" PRIx64 " was freed already or was never allocated",
			addr);
	} else if (own->attached) {
		rc = why_set(why, -EINVAL,
			"0x%" PRIx64 " belongs to another session that shares it: rmem_detach() "
			"ends that, rmem_free() is for its owner",
			addr);
	} else if (own->state == OWN_STALE) {
		allocations_remove(&s->allocations, own);
		rc = why_set(why, -ESTALE,
			"the allocation at 0x%" PRIx64
			" was gone already: the lease had ended and the "
			"server has reclaimed it",
			addr);
	} else if (own->state == OWN_FREED) {
		allocations_remove(&s->allocations, own);
		rc = 1;
	}
	pthread_mutex_unlock(&s->table);
	return rc;
}

/* From here on it is not used, whatever becomes of the request; over: it is not kept for a repetition either. */
static void mark_freed(struct session *s, const struct free_request *request, bool over)
{
	struct own *own;

	pthread_mutex_lock(&s->table);
	own = allocations_find(&s->allocations, request->addr);
	if (own && own->id == request->serial && over)
		allocations_remove(&s->allocations, own);
	else if (own && own->id == request->serial)
		allocations_set_state(&s->allocations, own, OWN_FREEING);
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
}

static int free_locked(struct session *s, rmem_addr_t addr, uint64_t deadline_ns, struct why *why)
{
	struct free_request request;
	struct wire in;
	int rc;

	rc = check_free(s, addr, &request, why);
	if (rc == 0)
		rc = request_ready(s, deadline_ns, why);
	else
		return rc;
	/* Coming back may have shown that it is gone, or that an earlier try had worked. */
	if (rc == 0)
		rc = check_free(s, addr, &request, why);
	if (rc)
		return rc;
	mark_freed(s, &request, false);
	free_request_put(request_begin(s), &request);
	rc = request_call(s, MESSAGE_FREE, deadline_ns, &in, why);
	/* We know that it was ours: a server that does not has reclaimed it. */
	if (rc == -EINVAL || rc == -ENOENT)
		rc = -ESTALE;
	if (rc == 0 || rc == -ESTALE || rc == -EIO)
		mark_freed(s, &request, true);
	return rc;
}

RMEM_API int rmem_free(struct rmem *rm, rmem_addr_t addr)
{
	uint64_t deadline;
	struct why why;
	int rc;

	rc = call_enter(rm, &why);
	if (rc || addr == 0)
		return call_done(rc, "rmem_free", &why);
	deadline = deadline_of(rm);
	rc = session_lock(&rm->session, deadline, &why);
	if (rc)
		return call_done(rc, "rmem_free", &why);
	rc = free_locked(&rm->session, addr, deadline, &why);
	session_unlock(&rm->session);
	return call_done(rc > 0 ? 0 : rc, "rmem_free", &why);
}

RMEM_API const char *rmem_errmsg(void)
{
	return call_errmsg();
}

RMEM_API const char *rmem_version(void)
{
	return RMEM_VERSION;
}
