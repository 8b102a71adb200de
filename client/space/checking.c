/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/checking.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/slabs/shadow.h"
#include "client/space/fault.h"
#include "client/space/memory.h"

#define CANARY 0xc5
#define CANARY_BYTES 16 /* at least */
#define FREED 0xfd
#define PIECE_BYTES 2048U /* read or written at once */
#define SAMPLE_MAX 1000000000U

/* ---- the mode ---- */

static bool read_mode(const char *asked, struct checking *out)
{
	unsigned long n;
	char *end;

	*out = (struct checking){ .full = strcmp(asked, "full") == 0 };
	if (out->full)
		return true;
	if (strncmp(asked, "sample:", 7) != 0 || asked[7] < '0' || asked[7] > '9')
		return false;
	errno = 0;
	n = strtoul(asked + 7, &end, 10);
	out->one_in = (uint32_t)n;
	return !errno && !*end && n && n <= SAMPLE_MAX;
}

/* xorshift, which needs no quality: programs do not allocate in its order. */
static uint32_t draw(struct checking *c)
{
	c->draw_state ^= c->draw_state << 13;
	c->draw_state ^= c->draw_state >> 17;
	c->draw_state ^= c->draw_state << 5;
	return 1 + c->draw_state % (2 * c->one_in - 1);
}

int checking_open(struct rmem *rm, const char *asked, struct errinfo *errinfo)
{
	struct checking *c;

	if (!asked || !*asked || strcmp(asked, "off") == 0)
		return 0;
	c = heap_alloc(rm->session.heap, sizeof(*c));
	if (!c)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	if (!read_mode(asked, c)) {
		heap_free(rm->session.heap, c, sizeof(*c));
		return errinfo_set(errinfo, -EINVAL,
			"$RMEM_CHECK is \"%.40s\": it can be \"off\", \"full\" or \"sample:N\", "
			"with N "
			"from 1 to %u",
			asked, SAMPLE_MAX);
	}
	pthread_mutex_init(&c->lock, NULL);
	c->draw_state = (uint32_t)clock_boot_ns() | 1;
	c->draw_left = c->one_in ? draw(c) : 0;
	rm->checking = c;
	rm->channels.cache_hidden = true;
	return 0;
}

void checking_close(struct rmem *rm)
{
	if (rm->checking)
		pthread_mutex_destroy(&rm->checking->lock);
	rm->checking = NULL;
}

unsigned checking_size_class(const struct rmem *rm, uint64_t bytes, uint64_t align_bytes)
{
	const uint64_t natural = bytes & -bytes;
	unsigned size_class;

	if (!checking_is_full(rm) || bytes > OBJECT_BYTES_MAX)
		return size_class_of(bytes, align_bytes);
	/* The longer slot is to be aligned as that of the object alone. */
	if (align_bytes < natural)
		align_bytes = natural < OBJECT_ALIGN_MAX ? natural : OBJECT_ALIGN_MAX;
	size_class = size_class_of(bytes + CANARY_BYTES, align_bytes);
	/* More than a record can tell: a block of its own, which the NIC guards. */
	return size_class_bytes(size_class) - bytes > OBJECT_SLACK_MAX ? 0 : size_class;
}

bool checking_draws(struct rmem *rm)
{
	struct checking *c = rm->checking;
	bool drawn;

	if (!c || !c->one_in)
		return false;
	pthread_mutex_lock(&c->lock);
	drawn = --c->draw_left == 0;
	if (drawn)
		c->draw_left = draw(c);
	pthread_mutex_unlock(&c->lock);
	return drawn;
}

/* ---- patterns ---- */

/* The first byte that is not as expected; 0: all are, or it cannot be told. */
static rmem_addr_t find_other(
	struct rmem *rm, rmem_addr_t addr, uint64_t n, uint8_t expected, uint64_t deadline_ns)
{
	uint8_t bytes[PIECE_BYTES];

	for (uint64_t at = 0; at < n; at += PIECE_BYTES) {
		const uint64_t len = n - at < PIECE_BYTES ? n - at : PIECE_BYTES;

		if (fault_transfer(rm, OPERATION_READ, addr + at, bytes, len, deadline_ns))
			return 0;
		for (uint64_t i = 0; i < len; i++)
			if (bytes[i] != expected)
				return addr + at + i;
	}
	return 0;
}

static bool fill(struct rmem *rm, rmem_addr_t addr, uint64_t n, uint8_t value)
{
	const uint64_t deadline_ns = session_deadline(&rm->session);
	uint8_t bytes[PIECE_BYTES];
	int rc = 0;

	memset(bytes, value, sizeof(bytes));
	for (uint64_t at = 0; at < n && rc == 0; at += PIECE_BYTES)
		rc = fault_transfer(rm, OPERATION_WRITE, addr + at, bytes,
			n - at < PIECE_BYTES ? n - at : PIECE_BYTES, deadline_ns);
	return rc == 0;
}

/* ---- allocating ---- */

/* Is the slot as it was left? What cannot be read, or was not filled, counts as that. */
static bool check_slot(struct rmem *rm, slab_item item, void *caller, uint64_t deadline_ns)
{
	struct slab *const s = slab_item_slab(item);
	const uint32_t slot = slab_item_slot(item);
	const bool unused = object_record_state(slab_record(s, slot)) == OBJECT_UNUSED;
	rmem_addr_t bad;

	if (!unused && !(shadow_get(s, slot) & SHADOW_FILLED))
		return true;
	bad = find_other(
		rm, slab_slot_addr(s, slot), s->slot_bytes, unused ? 0 : FREED, deadline_ns);
	if (bad)
		fault_report(rm,
			unused ? "write to memory that was never allocated, found now, at"
			       : "write after free, found now, at",
			bad, caller, NULL);
	return !bad;
}

bool checking_reuse(struct rmem *rm, slab_item item, void *caller)
{
	return check_slot(rm, item, caller, session_deadline(&rm->session));
}

void checking_guard(struct rmem *rm, struct slab *slab, uint32_t slot)
{
	const uint32_t bytes = slab_object_bytes(slab, slab_record(slab, slot));
	const bool done =
		fill(rm, slab_slot_addr(slab, slot) + bytes, slab->slot_bytes - bytes, CANARY);

	shadow_set(slab, rm->session.heap, slot, done ? SHADOW_GUARDED : 0);
}

/* ---- freeing ---- */

static void release(struct rmem *rm, slab_item item)
{
	struct slab *const s = slab_item_slab(item);
	struct depot *d = &rm->session.depot;
	const uint32_t slot = slab_item_slot(item);

	shadow_set(s, rm->session.heap, slot, shadow_get(s, slot) & ~SHADOW_QUARANTINE);
	if (depot_put(d, s->size_class, &item, 1, grace_begin(d->grace)))
		slab_thread_wake(&rm->slab_thread);
}

/* With the lock: the oldest. */
static slab_item take_oldest(struct checking *c)
{
	const slab_item item = c->items[c->first];

	c->first = (c->first + 1) % QUARANTINE_ITEMS;
	c->n--;
	c->bytes -= slab_item_slab(item)->slot_bytes;
	return item;
}

/* The slot goes into quarantine, and what has been there for longest leaves if there is no room. */
static void enter_quarantine(struct rmem *rm, slab_item item)
{
	struct checking *c = rm->checking;
	const uint32_t bytes = slab_item_slab(item)->slot_bytes;
	slab_item oldest;
	bool full;

	do {
		pthread_mutex_lock(&c->lock);
		full = c->n == QUARANTINE_ITEMS || c->bytes + bytes > QUARANTINE_BYTES_MAX;
		if (full) {
			oldest = take_oldest(c);
		} else {
			c->items[(c->first + c->n++) % QUARANTINE_ITEMS] = item;
			c->bytes += bytes;
		}
		pthread_mutex_unlock(&c->lock);
		if (full)
			release(rm, oldest);
	} while (full);
}

void checking_retire(struct rmem *rm, struct slab *slab, uint32_t slot, void *caller)
{
	const rmem_addr_t addr = slab_slot_addr(slab, slot);
	const uint32_t bytes = slab_object_bytes(slab, slab_record(slab, slot));
	rmem_addr_t bad = 0;
	uint32_t word;

	if (shadow_get(slab, slot) & SHADOW_GUARDED)
		bad = find_other(rm, addr + bytes, slab->slot_bytes - bytes, CANARY,
			session_deadline(&rm->session));
	if (bad)
		fault_report(rm, "write past the end, found by rmem_free(), at", bad, caller, NULL);
	word = (memory_site_here(rm, caller, session_deadline(&rm->session)) & SHADOW_SITE) |
	       SHADOW_QUARANTINE;
	if (fill(rm, addr, slab->slot_bytes, FREED))
		word |= SHADOW_FILLED;
	shadow_set(slab, rm->session.heap, slot, word);
	enter_quarantine(rm, slab_item_make(slab, slot));
}

void checking_drain(struct rmem *rm, uint64_t deadline_ns)
{
	struct checking *c = rm->checking;

	while (c && c->n) {
		const slab_item item = take_oldest(c);

		if (clock_boot_ns() < deadline_ns)
			(void)check_slot(rm, item, NULL, deadline_ns);
		release(rm, item);
	}
}

/* ---- what the library refuses ---- */

static bool is_foreign(struct rmem *rm, rmem_addr_t addr)
{
	struct session *s = &rm->session;
	const struct block *block;
	bool foreign;

	pthread_mutex_lock(&s->table);
	block = blocks_find_range(&s->blocks, addr, 1);
	foreign = block && block->attached;
	pthread_mutex_unlock(&s->table);
	return foreign;
}

/* Freed, by this session or another. */
static bool is_freed(const struct slab *s, uint32_t slot)
{
	const enum object_state state = object_record_state(slab_record(s, slot));

	return state == OBJECT_FREED || state == OBJECT_TAKEN;
}

void checking_bad_free(
	struct rmem *rm, rmem_addr_t addr, void *caller, bool is_double, const struct errinfo *why)
{
	const struct slab *s = blocks_slab(&rm->session.blocks, addr);
	const uint32_t slot = s ? slab_slot_at(s, addr - s->addr) : 0;
	const char *what = "invalid free of";

	if (is_double ||
		(s && slot < s->slots && slab_slot_addr(s, slot) == addr && is_freed(s, slot)))
		what = "double free of";
	else if (is_foreign(rm, addr))
		what = "foreign free, of an allocation that another session shares (rmemctl "
		       "who-holds tells which):";
	fault_report(rm, what, addr, caller, why);
}

/* Was attached, and its owner or another session has freed it, or revoked its keys. */
static bool is_gone(struct rmem *rm, rmem_addr_t addr)
{
	struct session *s = &rm->session;
	const struct block *block;
	bool gone;

	pthread_mutex_lock(&s->table);
	block = blocks_find_range(&s->blocks, addr, 1);
	gone = block && block->attached && block->state == BLOCK_STALE;
	pthread_mutex_unlock(&s->table);
	return gone;
}

/* Why a piece that was refused was: the text for the report; NULL: this piece was not. */
static const char *judge(struct rmem *rm, uint64_t addr, uint64_t bytes, bool is_read)
{
	const bool gone = is_gone(rm, addr);
	const struct slab *s = blocks_slab(&rm->session.blocks, addr);
	struct block_view block;
	uint32_t slot;

	if (gone)
		return is_read ? "use after free, a read of what another session shared, at"
			       : "use after free, a write to what another session shared, at";
	if (!blocks_view(&rm->session.blocks, addr, &block))
		return is_read ? "read of what is not allocated, at"
			       : "write to what is not allocated, at";
	if (s ? slab_holds(s, addr, bytes, &slot) : bytes <= block.bytes - (addr - block.addr))
		return NULL;
	slot = s ? slab_slot_at(s, addr - s->addr) : 0;
	if (!s || (slot < s->slots && slab_holds(s, slab_slot_addr(s, slot), 1, &slot)))
		return is_read ? "read past the end, from" : "write past the end, from";
	if (slot < s->slots && is_freed(s, slot))
		return is_read ? "use after free, a read at" : "use after free, a write at";
	return is_read ? "read of what is not allocated, at" : "write to what is not allocated, at";
}

bool checking_bad_range(struct rmem *rm, rmem_addr_t addr, uint64_t bytes, bool is_read)
{
	const char *what = bytes ? judge(rm, addr, bytes, is_read) : NULL;

	if (what)
		fault_report(rm, what, addr, NULL, NULL);
	return what;
}

void checking_bad_access(struct rmem *rm, const struct operation *op)
{
	const struct rmem_iovec word = { op->addr, sizeof(uint64_t) };
	const struct rmem_iovec *pieces = operation_is_copy(op) ? op->left.remote : &word;
	const int n = operation_is_copy(op) ? op->left.nremote : 1;

	for (int i = 0; i < n; i++)
		if (checking_bad_range(
			    rm, pieces[i].base, pieces[i].len, op->kind == OPERATION_READ))
			return;
}
