/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/memory.h"

#include <errno.h>
#include <inttypes.h>

#include "client/control/release.h"
#include "client/control/request.h"
#include "client/space/locals.h"
#include "common/addr.h"
#include "common/clock.h"

/* ---- allocating ---- */

/* With control: ask for the number of a stack that was described. A refusal is 0, and number 0. */
static int ask_for_number(struct rmem *rm, struct memory_wish *wish, uint64_t deadline_ns,
	struct site *out, struct errinfo *errinfo)
{
	struct session *s = &rm->session;
	struct site_reply reply = { 0 };
	int rc = control_call_locked(s,
		&(struct control_call){ .type = MESSAGE_SITE,
			.deadline_ns = deadline_ns,
			.encode = site_request_encode,
			.request = &wish->description->request,
			.decode = site_reply_decode,
			.reply = &reply },
		errinfo);

	if (rc == -ETIMEDOUT || rc == -ECONNRESET || rc == -ESTALE || rc == -ENOMEM)
		return rc;
	/* A server that will not number it can still allocate. */
	if (rc)
		sites_refused(rm->sites, clock_boot_ns());
	else
		out->number = reply.site;
	/* Names that another process, or an earlier session, has given are not looked up again. */
	if (sites_add(rm->sites, &wish->stack, *out) && out->number && !reply.named) {
		symbolizer_add(&rm->symbolizer, wish->description, out->number, s->serial);
		wish->description = NULL;
	}
	return 0;
}

/*
 * With control: the server's number for a stack; 0 if there is none to be had. UNDESCRIBED: it is to be
 * described first, without a lock.
 */
#define UNDESCRIBED 1
static int number_site(struct rmem *rm, struct memory_wish *wish, uint64_t deadline_ns,
	struct site *out, struct errinfo *errinfo)
{
	struct session *s = &rm->session;
	uint64_t now = clock_boot_ns();

	if (rm->sites_serial != s->serial)
		sites_clear(rm->sites);
	rm->sites_serial = s->serial;
	*out = (struct site){ 0 };
	if (sites_find(rm->sites, &wish->stack, now, out))
		return 0;
	if (!wish->description)
		return UNDESCRIBED;
	out->code = sites_code(rm->sites, wish->description);
	if (sites_may_ask(rm->sites, now))
		return ask_for_number(rm, wish, deadline_ns, out, errinfo);
	(void)sites_add(rm->sites, &wish->stack, *out);
	return 0;
}

/* With control: one ALLOC. What was lost and not freed yet keeps its addresses. */
static int ask_for_memory(struct session *s, struct alloc_request *request, uint64_t deadline_ns,
	struct alloc_reply *out, struct errinfo *errinfo)
{
	int rc;

	pthread_mutex_lock(&s->table);
	request->navoid = (uint8_t)blocks_reserved(&s->blocks, request->avoid);
	pthread_mutex_unlock(&s->table);
	rc = control_call_locked(s,
		&(struct control_call){ .type = MESSAGE_ALLOC,
			.deadline_ns = deadline_ns,
			.encode = alloc_request_encode,
			.request = request,
			.decode = alloc_reply_decode,
			.reply = out },
		errinfo);
	if (rc == -ENOSPC && request->navoid) {
		const struct errinfo refusal = *errinfo;

		errinfo_fill(errinfo,
			"%.350s; addresses of allocations that this program has lost, and not yet "
			"given up, are not used: rmem_free() each (it says -ESTALE)",
			refusal.text);
	}
	if (rc == 0 && (out->bytes != request->bytes || !addr_is_remote(out->addr)))
		rc = errinfo_set(
			errinfo, -EPROTO, "rmemd sent a malformed answer to an allocation");
	return rc;
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
	const struct alloc_reply *lent, struct slab *slab, struct origin origin,
	struct errinfo *errinfo)
{
	int rc;

	if (was_to_be_avoided(request, lent))
		return errinfo_set(
			errinfo, -EPROTO, "rmemd lent memory that it was asked to avoid");
	if (slab)
		slab->addr = lent->addr;
	pthread_mutex_lock(&s->table);
	rc = blocks_add(&s->blocks, &(struct block){ .addr = lent->addr,
					    .bytes = lent->bytes,
					    .id = lent->serial,
					    .node = lent->node,
					    .born_ns = clock_boot_ns(),
					    .slab = slab,
					    .origin = origin });
	/* With the table, as when it is lost: that may be at once. */
	if (rc == 0 && slab)
		depot_add(&s->depot, slab);
	if (rc == -EEXIST)
		session_displace(s, lent->addr, lent->bytes);
	pthread_mutex_unlock(&s->table);
	if (rc == 0 || rc == -EEXIST)
		return rc;
	return errinfo_set(errinfo, -EPROTO, "rmemd lent memory that cannot be");
}

static int give_back(struct session *s, const struct alloc_reply *lent, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	const struct free_request request = { .addr = lent->addr, .serial = lent->serial };

	return release_call(s, &request, deadline_ns, errinfo);
}

static int alloc_locked(struct rmem *rm, struct memory_wish *wish, uint64_t deadline_ns,
	rmem_addr_t *out, struct errinfo *errinfo)
{
	struct session *s = &rm->session;
	struct alloc_request request = { .bytes = wish->bytes,
		.placement = wish->placement,
		.size_class = wish->slab ? wish->slab->size_class : 0 };
	struct alloc_reply lent;
	struct site site = { 0 };
	int rc;

	/* First, so that no grant can be lost for lack of memory here. */
	pthread_mutex_lock(&s->table);
	rc = blocks_reserve(&s->blocks);
	pthread_mutex_unlock(&s->table);
	if (rc)
		return rc;
	rc = request_ready(s, deadline_ns, errinfo);
	if (rc == 0 && !wish->slab)
		rc = number_site(rm, wish, deadline_ns, &site, errinfo);
	if (rc)
		return rc;
	request.site = site.number;
	/* Each round but the last adds a range to those that are avoided: it ends. */
	while ((rc = ask_for_memory(s, &request, deadline_ns, &lent, errinfo)) == 0) {
		rc = accept_allocation(s, &request, &lent, wish->slab,
			(struct origin){ site.number, site.code }, errinfo);
		if (rc != -EEXIST)
			break;
		rc = give_back(s, &lent, deadline_ns, errinfo);
		if (rc)
			break;
	}
	if (rc == 0)
		*out = lent.addr;
	return rc;
}

static int alloc_once(struct rmem *rm, struct memory_wish *wish, uint64_t deadline_ns,
	rmem_addr_t *out, struct errinfo *errinfo)
{
	uint64_t serial;
	int rc = session_lock(&rm->session, deadline_ns, errinfo);

	if (rc)
		return rc;
	serial = rm->session.serial;
	rc = alloc_locked(rm, wish, deadline_ns, out, errinfo);
	/* What was lost with the old session does not matter to a new allocation. */
	if (rc == -ESTALE && rm->session.serial != serial)
		rc = alloc_locked(rm, wish, deadline_ns, out, errinfo);
	session_unlock(&rm->session);
	return rc;
}

/* The loader is asked while no lock of ours is held: a thread that has its lock may be waiting for ours. */
int memory_alloc(struct rmem *rm, struct memory_wish *wish, uint64_t deadline_ns, rmem_addr_t *out,
	struct errinfo *errinfo)
{
	int rc = alloc_once(rm, wish, deadline_ns, out, errinfo);

	while (rc == UNDESCRIBED) {
		wish->description = site_describe(rm->session.heap, &wish->stack);
		rc = wish->description ? alloc_once(rm, wish, deadline_ns, out, errinfo) : -ENOMEM;
		site_description_destroy(wish->description);
		wish->description = NULL;
	}
	return rc;
}

static int site_once(struct rmem *rm, struct memory_wish *wish, uint64_t deadline_ns, uint32_t *out,
	struct errinfo *errinfo)
{
	struct site site;
	int rc = session_lock(&rm->session, deadline_ns, errinfo);

	if (rc)
		return rc;
	rc = request_ready(&rm->session, deadline_ns, errinfo);
	if (rc == 0)
		rc = number_site(rm, wish, deadline_ns, &site, errinfo);
	if (rc == 0)
		*out = site.number;
	session_unlock(&rm->session);
	return rc;
}

int memory_site(struct rmem *rm, const struct stack *stack, uint64_t deadline_ns, uint32_t *out,
	struct errinfo *errinfo)
{
	struct memory_wish wish = { .stack = *stack };
	int rc = site_once(rm, &wish, deadline_ns, out, errinfo);

	while (rc == UNDESCRIBED) {
		wish.description = site_describe(rm->session.heap, &wish.stack);
		rc = wish.description ? site_once(rm, &wish, deadline_ns, out, errinfo) : -ENOMEM;
		site_description_destroy(wish.description);
		wish.description = NULL;
	}
	return rc;
}

void memory_stack_here(struct stack *out, void *caller)
{
	const struct locals *l = locals_get();

	if (l && l->stack)
		*out = *l->stack;
	else
		stack_capture(out, caller);
}

uint32_t memory_site_here(struct rmem *rm, void *caller, uint64_t deadline_ns)
{
	struct errinfo ignored;
	struct stack stack;
	uint32_t site = 0;

	if (rm->channels.no_sites)
		return 0;
	memory_stack_here(&stack, caller);
	(void)memory_site(rm, &stack, deadline_ns, &site, &ignored);
	return site;
}

bool memory_known_site(struct rmem *rm, const struct stack *stack, uint32_t *out)
{
	struct session *s = &rm->session;
	struct site site;
	bool known;

	if (!fair_lock_try(&s->control))
		return false;
	known = rm->sites_serial == s->serial &&
		sites_find(rm->sites, stack, clock_boot_ns(), &site);
	session_unlock(s);
	if (known)
		*out = site.number;
	return known;
}
