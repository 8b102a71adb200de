/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/support/lender.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/control/request.h"
#include "client/data/explain.h"
#include "client/data/progress.h"
#include "client/data/reconnect.h"
#include "client/space/call.h"
#include "client/space/checking.h"
#include "client/space/kept.h"
#include "common/size_class.h"
#include "tests/support/cable.h"

struct lender lender;

static struct rmem *exact_session; /* NULL: none is open */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t next_addr, next_serial;
static uint32_t next_site;

/* ---- instead of the server ---- */

int __wrap_request_ready(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo);
int __wrap_control_call_locked(
	struct session *s, const struct control_call *call, struct errinfo *errinfo);
int __wrap_control_call(
	struct session *s, const struct control_call *call, struct errinfo *errinfo);
int __wrap_progress_run(struct channel *ch, struct operation *op, struct errinfo *errinfo);
int __wrap_progress_start(struct channel *ch, struct operation *op, struct errinfo *errinfo);
int __wrap_reconnect_channel(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo);
int __real_progress_run(struct channel *ch, struct operation *op, struct errinfo *errinfo);
int __real_progress_start(struct channel *ch, struct operation *op, struct errinfo *errinfo);
int __real_reconnect_channel(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo);
int __wrap_session_renew(struct session *s, bool journaled, struct errinfo *errinfo);
int __wrap_slab_thread_start(struct slab_thread *t, struct errinfo *errinfo);
void __wrap_slab_thread_wake(struct slab_thread *t);
int __wrap_slab_thread_sync(struct slab_thread *t, uint64_t deadline_ns, struct errinfo *errinfo);

int __wrap_request_ready(struct session *s, uint64_t deadline_ns, struct errinfo *errinfo)
{
	(void)s;
	(void)deadline_ns;
	(void)errinfo;
	return 0;
}

static int lend(const struct session *s, const struct alloc_request *q, struct alloc_reply *out,
	struct errinfo *errinfo)
{
	struct loan *loan;

	if (q->size_class && !slab_slots(q->size_class, q->bytes))
		return errinfo_set(errinfo, -EINVAL, "no slab has so many bytes");
	loan = calloc(1, sizeof(*loan));
	if (loan)
		loan->memory = calloc(1, q->bytes);
	if (!loan || !loan->memory)
		abort();
	loan->addr = next_addr;
	loan->bytes = q->bytes;
	loan->size_class = q->size_class;
	loan->serial = ++next_serial;
	loan->owner = s;
	loan->next = lender.loans;
	lender.loans = loan;
	lender.lent_bytes += (q->bytes + 4095) & ~4095ULL;
	next_addr += (q->bytes + 4095) & ~4095ULL;
	*out = (struct alloc_reply){
		.addr = loan->addr, .bytes = loan->bytes, .serial = loan->serial
	};
	return 0;
}

static void end(struct loan *loan)
{
	loan->serial = 0;
	lender.lent_bytes -= (loan->bytes + 4095) & ~4095ULL;
	free(loan->memory);
	loan->memory = NULL;
}

static int take_back(const struct free_request *q, struct errinfo *errinfo)
{
	struct loan *loan = (struct loan *)(uintptr_t)lender_find(q->addr);

	if (!loan || loan->addr != q->addr || loan->serial != q->serial)
		return errinfo_set(errinfo, -EINVAL, "nothing of that serial is lent there");
	end(loan);
	return 0;
}

static uint8_t *locate(const struct place *p, uint64_t bytes)
{
	const struct loan *loan = lender_find(p->addr);

	if (!loan || loan->addr != p->addr || loan->serial != p->serial ||
		p->offset > loan->bytes || bytes > loan->bytes - p->offset)
		return NULL;
	return loan->memory + p->offset;
}

static int copy(const struct copy_request *q, struct errinfo *errinfo)
{
	uint8_t *const dst = locate(&q->dst, q->bytes);
	const uint8_t *const src = locate(&q->src, q->bytes);

	if (!dst || !src)
		return errinfo_set(errinfo, -ESTALE, "nothing of that serial is lent there");
	memcpy(dst, src, q->bytes);
	return 0;
}

static void lose_all(struct session *s)
{
	pthread_mutex_lock(&s->table);
	blocks_mark_stale(&s->blocks);
	session_next_epoch(s);
	pthread_mutex_unlock(&s->table);
	s->serial++;
	atomic_fetch_add(&s->numbering, 1);
	for (struct loan *loan = lender.loans; loan; loan = loan->next)
		loan->serial = 0;
	lender.lent_bytes = 0;
}

/* ---- what is shared ---- */

static uint64_t *record_at(struct loan *loan, uint64_t addr)
{
	const uint32_t slots = slab_slots(loan->size_class, loan->bytes);
	const uint64_t slot = (addr - loan->addr) / size_class_bytes(loan->size_class);

	return (uint64_t *)(void *)(loan->memory + slab_records_offset(loan->size_class, slots)) +
	       slot;
}

/* As if it could not be guessed. */
static void make_key(const struct loan *loan, uint64_t addr, uint64_t record, uint8_t rights,
	uint8_t out[SHARE_KEY_SIZE])
{
	const uint64_t sum = loan->serial * 0x9e3779b97f4a7c15ULL ^ addr * 0xff51afd7ed558ccdULL ^
			     record * 0xc4ceb9fe1a85ec53ULL ^ loan->unshared;

	memset(out, 0, SHARE_KEY_SIZE);
	memcpy(out, &sum, sizeof(sum));
	out[sizeof(sum)] = (uint8_t)(1 + rights);
}

/* The rights of a key to the object with this record, or to the block; -1: none. */
static int rights_of(
	const struct loan *loan, uint64_t addr, uint64_t record, const uint8_t key[SHARE_KEY_SIZE])
{
	uint8_t right[SHARE_KEY_SIZE];

	for (int i = 0; i < SHARE_RIGHTS; i++) {
		make_key(loan, addr, record, (uint8_t)i, right);
		if (memcmp(key, right, sizeof(right)) == 0)
			return i;
	}
	return -1;
}

static uint64_t record_of(struct loan *loan, uint64_t addr)
{
	return loan->size_class ? *record_at(loan, addr) : OBJECT_LIVE;
}

static int share(const struct share_request *q, struct share_reply *out, struct errinfo *errinfo)
{
	struct loan *loan = (struct loan *)(uintptr_t)lender_find(q->addr);

	if (!loan || loan->serial != q->serial ||
		object_record_state(record_of(loan, q->addr)) != OBJECT_LIVE)
		return errinfo_set(errinfo, -ESTALE, "nothing can be shared there");
	make_key(loan, q->addr, record_of(loan, q->addr), q->rights, out->key);
	return 0;
}

static int look_up(
	const struct lookup_request *q, struct lookup_reply *out, struct errinfo *errinfo)
{
	struct loan *loan = (struct loan *)(uintptr_t)lender_find(q->addr);
	const uint64_t record = loan ? record_of(loan, q->addr) : 0;
	const int rights = loan ? rights_of(loan, q->addr, record, q->key) : -1;

	if (rights < 0 || object_record_state(record) != OBJECT_LIVE)
		return errinfo_set(errinfo, -EACCES, "the key fits nothing there");
	*out = (struct lookup_reply){ .bytes = loan->bytes,
		.serial = loan->serial,
		.rights = (uint8_t)rights,
		.size_class = (uint8_t)loan->size_class };
	if (loan->size_class) {
		out->bytes =
			size_class_bytes(loan->size_class) - object_record_unpack(record).slack;
		out->slab_addr = loan->addr;
		out->slab_bytes = loan->bytes;
	}
	return 0;
}

static int revoke(const struct unshare_request *q, struct errinfo *errinfo)
{
	struct loan *loan = (struct loan *)(uintptr_t)lender_find(q->addr);

	if (!loan || loan->serial != q->serial)
		return errinfo_set(errinfo, -ESTALE, "nothing of that serial is lent there");
	loan->unshared += !loan->size_class;
	return 0;
}

static int release(
	const struct session *s, const struct release_request *q, struct errinfo *errinfo)
{
	struct loan *loan = (struct loan *)(uintptr_t)lender_find(q->addr);
	const uint64_t record = loan ? record_of(loan, q->addr) : 0;
	const uint64_t live = object_record_with_state(record, OBJECT_LIVE);

	lender.freed_site = q->site;
	if (!loan || loan->serial != q->serial)
		return errinfo_set(errinfo, -EALREADY, "freed by somebody, at site %u", q->site);
	if (loan->owner == s) {
		end(loan);
		return 0;
	}
	if (rights_of(loan, q->addr, live, q->key) != SHARE_TO_FREE)
		return errinfo_set(errinfo, -ESTALE, "the key does not fit any more");
	if (record != live)
		return errinfo_set(errinfo, -EALREADY, "freed by somebody");
	if (loan->size_class)
		*record_at(loan, q->addr) = object_record_with_state(record, OBJECT_TAKEN);
	else
		end(loan);
	return 0;
}

static int revise(const struct session *s, const struct revise_request *q, struct revise_reply *out,
	struct errinfo *errinfo)
{
	struct loan *loan = (struct loan *)(uintptr_t)lender_find(q->addr);

	lender.freed_site = q->site;
	if (!loan || loan->serial != q->serial || loan->owner != s)
		return errinfo_set(errinfo, -ESTALE, "nothing of that serial is lent there");
	*out = (struct revise_reply){ .told = "" };
	if (*record_at(loan, q->addr) == q->before)
		*record_at(loan, q->addr) = q->after;
	out->record = *record_at(loan, q->addr);
	if (object_record_state(out->record) == OBJECT_TAKEN)
		snprintf(out->told, sizeof(out->told), "freed by another session");
	return 0;
}

static int tell(struct tell_reply *out)
{
	*out = (struct tell_reply){ .allocated = "allocated by its owner",
		.freed = "freed by another session" };
	return 0;
}

static int answer(struct session *s, const struct control_call *call, struct errinfo *errinfo)
{
	switch (call->type) {
	case MESSAGE_ALLOC:
		return lend(s, call->request, call->reply, errinfo);
	case MESSAGE_FREE:
		return take_back(call->request, errinfo);
	case MESSAGE_COPY:
		return copy(call->request, errinfo);
	case MESSAGE_SHARE:
		return share(call->request, call->reply, errinfo);
	case MESSAGE_LOOKUP:
		return look_up(call->request, call->reply, errinfo);
	case MESSAGE_UNSHARE:
		return revoke(call->request, errinfo);
	case MESSAGE_DETACH:
		lender.detached++;
		return 0;
	case MESSAGE_RELEASE:
		return release(s, call->request, errinfo);
	case MESSAGE_REVISE:
		return revise(s, call->request, call->reply, errinfo);
	case MESSAGE_TELL:
		return tell(call->reply);
	case MESSAGE_SITE:
		*(struct site_reply *)call->reply =
			(struct site_reply){ .site = ++next_site % SITES_CACHED, .named = 1 };
		return 0;
	default:
		return errinfo_set(errinfo, -EPROTO, "no such request is answered here");
	}
}

static int answer_or_fail(
	struct session *s, const struct control_call *call, struct errinfo *errinfo)
{
	int rc;

	lender.requests++;
	if (lender.lose_in && --lender.lose_in == 0)
		lose_all(s);
	if (lender.fail_in && --lender.fail_in == 0) {
		if (lender.fail_more) {
			lender.fail_more--;
			lender.fail_in = 1;
		}
		return errinfo_set(errinfo, lender.fail_with, "it was to fail");
	}
	rc = answer(s, call, errinfo);
	if (lender.lose_answer_in && --lender.lose_answer_in == 0)
		return errinfo_set(errinfo, -ETIMEDOUT, "its answer was to be lost");
	return rc;
}

int __wrap_control_call_locked(
	struct session *s, const struct control_call *call, struct errinfo *errinfo)
{
	int rc;

	pthread_mutex_lock(&lock);
	rc = answer_or_fail(s, call, errinfo);
	pthread_mutex_unlock(&lock);
	return rc;
}

int __wrap_control_call(struct session *s, const struct control_call *call, struct errinfo *errinfo)
{
	int rc = call->check ? call->check(s, call->arg, errinfo) : 0;
	void (*const meanwhile)(void) = lender.meanwhile;

	lender.meanwhile = NULL;
	if (meanwhile)
		meanwhile();
	return rc ? rc : __wrap_control_call_locked(s, call, errinfo);
}

/* As keys_check(): what is no object is only the library's own to touch. */
static int check_objects(
	const struct channel *ch, const struct operation *op, struct errinfo *errinfo)
{
	const struct rmem_iovec word = { op->addr, sizeof(uint64_t) };
	const int n = operation_is_copy(op) ? op->left.nremote : 1;

	for (int i = 0; i < n && !op->is_journal; i++) {
		const struct rmem_iovec *piece =
			operation_is_copy(op) ? &op->left.remote[i] : &word;
		const struct slab *slab = blocks_slab(&ch->session->blocks, piece->base);
		const struct block *block = blocks_find_range(&ch->session->blocks, piece->base, 1);
		uint32_t slot;

		if (block && block->state == BLOCK_STALE)
			return explain_state(block, errinfo);
		if (slab && !slab_holds(slab, piece->base, piece->len, &slot))
			return explain_object(slab, piece->base, piece->len, errinfo);
	}
	return 0;
}

/* With an exact journal, the record of the object is there already: its own, whatever has become of the object since. */
void lender_see_write(uint64_t addr)
{
	const struct slab *slab =
		exact_session ? blocks_slab(&exact_session->session.blocks, addr) : NULL;
	const uint32_t slot = slab ? slab_slot_at(slab, addr - slab->addr) : 0;
	const struct loan *loan = lender_find(addr);
	struct object_record here, there;

	if (!slab || !loan || slot >= slab->slots)
		return;
	here = object_record_unpack(slab_record(slab, slot));
	there = object_record_unpack(lender_record(loan, slot));
	if (there.state == OBJECT_UNUSED || there.generation != here.generation ||
		there.site != here.site || there.birth_s != here.birth_s)
		lender.unannounced++;
}

/* A write arrives piece by piece: those before the one that fails have. */
int __wrap_progress_run(struct channel *ch, struct operation *op, struct errinfo *errinfo)
{
	struct plan_segment seg;
	int rc;

	if (lender.is_wired)
		return __real_progress_run(ch, op, errinfo);
	rc = check_objects(ch, op, errinfo);
	if (rc)
		return rc;
	while (plan_peek(&op->left, &seg)) {
		const struct loan *loan = lender_find(seg.remote);

		lender.writes++;
		if (lender.fail_write_in && --lender.fail_write_in == 0)
			return errinfo_set(errinfo, -ECONNRESET, "it was to fail");
		if (!loan || seg.len > loan->bytes - (seg.remote - loan->addr))
			return errinfo_set(errinfo, -EFAULT, "nothing is lent there");
		if (op->kind == OPERATION_WRITE)
			lender_see_write(seg.remote);
		if (op->kind == OPERATION_WRITE)
			memcpy(loan->memory + (seg.remote - loan->addr), seg.local, seg.len);
		else
			memcpy(seg.local, loan->memory + (seg.remote - loan->addr), seg.len);
		plan_advance(&op->left, seg.len);
	}
	return 0;
}

/* A record in front of data: it arrives at once, and counts as sent if it is still that of the slot. */
int __wrap_progress_start(struct channel *ch, struct operation *op, struct errinfo *errinfo)
{
	int rc;

	if (lender.is_wired)
		return __real_progress_start(ch, op, errinfo);
	rc = __wrap_progress_run(ch, op, errinfo);
	if (!op->slab)
		return rc;
	if (rc == 0 && slab_record(op->slab, op->slot) == op->desired)
		atomic_store(&op->slab->sent[op->slot], op->desired);
	else
		depot_touch(op->slab->depot, op->slab, op->slot);
	return rc;
}

int __wrap_reconnect_channel(struct channel *ch, uint64_t deadline_ns, struct errinfo *errinfo)
{
	return lender.is_wired ? __real_reconnect_channel(ch, deadline_ns, errinfo) : 0;
}

int __wrap_session_renew(struct session *s, bool journaled, struct errinfo *errinfo)
{
	(void)s;
	(void)errinfo;
	lender.journaled += journaled;
	return 0;
}

int __wrap_slab_thread_start(struct slab_thread *t, struct errinfo *errinfo)
{
	(void)errinfo;
	t->was_started = true;
	return 0;
}

/* There is no slab thread: what it would do is done at once. */
int __wrap_slab_thread_sync(struct slab_thread *t, uint64_t deadline_ns, struct errinfo *errinfo)
{
	return slab_thread_flush(t, deadline_ns, errinfo);
}

void __wrap_slab_thread_wake(struct slab_thread *t)
{
	(void)t;
}

/* ---- the session ---- */

struct rmem *lender_open(bool exact, bool no_sites)
{
	struct errinfo errinfo = { "" };
	struct heap *heap = heap_create();
	struct rmem *rm = heap ? heap_alloc(heap, sizeof(*rm)) : NULL;

	if (!rm)
		return NULL;
	if (!lender.loans) {
		lender = (struct lender){ .loans = NULL };
		next_addr = addr_make(0, 1 << 20);
	}
	rm->session.heap = heap;
	rm->sites = sites_create(heap, &rm->session.numbering);
	pthread_mutex_init(&rm->queues_lock, NULL);
	call_thread_init(&rm->call_thread);
	rm->queues_fd = -1;
	if (!rm->sites || session_init(&rm->session, &errinfo))
		return NULL;
	rm->session.exact = exact;
	rm->session.timeout_ns = 3 * NSEC_PER_SEC;
	rm->session.resumable = true;
	session_begin_time(&rm->session, clock_boot_ns());
	thread_channels_init(&rm->channels, &rm->session, 8);
	rm->channels.no_sites = no_sites;
	slab_thread_init(&rm->slab_thread, &rm->session, &rm->channels);
	rm->slab_thread.rm = rm;
	rm->slab_thread.collect = kept_collect;
	stack_prepare();
	if (exact)
		exact_session = rm;
	return rm;
}

void lender_wire(struct rmem *rm)
{
	cable = (struct cable){ .fate = NULL };
	lender.is_wired = true;
	atomic_store(&rm->session.vitals->lease_ns, UINT64_MAX);
}

int lender_check(struct rmem *rm, const char *mode)
{
	struct errinfo errinfo;

	return checking_open(rm, mode, &errinfo);
}

int lender_flush(struct rmem *rm)
{
	struct errinfo errinfo;

	return slab_thread_flush(&rm->slab_thread, UINT64_MAX, &errinfo);
}

int lender_collect(struct rmem *rm)
{
	struct errinfo errinfo;

	return kept_collect(rm, UINT64_MAX, &errinfo);
}

int lender_give_back(struct rmem *rm, bool all)
{
	struct errinfo errinfo;

	return slab_thread_give_back(&rm->slab_thread, all, UINT64_MAX, &errinfo);
}

void lender_close(struct rmem *rm)
{
	struct heap *heap = rm->session.heap;
	struct loan *loan = lender.loans, *next;

	if (exact_session == rm)
		exact_session = NULL;
	call_thread_finish(&rm->call_thread, call_deadline(rm));
	call_thread_stop(&rm->call_thread);
	call_thread_destroy(&rm->call_thread);
	checking_close(rm);
	slab_thread_destroy(&rm->slab_thread);
	thread_channels_destroy(&rm->channels);
	session_destroy(&rm->session);
	pthread_mutex_destroy(&rm->queues_lock);
	heap_destroy(heap);
	for (; loan; loan = next) {
		next = loan->next;
		free(loan->memory);
		free(loan);
	}
	lender.loans = NULL;
	lender.is_wired = false;
}

void lender_lose_all(struct rmem *rm)
{
	pthread_mutex_lock(&lock);
	lose_all(&rm->session);
	pthread_mutex_unlock(&lock);
}

void lender_lend_next(uint64_t addr)
{
	next_addr = addr & ~4095ULL;
}

const struct loan *lender_find(uint64_t addr)
{
	for (const struct loan *loan = lender.loans; loan; loan = loan->next)
		if (loan->serial && addr - loan->addr < loan->bytes)
			return loan;
	return NULL;
}

uint64_t lender_record(const struct loan *loan, uint32_t slot)
{
	const uint32_t slots = slab_slots(loan->size_class, loan->bytes);
	uint64_t word;

	memcpy(&word,
		loan->memory + slab_records_offset(loan->size_class, slots) +
			(uint64_t)slot * OBJECT_RECORD_BYTES,
		sizeof(word));
	return word;
}
