/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/model.h"

#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "common/object_record.h"
#include "common/size_class.h"
#include "tests/sim/chance.h"
#include "tests/sim/link.h"
#include "tests/sim/moment.h"
#include "tests/sim/process.h"
#include "tests/sim/rooms.h"
#include "tests/sim/trace.h"
#include "tests/sim/window.h"

#define OWNERS_MAX 512
#define BLOCKS_MAX 256
#define FENCED_MAX 256

static struct owner owners[OWNERS_MAX];
static struct block blocks[BLOCKS_MAX]; /* none of them gone */
static uint64_t fenced[FENCED_MAX];
static unsigned nowners, nblocks, nfenced, killed;
static uint64_t last_serial, last_token, pressure_ran_ns;

void model_begin(void)
{
	nowners = nblocks = nfenced = killed = 0;
	last_serial = last_token = pressure_ran_ns = 0;
}

void model_forget_all(void)
{
	for (unsigned i = 0; i < nowners; i++)
		owners[i].lost = true;
	nfenced = 0;
	last_serial = last_token = 0;
}

void model_restarted(void)
{
	for (unsigned i = 0; i < nowners; i++) {
		owners[i].was_over = !owner_lease_lasts(&owners[i]);
		owners[i].sign_ns = moment_ns();
		model_late_sign(&owners[i]);
	}
}

/* ---- owners ---- */

struct owner *model_add_owner(unsigned process, const struct request *hello)
{
	struct owner *o = &owners[nowners];

	trace_require(nowners < OWNERS_MAX, "too many sessions for one seed");
	memset(o, 0, sizeof(*o));
	o->number = nowners++;
	o->process = process;
	o->next_seq = 1;
	memcpy(o->id, hello->hello.session_id, ID_SIZE);
	model_sign(o);
	return o;
}

struct owner *model_owner(const uint8_t id[ID_SIZE])
{
	for (unsigned i = nowners; i-- > 0;) {
		if (!owners[i].lost && memcmp(owners[i].id, id, ID_SIZE) == 0)
			return &owners[i];
	}
	return NULL;
}

struct owner *model_owner_of_token(uint64_t fencing_token)
{
	for (unsigned i = 0; i < nowners; i++) {
		if (!owners[i].lost && owners[i].fencing_token == fencing_token)
			return &owners[i];
	}
	return NULL;
}

struct owner *model_owner_at(unsigned i)
{
	return i < nowners ? &owners[i] : NULL;
}

struct owner *model_any_owner(void)
{
	return nowners ? &owners[chance_below(nowners)] : NULL;
}

void model_sign(struct owner *o)
{
	o->sign_ns = moment_ns();
	if (!o->leaving)
		o->heard_ns = moment_ns();
	model_late_sign(o);
}

void model_late_sign(struct owner *o)
{
	o->late_ran_ns = moment_ran_ns();
}

static uint64_t ttl_ns(void)
{
	return rooms.options.ttl_ms * NSEC_PER_MSEC;
}

bool owner_lease_lasts(const struct owner *o)
{
	return moment_ns() - o->sign_ns < ttl_ns();
}

bool owner_lease_is_over(const struct owner *o)
{
	return moment_ran_ns() - o->late_ran_ns >= ttl_ns() + 4 * rooms.tick_ns;
}

bool owner_is_alive(const struct owner *o)
{
	return process_state(o->process) == PROCESS_ALIVE;
}

bool owner_has_connection(const struct owner *o)
{
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		if (links[i].c && links[i].owner == o && links[i].c->list != &rooms.net.zombies)
			return true;
	}
	return false;
}

/* ---- fencing tokens ---- */

void model_new_token(uint64_t fencing_token)
{
	trace_require(fencing_token > last_token, "fencing token %" PRIu64 " is given twice",
		fencing_token);
	last_token = fencing_token;
}

bool model_knows_token(uint64_t fencing_token)
{
	return fencing_token && fencing_token <= last_token;
}

uint64_t model_last_token(void)
{
	return last_token;
}

void model_fence(uint64_t fencing_token)
{
	if (!model_is_fenced(fencing_token) && nfenced < FENCED_MAX)
		fenced[nfenced++] = fencing_token;
}

bool model_is_fenced(uint64_t fencing_token)
{
	for (unsigned i = 0; i < nfenced; i++) {
		if (fenced[i] == fencing_token)
			return true;
	}
	return false;
}

/* ---- blocks ---- */

struct block *model_block(uint64_t serial)
{
	for (unsigned i = 0; i < nblocks; i++) {
		if (blocks[i].serial == serial)
			return &blocks[i];
	}
	return NULL;
}

struct block *model_block_at(unsigned i)
{
	return i < nblocks ? &blocks[i] : NULL;
}

struct block *model_any_block(void)
{
	return nblocks ? &blocks[chance_below(nblocks)] : NULL;
}

bool model_is_ending(const struct block *b)
{
	const struct allocation *a = ledger_find(rooms.pool.ledger, b->addr);

	return !a || a->serial != b->serial || a->state != ALLOCATION_LIVE;
}

char *model_memory(const struct block *b)
{
	return pool_find_segment(&rooms.pool, b->addr)->arena.base + addr_offset(b->addr);
}

static uint64_t *first_record(const struct block *b)
{
	const uint32_t slots = slab_slots(b->size_class, b->bytes);

	return (uint64_t *)(void *)(model_memory(b) + slab_records_offset(b->size_class, slots));
}

uint64_t model_record(const struct block *b)
{
	return *first_record(b);
}

bool model_offers(const struct block *b, uint64_t *out_bytes, uint64_t *out_record)
{
	const uint32_t slot_bytes = size_class_bytes(b->size_class);

	*out_record = b->size_class ? *first_record(b) : 0;
	*out_bytes =
		b->size_class ? slot_bytes - object_record_unpack(*out_record).slack : b->bytes;
	return !b->size_class || (object_record_state(*out_record) == OBJECT_LIVE &&
					 object_record_fits(*out_record, slot_bytes));
}

void model_write_record(struct block *b)
{
	const uint64_t offset = (uint64_t)((char *)first_record(b) - model_memory(b));
	struct object_record r = object_record_unpack(*first_record(b));

	r.state = OBJECT_LIVE;
	r.generation++;
	r.slack = (uint32_t)chance_below(8);
	*first_record(b) = object_record_pack(&r);
	if (offset % PAGE_BYTES == 0)
		b->words[offset / PAGE_BYTES] = *first_record(b);
	b->written = model_next_write();
}

bool model_key_admits(const struct block *b, const uint8_t key[SHARE_KEY_SIZE], bool *out_read_only)
{
	const struct shares *s = &b->shares;
	uint64_t bytes, record;

	*out_read_only = false;
	if (!model_offers(b, &bytes, &record) || record != s->record)
		return false;
	*out_read_only = s->to_read && memcmp(s->read_key, key, SHARE_KEY_SIZE) == 0;
	return *out_read_only || (s->any && memcmp(s->key, key, SHARE_KEY_SIZE) == 0) ||
	       (s->to_free && memcmp(s->free_key, key, SHARE_KEY_SIZE) == 0);
}

uint64_t model_next_write(void)
{
	static uint64_t writes;

	return ++writes;
}

static uint64_t block_bytes_of(uint64_t bytes)
{
	return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* Nothing of an earlier holder is in it, and nobody else's key reaches it. */
static void require_unused(const struct block *b)
{
	const char *memory = model_memory(b);

	trace_require(memory[0] == 0 && memcmp(memory, memory + 1, b->block_bytes - 1) == 0,
		"allocation %" PRIu64 " is lent with old bytes in it", b->serial);
	for (struct window *w = NULL; (w = window_next(w)) != NULL;)
		trace_require(!w->bound || w->addr >= b->addr + b->block_bytes ||
				      w->addr + w->bytes <= b->addr,
			"allocation %" PRIu64 " is lent while a key of allocation %" PRIu64
			" reaches it",
			b->serial, w->serial);
	for (unsigned i = 0; i < nblocks; i++)
		trace_require(blocks[i].addr >= b->addr + b->block_bytes ||
				      blocks[i].addr + blocks[i].block_bytes <= b->addr,
			"0x%" PRIx64 " is lent to session %u while session %u has it", b->addr,
			b->owner->number, blocks[i].owner->number);
}

struct block *model_add_block(struct owner *o, const struct alloc_reply *r, uint32_t seq)
{
	struct block *b = &blocks[nblocks];

	trace_require(nblocks < BLOCKS_MAX, "more blocks than the pool has");
	trace_require(
		r->serial > last_serial, "serial number %" PRIu64 " is given twice", r->serial);
	last_serial = r->serial;
	*b = (struct block){ .owner = o,
		.serial = r->serial,
		.addr = r->addr,
		.bytes = r->bytes,
		.block_bytes = block_bytes_of(r->bytes),
		.seq = seq };
	require_unused(b);
	nblocks++;
	return b;
}

/* ---- comparing ---- */

static bool is_bound(const struct block *b)
{
	for (struct window *w = NULL; (w = window_next(w)) != NULL;) {
		if (w->bound && w->serial == b->serial)
			return true;
	}
	return false;
}

static bool was_pressure(void)
{
	return moment_ran_ns() - pressure_ran_ns <= 10 * NSEC_PER_SEC;
}

static void require_may_lose(const struct block *b)
{
	const struct owner *o = b->owner;
	const uint64_t courtesy_ns = rooms.options.courtesy_ms * NSEC_PER_MSEC;

	trace_require(rooms.options.reclaim != RECLAIM_NEVER,
		"allocation %" PRIu64 " is taken back, with --reclaim never", b->serial);
	trace_require(!owner_has_connection(o),
		"allocation %" PRIu64 " is taken from session %u, which is connected", b->serial,
		o->number);
	trace_require(o->leaving || o->called_dead || !owner_is_alive(o) || !owner_lease_lasts(o) ||
			      (killed != rooms.killed && o->was_over),
		"allocation %" PRIu64 " is taken from session %u, which lives and has a lease",
		b->serial, o->number);
	trace_require(rooms.options.reclaim == RECLAIM_AFTER || b->taken_for_want ||
			      was_pressure() || moment_ns() - o->heard_ns >= courtesy_ns,
		"allocation %" PRIu64 " is taken from session %u, and nobody wants memory",
		b->serial, o->number);
}

/* What was told before is void from the store on that counts it. */
static void revoke_shares(struct block *b, const struct allocation *a)
{
	struct shares revoked = b->shares;

	b->unshared = a->unshared;
	b->offered = false;
	b->shares = (struct shares){ .any = false };
	memcpy(b->shares.void_key, revoked.any ? revoked.key : revoked.read_key, SHARE_KEY_SIZE);
}

static void compare_shares(struct block *b, const struct allocation *a)
{
	if (a->unshared == b->unshared)
		return;
	trace_require(b->unshare_asked && a->unshared > b->unshared,
		"the shares of allocation %" PRIu64 " are revoked, and nobody has asked",
		b->serial);
	revoke_shares(b, a);
}

static const struct link *find_acceptor(const struct block *b)
{
	const struct link *link = links;

	while (link < links + LINKS_MAX &&
		(link->question.type != MESSAGE_ACCEPT || link->question.accept.addr != b->addr ||
			memcmp(link->question.accept.key, b->offer_key, SHARE_KEY_SIZE) != 0))
		link++;
	return link < links + LINKS_MAX ? link : NULL;
}

/* It may become another's that has sent the key of an offer, and when nobody reaches it; then it has another number. */
static void compare_owner(struct block *b, const struct allocation *a)
{
	const struct session_record *r = sessions_get(rooms.leases.records, a->session);
	struct owner *o = r && r->serial == a->session_serial ? model_owner(r->id) : NULL;

	if (!b->offered || a->serial <= last_serial || a->bytes != b->bytes || !find_acceptor(b))
		return;
	trace_require(o && o != b->owner && a->unshared == 0,
		"allocation %" PRIu64 " is handed over to nobody", b->serial);
	trace_require(!is_bound(b), "allocation %" PRIu64 " is handed over while a key reaches it",
		b->serial);
	trace("allocation %" PRIu64 " of session %u is %" PRIu64 " of session %u from now on",
		b->serial, b->owner->number, a->serial, o->number);
	b->owner = o;
	b->seq = a->seq;
	b->serial = last_serial = a->serial;
	b->free_asked = b->detach_asked = b->unshare_asked = false;
	revoke_shares(b, a);
}

/* The server has changed a record that is the first word of a page. */
static void compare_record(struct block *b)
{
	const uint64_t offset = (uint64_t)((char *)first_record(b) - model_memory(b));

	if (b->size_class && b->revise_asked && offset % PAGE_BYTES == 0)
		b->words[offset / PAGE_BYTES] = *first_record(b);
}

static void compare(struct block *b, const struct allocation *a)
{
	bool same;

	if (a && a->serial != b->serial && a->state == ALLOCATION_LIVE)
		compare_owner(b, a);
	same = a && a->serial == b->serial;
	if (same)
		trace_require(a->addr == b->addr && a->bytes == b->bytes && a->seq == b->seq &&
				      a->size_class == b->size_class &&
				      allocation_block_bytes(a) == b->block_bytes,
			"the record of allocation %" PRIu64 " has changed", b->serial);
	if (same)
		compare_shares(b, a);
	if (same && a->state == ALLOCATION_LIVE)
		compare_record(b);
	if (b->state == BLOCK_LENT && !(same && a->state == ALLOCATION_LIVE)) {
		if (!b->free_asked && !b->stuck)
			require_may_lose(b);
		b->state = BLOCK_ENDING;
	}
	trace_require(!(b->state == BLOCK_ENDING && same && a->state == ALLOCATION_LIVE),
		"allocation %" PRIu64 " is lent again", b->serial);
	if (!same || a->state == ALLOCATION_QUARANTINE)
		trace_require(!is_bound(b), "allocation %" PRIu64 " ends while a key reaches it",
			b->serial);
	if (!same)
		b->state = BLOCK_GONE;
}

/* Made by a server that was killed before it could answer. */
static void adopt(const struct allocation *a)
{
	const struct session_record *r = sessions_get(rooms.leases.records, a->session);
	const struct alloc_reply as_if = {
		.addr = a->addr, .bytes = a->bytes, .serial = a->serial
	};
	struct owner *o = r ? model_owner(r->id) : NULL;

	trace_require(killed != rooms.killed && o && a->session_serial == r->serial,
		"nobody has asked for allocation %" PRIu64, a->serial);
	model_add_block(o, &as_if, a->seq)->size_class = a->size_class;
}

static void note_pressure(void)
{
	for (unsigned i = 0; i < LINKS_MAX; i++) {
		if (links[i].asked && links[i].question.type == MESSAGE_ALLOC)
			pressure_ran_ns = moment_ran_ns();
	}
}

/* Its session is to lose it. When the slice comes that takes it, nobody may want it any more. */
static void note_taking(struct block *b, const struct allocation *a)
{
	if (a && a->serial == b->serial && rooms.leases.sessions[a->session].reclaiming)
		b->taken_for_want |= was_pressure();
}

void model_sync(void)
{
	unsigned left = 0;

	note_pressure();
	for (unsigned i = 0; i < nblocks; i++)
		note_taking(&blocks[i], ledger_find(rooms.pool.ledger, blocks[i].addr));
	for (unsigned i = 0; i < nblocks; i++)
		compare(&blocks[i], ledger_find(rooms.pool.ledger, blocks[i].addr));
	for (unsigned i = 0; i < nblocks; i++) {
		if (blocks[i].state != BLOCK_GONE)
			blocks[left++] = blocks[i];
	}
	nblocks = left;
}

void model_adopt(void)
{
	const struct allocation *a;
	uint32_t cursor = 0;

	while ((a = ledger_next(rooms.pool.ledger, &cursor)) != NULL) {
		if (!model_block(a->serial))
			adopt(a);
	}
	killed = rooms.killed;
}
