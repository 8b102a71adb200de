/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/kept.h"

#include <errno.h>
#include <inttypes.h>

#include "client/control/request.h"
#include "client/slabs/shadow.h"
#include "client/space/exact.h"
#include "client/space/memory.h"
#include "client/space/objects.h"
#include "client/space/told.h"

#define RECORDS_READ 512U /* at once */
#define REVISIONS_MAX 3   /* that one call asks for */

/* ---- requests ---- */

struct revision {
	struct revise_request request;
	const struct slab *slab;
};

static int explain_lost(rmem_addr_t addr, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -ESTALE,
		"the allocation at 0x%" PRIx64
		" is gone: the lease had ended and the server has reclaimed it",
		addr);
}

/* With the table: the serial number of the slab, if it still is this one; else 0. */
static uint64_t serial_of(struct session *s, const struct slab *slab)
{
	const struct block *block = blocks_find(&s->blocks, slab->addr);

	return block && block->slab == slab && block->state == BLOCK_LIVE ? block->id : 0;
}

static int name_revision(struct session *s, void *arg, struct errinfo *errinfo)
{
	struct revision *r = arg;

	pthread_mutex_lock(&s->table);
	r->request.serial = serial_of(s, r->slab);
	pthread_mutex_unlock(&s->table);
	return r->request.serial ? 0 : explain_lost(r->request.addr, errinfo);
}

static int revise(struct rmem *rm, struct revision *r, uint64_t deadline_ns,
	struct revise_reply *out, struct errinfo *errinfo)
{
	return control_call(&rm->session,
		&(struct control_call){ .type = MESSAGE_REVISE,
			.deadline_ns = deadline_ns,
			.encode = revise_request_encode,
			.request = &r->request,
			.decode = revise_reply_decode,
			.reply = out,
			.check = name_revision,
			.arg = r },
		errinfo);
}

static uint64_t freed_record(uint64_t record)
{
	return object_record_with_state(record, OBJECT_FREED);
}

typedef uint64_t after_fn(uint64_t record);

/*
 * The record becomes what after makes of it, from *record on, which is what it is here. 0: that, or out->record is TAKEN; it
 * is in *record. An earlier try, which was given up, may have changed it: then it is taken up from there.
 */
static int change(struct rmem *rm, struct revision *r, after_fn *after, uint64_t *record,
	uint64_t deadline_ns, struct revise_reply *out, struct errinfo *errinfo)
{
	for (unsigned i = 0; i < REVISIONS_MAX; i++) {
		int rc;

		r->request.before = *record;
		r->request.after = after(*record);
		rc = revise(rm, r, deadline_ns, out, errinfo);
		if (rc)
			return rc;
		*record = out->record;
		if (out->record == r->request.after ||
			object_record_state(out->record) == OBJECT_TAKEN)
			return 0;
		if (object_record_state(out->record) != OBJECT_LIVE)
			break;
	}
	return errinfo_set(
		errinfo, -EINVAL, "0x%" PRIx64 " is being freed by this session", r->request.addr);
}

/* ---- the beginning ---- */

/* With the table: shared still, and live. */
static bool can_keep(const struct slab *slab, uint32_t slot)
{
	return !slab_is_lost(slab) && slab_has(slab, slot, SLAB_SHARED) &&
	       object_record_state(slab_record(slab, slot)) == OBJECT_LIVE;
}

int kept_begin(struct rmem *rm, struct slab *slab, uint32_t slot, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	struct session *s = &rm->session;
	bool live;
	int rc;

	pthread_mutex_lock(&s->table);
	live = can_keep(slab, slot);
	if (live)
		depot_set_kept(&s->depot, slab, slot, true);
	pthread_mutex_unlock(&s->table);
	if (!live)
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " was freed, or its keys revoked, meanwhile",
			slab_slot_addr(slab, slot));
	/* Also if it is kept already: the wait of an earlier call may have failed, or not be over. */
	rc = slab_thread_sync(&rm->slab_thread, deadline_ns, errinfo);
	return rc ? rc : exact_await_operations(s, deadline_ns, errinfo);
}

/* ---- the end ---- */

/* The object has ended with this record, and no other session reaches it: its slot is this session's alone. */
static void settle(struct session *s, struct slab *slab, uint32_t slot, uint64_t record)
{
	pthread_mutex_lock(&s->table);
	/* Never TAKEN and kept: that is for the slab thread. */
	atomic_store(&slab->records[slot], freed_record(record));
	depot_set_kept(&s->depot, slab, slot, false);
	atomic_store(&slab->records[slot], record);
	(void)slab_set_shared(slab, s->heap, slot, false);
	pthread_mutex_unlock(&s->table);
}

/*
 * The free was not decided: the object is as it was. If the slab was lost meanwhile, it is freed: marking a slab lost, and
 * counting what is live of it then, has the table too.
 */
static int take_back(
	struct rmem *rm, struct slab *slab, uint32_t slot, int rc, struct errinfo *errinfo)
{
	const rmem_addr_t addr = slab_slot_addr(slab, slot);
	bool lost;

	pthread_mutex_lock(&rm->session.table);
	lost = slab_is_lost(slab);
	if (!lost)
		atomic_store(&slab->records[slot],
			object_record_with_state(slab_record(slab, slot), OBJECT_LIVE));
	pthread_mutex_unlock(&rm->session.table);
	if (!lost)
		return rc;
	objects_freed_late(rm, slab);
	/* Last: from here on it may become another slab. */
	objects_put_back(rm, slab_item_make(slab, slot));
	return explain_lost(addr, errinfo);
}

static int say_taken(
	rmem_addr_t addr, const struct revise_reply *reply, int rc, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, rc, "0x%" PRIx64 " was freed already: %s", addr,
		reply->told[0] ? reply->told : "by a session that is not remembered");
}

int kept_free(struct rmem *rm, struct slab *slab, rmem_addr_t addr, void *caller,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct revision r = { .request = { .addr = addr,
				      .site = memory_site_here(rm, caller, deadline_ns) },
		.slab = slab };
	struct revise_reply reply;
	uint64_t record;
	uint32_t slot;
	int rc;

	if (!slab_end_object(slab, addr, &slot)) {
		rc = errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " was freed already, or is not the beginning of an allocation",
			addr);
		return kept_explain(rm, slab, addr, rc, deadline_ns, errinfo);
	}
	record = object_record_with_state(slab_record(slab, slot), OBJECT_LIVE);
	rc = change(rm, &r, freed_record, &record, deadline_ns, &reply, errinfo);
	if (rc)
		return take_back(rm, slab, slot, rc, errinfo);
	settle(&rm->session, slab, slot, record);
	objects_retire(rm, slab, slot, caller);
	return object_record_state(record) == OBJECT_TAKEN
		       ? say_taken(addr, &reply, -EALREADY, errinfo)
		       : 0;
}

int kept_revoke(struct rmem *rm, struct slab *slab, rmem_addr_t addr,
	const struct sharing_call *call, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct revision r = { .request = { .addr = addr }, .slab = slab };
	struct session *s = &rm->session;
	struct revise_reply reply;
	uint64_t here, record;
	uint32_t slot;
	int rc;

	if (!slab_holds(slab, addr, 1, &slot))
		return explain_lost(addr, errinfo);
	here = record = slab_record(slab, slot);
	rc = change(rm, &r, slab_renewed_record, &record, deadline_ns, &reply, errinfo);
	if (rc)
		return rc;
	if (object_record_state(record) == OBJECT_TAKEN) {
		/* This object, and not one that another thread has in its slot by now. */
		if (atomic_compare_exchange_strong(
			    &slab->records[slot], &here, freed_record(here))) {
			settle(s, slab, slot, record);
			objects_retire(rm, slab, slot, NULL);
		}
		return say_taken(addr, &reply, -ESTALE, errinfo);
	}
	/* First the record: the one before must not be written any more, its keys would be good again. */
	pthread_mutex_lock(&s->table);
	if (atomic_compare_exchange_strong(&slab->records[slot], &here, record) &&
		!call->overlapped) {
		(void)slab_set_shared(slab, s->heap, slot, false);
		depot_set_kept(&s->depot, slab, slot, false);
	}
	/* Whatever is there by now. */
	depot_touch(&s->depot, slab, slot);
	pthread_mutex_unlock(&s->table);
	return 0;
}

/* ---- what is known of it ---- */

bool kept_is_explained(const struct slab *slab, rmem_addr_t addr)
{
	const uint32_t slot = slab_slot_at(slab, addr - slab->addr);

	return slot < slab->slots && slab_slot_addr(slab, slot) == addr &&
	       slab_has(slab, slot, SLAB_EVER) &&
	       object_record_state(slab_record(slab, slot)) != OBJECT_LIVE;
}

int kept_explain(struct rmem *rm, const struct slab *slab, rmem_addr_t addr, int rc,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct tell_reply reply;

	if (!kept_is_explained(slab, addr) || !told_ask(rm, addr, deadline_ns, &reply) ||
		!reply.freed[0])
		return rc;
	return errinfo_set(errinfo, rc, "0x%" PRIx64 " was freed already: %.200s; %.200s", addr,
		reply.freed, reply.allocated);
}

/* ---- what others have freed ---- */

static int name_unshare(struct session *s, void *arg, struct errinfo *errinfo)
{
	struct unshare_request *request = arg;
	const struct slab *slab = blocks_slab(&s->blocks, request->addr);

	pthread_mutex_lock(&s->table);
	request->serial = slab ? serial_of(s, slab) : 0;
	pthread_mutex_unlock(&s->table);
	return request->serial ? 0 : explain_lost(request->addr, errinfo);
}

/* Others may still be on their way to it: their access has to end before the slot is used again. */
static int collect(struct rmem *rm, struct slab *slab, uint32_t slot, uint64_t deadline_ns,
	struct errinfo *errinfo)
{
	struct unshare_request request = { .addr = slab_slot_addr(slab, slot) };
	const slab_item item = slab_item_make(slab, slot);
	struct session *s = &rm->session;
	int rc = control_call(s,
		&(struct control_call){ .type = MESSAGE_UNSHARE,
			.deadline_ns = deadline_ns,
			.encode = unshare_request_encode,
			.request = &request,
			.check = name_unshare,
			.arg = &request },
		errinfo);

	if (slab_is_lost(slab)) {
		objects_freed_late(rm, slab);
		/* Last: from here on it may become another slab. */
		objects_put_back(rm, item);
		return 0;
	}
	if (rc == -ESTALE)
		return 0;
	if (rc && rc != -EIO)
		return rc;
	pthread_mutex_lock(&s->table);
	events_add(&s->events, RMEM_EVENT_REVOKED, request.serial, request.addr);
	depot_set_kept(&s->depot, slab, slot, false);
	if (rc == 0)
		(void)slab_set_shared(slab, s->heap, slot, false);
	pthread_mutex_unlock(&s->table);
	/* -EIO: the device does not confirm that other sessions are out. The slot is not used again. */
	if (rc == -EIO)
		return 0;
	if (rm->checking)
		shadow_set(slab, s->heap, slot, 0);
	depot_touch(&s->depot, slab, slot);
	(void)depot_put(&s->depot, slab->size_class, &item, 1, grace_begin(&s->grace));
	return 0;
}

static bool is_any_kept(const struct slab *slab, uint32_t first, uint32_t end)
{
	while (first < end && !slab_is_kept(slab, first))
		first++;
	return first < end;
}

/* here: the records as they were here before they were read there. */
static int collect_some(struct rmem *rm, struct slab *slab, uint32_t first, uint32_t n,
	uint64_t deadline_ns, struct errinfo *errinfo)
{
	uint64_t here[RECORDS_READ], there[RECORDS_READ];
	int rc;

	for (uint32_t i = 0; i < n; i++)
		here[i] = slab_is_kept(slab, first + i) ? slab_record(slab, first + i) : 0;
	rc = journal_read(&rm->slab_thread.journal, slab, first, there, n, deadline_ns, errinfo);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		bool mine = object_record_state(here[i]) == OBJECT_TAKEN;

		if (object_record_state(here[i]) == OBJECT_LIVE &&
			object_record_state(there[i]) == OBJECT_TAKEN)
			mine = atomic_compare_exchange_strong(
				&slab->records[first + i], &here[i], there[i]);
		if (mine)
			rc = collect(rm, slab, first + i, deadline_ns, errinfo);
	}
	return rc;
}

int kept_collect(struct rmem *rm, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct depot *d = &rm->session.depot;
	unsigned size_class = 0;
	struct slab *slab;
	int rc = 0;

	for (uint32_t id = 0; atomic_load(&d->kept) && rc == 0 &&
			      (slab = depot_next(d, &size_class, &id)) != NULL;
		id++)
		for (uint32_t first = 0; first < slab->slots && rc == 0; first += RECORDS_READ) {
			const uint32_t left = slab->slots - first;
			const uint32_t n = left < RECORDS_READ ? left : RECORDS_READ;

			if (is_any_kept(slab, first, first + n) && !slab_is_lost(slab))
				rc = collect_some(rm, slab, first, n, deadline_ns, errinfo);
		}
	return rc;
}
