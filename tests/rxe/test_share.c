/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocations that several sessions use, as rmemd sees it: whom a key admits, how an attachment ends, that a
 * block goes to nobody else while anybody reaches it. Fencing tokens: test_tokens.c. With the argument "window": the
 * same with windows that are invalidated.
 */
#include <errno.h>
#include <string.h>

#include "common/object_record.h"
#include "common/size_class.h"
#include "tests/rxe/client.h"
#include "tests/rxe/crew.h"
#include "tests/support/random.h"

static const char *const patient[] = { "--ttl", "10m", NULL };

struct key {
	uint8_t bytes[SHARE_KEY_SIZE];
};

static struct key share(struct crew *w, uint64_t addr)
{
	struct key key;

	assert_int_equal(raw_share(w->control, addr, key.bytes), 0);
	return key;
}

/* A key of the NIC for a shared allocation on this connection. */
static uint32_t attach(struct raw *r, uint64_t addr, const struct key *key)
{
	struct grant_reply g;

	assert_int_equal(raw_attach_with(r, addr, key->bytes, &g), 0);
	assert_true(g.addr == addr);
	assert_int_equal(g.bytes, CREW_BLOCK);
	return g.rkey;
}

static int attach_error(struct raw *r, uint64_t addr, const struct key *key)
{
	struct grant_reply g;

	return raw_attach_with(r, addr, key->bytes, &g);
}

/* ---- who gets in ---- */

static void a_key_admits(void **state)
{
	struct rig *r = *state;
	struct crew owner, other;
	uint32_t mine, theirs;
	uint64_t addr, bytes;
	struct key key;

	crew_start(r, patient);
	crew_open(&owner, r, 1);
	crew_open(&other, r, 2);
	addr = crew_alloc(&owner);
	key = share(&owner, addr);
	assert_memory_equal(share(&owner, addr).bytes, key.bytes, sizeof(key));
	assert_int_equal(raw_lookup(other.control, addr, key.bytes, &bytes), 0);
	assert_int_equal(bytes, CREW_BLOCK);
	/* Sent again, as after a broken connection, it is the same rmem_attach(). */
	other.control->seq--;
	assert_int_equal(raw_lookup(other.control, addr, key.bytes, &bytes), 0);
	/* What rmem_attach() asks, and what the first access on each connection asks, are counted apart. */
	assert_int_equal(rig_ask_number(r, "status", "counters.attaches"), 1);
	assert_int_equal(rig_ask_number(r, "status", "counters.keys_given"), 0);
	mine = crew_attach(owner.channels[0], addr);
	theirs = attach(other.channels[0], addr, &key);
	assert_int_equal(rig_ask_number(r, "status", "counters.attaches"), 1);
	assert_int_equal(rig_ask_number(r, "status", "counters.keys_given"), 2);
	assert_int_equal(rig_ask_number(r, "map", "blocks.0.attached_sessions"), 1);
	crew_fill(owner.channels[0], addr, mine, 5);
	crew_check(other.channels[0], addr, theirs, 5);
	crew_fill(other.channels[0], addr, theirs, 6);
	crew_check(owner.channels[0], addr, mine, 6);
	assert_int_equal(attach(other.channels[0], addr, &key), theirs);
	/* Windows are a connection's own here too. */
	crew_refused(other.channels[1], addr, theirs);
	/* Who was admitted is no owner. */
	assert_int_equal(raw_free(other.control, addr), -EINVAL);
	assert_int_equal(raw_share(other.control, addr, key.bytes), -ESTALE);
	crew_check(owner.channels[0], addr, mine, 6);
	assert_int_equal(raw_free(owner.control, addr), 0);
	crew_close(&other);
	crew_close(&owner);
	rig_end(r);
}

static void nothing_else_does(void **state)
{
	struct rig *r = *state;
	struct crew owner, other;
	struct key key, wrong, second;
	uint64_t addr, next, bytes, seed = 4711;

	crew_start(r, patient);
	crew_open(&owner, r, 0);
	crew_open(&other, r, 1);
	addr = crew_alloc(&owner);
	next = crew_alloc(&owner);
	key = share(&owner, addr);
	second = share(&owner, next);
	assert_memory_not_equal(key.bytes, second.bytes, sizeof(key));
	assert_int_equal(raw_share(other.control, addr, wrong.bytes), -ESTALE);
	assert_int_equal(raw_share(owner.control, addr + 8, wrong.bytes), -ESTALE);
	assert_int_equal(attach_error(other.channels[0], addr, &second), -ESTALE);
	assert_int_equal(attach_error(other.channels[0], addr + 8, &key), -ESTALE);
	assert_int_equal(raw_lookup(other.control, next, key.bytes, &bytes), -EACCES);
	for (unsigned i = 0; i < (crew_has_windows() ? 1 : 8 * SHARE_KEY_SIZE); i++) {
		wrong = key;
		wrong.bytes[i / 8] ^= (uint8_t)(1U << i % 8);
		assert_int_equal(attach_error(other.channels[0], addr, &wrong), -ESTALE);
	}
	for (unsigned i = 0; i < (crew_has_windows() ? 0 : 2000); i++) {
		for (unsigned k = 0; k < SHARE_KEY_SIZE; k++)
			wrong.bytes[k] = (uint8_t)random_u64(&seed);
		assert_int_equal(raw_lookup(other.control, addr, wrong.bytes, &bytes), -EACCES);
	}
	/* A key ends with its allocation, though the block comes back. */
	assert_int_equal(raw_free(owner.control, addr), 0);
	assert_int_equal(attach_error(other.channels[0], addr, &key), -ESTALE);
	rig_await_wiped(r);
	assert_true(crew_alloc(&owner) == addr); /* the lowest of the emptiest node */
	assert_int_equal(attach_error(other.channels[0], addr, &key), -ESTALE);
	crew_close(&other);
	assert_int_equal(raw_free(owner.control, next), 0);
	assert_int_equal(raw_free(owner.control, addr), 0);
	crew_close(&owner);
	rig_end(r);
}

/* ---- how it ends ---- */

static void detach_ends_this_session_only(void **state)
{
	struct rig *r = *state;
	struct crew owner, a, b;
	uint32_t keys[3], kept, control;
	uint64_t addr;
	struct key key;

	crew_start(r, patient);
	crew_open(&owner, r, 1);
	crew_open(&a, r, 3);
	crew_open(&b, r, 1);
	addr = crew_alloc(&owner);
	key = share(&owner, addr);
	for (unsigned i = 0; i < 3; i++)
		keys[i] = attach(a.channels[i], addr, &key);
	control = attach(a.control, addr, &key);
	kept = attach(b.channels[0], addr, &key);
	crew_fill(b.channels[0], addr, kept, 9);
	assert_int_equal(raw_detach(a.control, addr), 0);
	assert_int_equal(raw_detach(a.control, addr), 0);
	assert_int_equal(raw_detach(a.control, addr + 8), 0);
	crew_check(b.channels[0], addr, kept, 9);
	/* It may come back, with a new key. */
	assert_int_not_equal(attach(a.channels[2], addr, &key), keys[2]);
	assert_int_equal(raw_detach(a.control, addr), 0);
	for (unsigned i = 0; i < 3; i++)
		crew_refused(a.channels[i], addr, keys[i]);
	crew_refused(a.control, addr, control);
	crew_await_gone(&a);
	crew_check(b.channels[0], addr, kept, 9);
	assert_int_equal(raw_free(owner.control, addr), 0);
	assert_int_equal(raw_detach(b.control, addr), 0);
	crew_close(&b);
	crew_close(&owner);
	assert_int_equal(raw_open(r->port, &a.session, &a.control), 0);
	crew_close(&a);
	rig_end(r);
}

static void send_request(struct raw *r, enum message_type type,
	void (*put)(struct wire *, const void *), const void *q)
{
	const struct header h = { .type = (uint8_t)type, .seq = r->seq + 1 };
	uint8_t bytes[MESSAGE_MAX];
	struct wire w = wire_over(bytes, sizeof(bytes));

	header_put(&w, &h);
	put(&w, q);
	assert_int_equal(raw_send(r, bytes, w.pos), 0);
}

static void put_detach(struct wire *w, const void *q)
{
	detach_request_put(w, q);
}

static void put_attach(struct wire *w, const void *q)
{
	attach_request_put(w, q);
}

static int receive_status(struct raw *r, enum message_type type)
{
	struct header h;
	struct wire in;

	assert_int_equal(raw_receive(r, &in), 0);
	header_get(&in, &h);
	assert_int_equal(h.type, type);
	return h.status;
}

/* A key that is asked for on one channel, while those on another end, does not keep a DETACH waiting. */
static void attach_beside_detach(void **state)
{
	struct attach_request again = { 0 };
	struct detach_request gone;
	struct rig *r = *state;
	struct crew owner, other;
	struct key key;
	const bool may_wait = crew_has_windows(); /* an invalidation has to come back */
	int rc, refused = 0;

	crew_start(r, patient);
	crew_open(&owner, r, 0);
	crew_open(&other, r, 2);
	gone.addr = again.addr = crew_alloc(&owner);
	key = share(&owner, gone.addr);
	gone.serial = again.serial = raw_serial(gone.addr);
	memcpy(again.key, key.bytes, sizeof(again.key));
	for (int round = 0; round < 8 || (may_wait && !refused && round < 200); round++) {
		attach(other.channels[0], gone.addr, &key);
		/* So that rmemd finds both, one after the other. */
		rig_freeze(r);
		send_request(other.control, MESSAGE_DETACH, put_detach, &gone);
		send_request(other.channels[1], MESSAGE_ATTACH, put_attach, &again);
		rig_thaw(r);
		assert_int_equal(receive_status(other.control, MESSAGE_DETACH), 0);
		rc = receive_status(other.channels[1], MESSAGE_ATTACH);
		assert_true(rc == 0 || rc == -ESTALE);
		refused += rc == -ESTALE;
		assert_int_equal(raw_detach(other.control, gone.addr), 0);
	}
	/* It came in between, or it cannot: regions are ended by a call. */
	print_message("%d refused\n", refused);
	assert_int_equal(refused > 0, may_wait);
	assert_int_equal(raw_free(owner.control, gone.addr), 0);
	crew_close(&other);
	crew_close(&owner);
	rig_end(r);
}

#define OTHERS 8U
#define EACH 12U /* channels: more grants in all than rmemd ends at once */

/* The next owner of the block finds it zeroed, and nobody of those before can touch it. */
static void free_ends_everybodys(void **state)
{
	static struct crew others[OTHERS];
	static uint32_t keys[OTHERS][EACH];
	struct rig *r = *state;
	struct crew owner, next;
	uint64_t addr;
	uint32_t mine;
	struct key key;

	crew_start(r, patient);
	crew_open(&owner, r, 1);
	crew_open(&next, r, 1);
	addr = crew_alloc(&owner);
	key = share(&owner, addr);
	mine = crew_attach(owner.channels[0], addr);
	for (unsigned i = 0; i < OTHERS; i++) {
		crew_open(&others[i], r, EACH);
		for (unsigned k = 0; k < EACH; k++)
			keys[i][k] = attach(others[i].channels[k], addr, &key);
	}
	crew_fill(others[3].channels[3], addr, keys[3][3], 77);
	crew_check(owner.channels[0], addr, mine, 77);
	assert_int_equal(raw_free(owner.control, addr), 0);
	rig_await_wiped(r);
	assert_true(crew_alloc(&next) == addr); /* the lowest of an empty pool */
	mine = crew_attach(next.channels[0], addr);
	crew_check(next.channels[0], addr, mine, 0);
	crew_fill(next.channels[0], addr, mine, 78);
	for (unsigned i = 0; i < OTHERS; i++) {
		for (unsigned k = 0; k < EACH; k++)
			crew_refused(others[i].channels[k], addr, keys[i][k]);
		crew_close(&others[i]);
	}
	crew_check(next.channels[0], addr, mine, 78);
	assert_int_equal(raw_free(next.control, addr), 0);
	crew_close(&next);
	crew_close(&owner);
	rig_end(r);
}

/* Many allocations of one owner go at once, all attached on the same few connections. */
static void many_at_once(void **state)
{
	static struct key keys[200];
	static uint64_t addrs[200];
	struct rig *r = *state;
	struct crew owner, other;

	crew_start(r, patient);
	for (unsigned round = 0; round < 2; round++) {
		crew_open(&owner, r, 0);
		crew_open(&other, r, 2);
		for (unsigned i = 0; i < 200; i++) {
			addrs[i] = crew_alloc(&owner);
			keys[i] = share(&owner, addrs[i]);
			attach(other.channels[i % 2], addrs[i], &keys[i]);
		}
		for (unsigned i = 0; i < 200; i++)
			assert_int_equal(raw_free(owner.control, addrs[i]), 0);
		/* Nobody was cut off for that. */
		assert_int_equal(raw_detach(other.control, addrs[0]), 0);
		assert_int_equal(attach_error(other.channels[0], addrs[0], &keys[0]), -ESTALE);
		crew_close(&owner);
		crew_close(&other);
	}
	rig_end(r);
}

/* ---- the owner goes ---- */

/* Who needs its memory waits until it has hung up, or has been: its connection can still reach it. */
static void the_owner_says_goodbye_and_stays(void **state)
{
	static const char *const options[] = { "--size", "16M", "--ttl", "10m", NULL };
	const uint64_t bytes = 4 << 20;
	struct rig *r = *state;
	struct crew owner, next;
	struct alloc_reply lent;
	unsigned n = 0;

	crew_start(r, options);
	crew_open(&owner, r, 0);
	crew_open(&next, r, 0);
	while (raw_alloc_only(owner.control, bytes, &lent) == 0)
		n++;
	assert_int_equal(n, 4);
	assert_int_equal(raw_alloc_only(next.control, bytes, &lent), -ENOSPC);
	assert_int_equal(raw_bye(owner.control), 0);
	assert_int_equal(raw_alloc_only(next.control, bytes, &lent), 0);
	assert_int_equal(rig_ask_number(r, "status", "counters.reclaimed_blocks"), n);
	crew_await_gone(&owner);
	assert_int_equal(raw_free(next.control, lent.addr), 0);
	crew_close(&next);
	rig_end(r);
}

/* Who only left may come back, and keeps what it has: whoever needs it is told so, after a while. */
static void the_owner_may_come_back(void **state)
{
	static const char *const options[] = { "--size", "16M", "--ttl", "10m", NULL };
	struct rig *r = *state;
	struct crew owner, next;
	struct alloc_reply lent;

	crew_start(r, options);
	crew_open(&owner, r, 0);
	crew_open(&next, r, 0);
	while (raw_alloc_only(owner.control, 4 << 20, &lent) == 0)
		;
	crew_drop(&owner);
	assert_int_equal(raw_alloc_only(next.control, 4 << 20, &lent), -ENOSPC);
	assert_int_equal(raw_open(r->port, &owner.session, &owner.control), 0);
	assert_int_equal(rig_ask_number(r, "status", "allocations.blocks"), 4);
	assert_int_equal(rig_ask_number(r, "status", "counters.reclaimed_blocks"), 0);
	raw_close(next.control);
	crew_drop(&owner);
	rig_stop(r, true);
}

static void the_owner_leaves_it_behind(void **state)
{
	static const char *const options[] = { "--size", "16M", "--ttl", "10m", NULL };
	struct rig *r = *state;
	struct crew owner, other, next;
	struct alloc_reply lent;
	uint64_t addr, all[64];
	uint32_t kept;
	struct key key;
	json_t *leaks;
	unsigned n = 0;
	int err;

	crew_start(r, options);
	crew_open(&owner, r, 1);
	crew_open(&other, r, 2);
	crew_open(&next, r, 1);
	addr = crew_alloc(&owner);
	key = share(&owner, addr);
	kept = attach(other.channels[0], addr, &key);
	crew_fill(other.channels[0], addr, kept, 11);
	crew_close(&owner);
	/* It is the owner's leak, and still there for those who have it. */
	crew_check(other.channels[0], addr, kept, 11);
	crew_check(other.channels[1], addr, attach(other.channels[1], addr, &key), 11);
	leaks = rig_ask(r, "leaks");
	assert_int_equal(rig_number(leaks, "summary.definite.blocks"), 1);
	rig_assert_accounted(leaks);
	json_decref(leaks);
	/* Under pressure it is taken back: from everybody first. */
	for (uint64_t bytes = 8 << 20; bytes >= CREW_BLOCK; bytes /= 2) {
		while (n < 64 && (err = raw_alloc_only(next.control, bytes, &lent)) == 0) {
			all[n++] = lent.addr;
			if (lent.addr <= addr && addr < lent.addr + bytes)
				break;
		}
	}
	assert_true(n > 0);
	assert_int_equal(attach_error(other.channels[0], addr, &key), -ESTALE);
	crew_refused(other.channels[0], addr, kept);
	while (n)
		assert_int_equal(raw_free(next.control, all[--n]), 0);
	crew_close(&next);
	crew_close(&other);
	rig_end(r);
}

/* ---- reading only, and revoking ---- */

/* The device refuses all but reads; each refusal costs a channel. */
static void to_read_only(void **state)
{
	static const enum ibv_wr_opcode writes[] = { IBV_WR_RDMA_WRITE, IBV_WR_ATOMIC_FETCH_AND_ADD,
		IBV_WR_ATOMIC_CMP_AND_SWP };
	struct rig *r = *state;
	struct crew owner, other;
	uint64_t addr, bytes;
	uint32_t mine, rkey;
	struct key key, all;

	crew_start(r, patient);
	crew_open(&owner, r, 1);
	crew_open(&other, r, 4);
	addr = crew_alloc(&owner);
	mine = crew_attach(owner.channels[0], addr);
	crew_fill(owner.channels[0], addr, mine, 7);
	all = share(&owner, addr);
	assert_int_equal(raw_share_to_read(owner.control, addr, key.bytes), 0);
	assert_memory_not_equal(key.bytes, all.bytes, sizeof(key));
	assert_int_equal(raw_lookup(other.control, addr, key.bytes, &bytes), 0);
	for (unsigned i = 0; i < 3; i++) {
		rkey = attach(other.channels[i], addr, &key);
		crew_check(other.channels[i], addr, rkey, 7);
		assert_int_equal(raw_access(other.channels[i], writes[i], addr, 8, rkey),
			IBV_WC_REM_ACCESS_ERR);
		assert_int_equal(raw_wait_gone(other.channels[i], RAW_LIMIT_NS), 0);
	}
	crew_check(owner.channels[0], addr, mine, 7);
	/* One connection has the rights of one key. */
	attach(other.channels[3], addr, &key);
	assert_int_equal(attach_error(other.channels[3], addr, &all), -EINVAL);
	assert_int_equal(raw_detach(other.control, addr), 0);
	rkey = attach(other.channels[3], addr, &all);
	crew_fill(other.channels[3], addr, rkey, 8);
	crew_check(owner.channels[0], addr, mine, 8);
	assert_int_equal(raw_free(owner.control, addr), 0);
	crew_close(&other);
	crew_close(&owner);
	rig_end(r);
}

/* Nobody but the owner has access when it is answered, nor later, with keys from before; also after a restart. */
static void revoked_shares(void **state)
{
	struct rig *r = *state;
	struct crew owner, others[2];
	struct key old, to_read, new;
	uint32_t mine, rkeys[2];
	uint64_t addr, bytes;

	crew_start(r, patient);
	crew_open(&owner, r, 1);
	addr = crew_alloc(&owner);
	mine = crew_attach(owner.channels[0], addr);
	old = share(&owner, addr);
	assert_int_equal(raw_share_to_read(owner.control, addr, to_read.bytes), 0);
	for (unsigned i = 0; i < 2; i++) {
		crew_open(&others[i], r, 3);
		rkeys[i] = attach(others[i].channels[0], addr, i ? &to_read : &old);
		attach(others[i].channels[1], addr, i ? &to_read : &old);
	}
	assert_int_equal(raw_unshare(others[0].control, addr), -ESTALE); /* not its own */
	assert_int_equal(raw_unshare(owner.control, addr), 0);
	assert_int_equal(rig_ask_number(r, "map", "blocks.0.attached_sessions"), 0);
	for (unsigned i = 0; i < 2; i++)
		crew_refused(others[i].channels[0], addr, rkeys[i]);
	assert_int_equal(attach_error(others[0].channels[2], addr, &old), -ESTALE);
	assert_int_equal(attach_error(others[0].channels[2], addr, &to_read), -ESTALE);
	assert_int_equal(raw_lookup(others[0].control, addr, old.bytes, &bytes), -EACCES);
	/* The owner has what it had. */
	crew_fill(owner.channels[0], addr, mine, 9);
	crew_check(owner.channels[0], addr, mine, 9);
	new = share(&owner, addr);
	assert_memory_not_equal(new.bytes, old.bytes, sizeof(new));
	attach(others[0].channels[2], addr, &new);
	rig_kill(r);
	crew_drop(&owner);
	crew_drop(&others[0]);
	crew_drop(&others[1]);
	crew_start(r, patient);
	crew_open(&others[0], r, 1);
	assert_int_equal(attach_error(others[0].channels[0], addr, &old), -ESTALE);
	attach(others[0].channels[0], addr, &new);
	assert_int_equal(raw_open(r->port, &owner.session, &owner.control), 0);
	assert_int_equal(raw_unshare(owner.control, addr), 0);
	assert_int_equal(raw_unshare(owner.control, addr), 0);
	assert_int_equal(attach_error(others[0].channels[0], addr, &new), -ESTALE);
	assert_int_equal(raw_free(owner.control, addr), 0);
	crew_close(&others[0]);
	crew_close(&owner);
	rig_end(r);
}

/* ---- objects of a slab ---- */

#define OBJECT_BYTES 100U

struct slab_of {
	uint64_t addr, serial;
	uint32_t rkey, slots, slot_bytes;
};

static struct slab_of open_slab(struct crew *owner)
{
	const struct alloc_request q = { .bytes = 2 * CREW_BLOCK,
		.size_class = (uint8_t)size_class_of(OBJECT_BYTES, 1) };
	struct alloc_reply lent;
	struct grant_reply g;
	struct slab_of s;

	assert_int_equal(RAW_ASK(owner->control, MESSAGE_ALLOC, alloc, &q, alloc, &lent), 0);
	raw_remember_slab(lent.addr, q.bytes, lent.serial);
	assert_int_equal(raw_attach(owner->channels[0], lent.addr, &g), 0);
	assert_int_equal(g.bytes, 2 * CREW_BLOCK);
	s = (struct slab_of){ lent.addr, lent.serial, g.rkey, slab_slots(q.size_class, q.bytes),
		size_class_bytes(q.size_class) };
	return s;
}

static uint64_t object_at(const struct slab_of *s, uint32_t slot)
{
	return s->addr + (uint64_t)slot * s->slot_bytes;
}

/* The owner says that there is an object, or none any more. */
static void record(struct crew *owner, const struct slab_of *s, uint32_t slot,
	enum object_state state, uint32_t generation)
{
	const struct object_record r = {
		.state = state, .generation = generation, .slack = s->slot_bytes - OBJECT_BYTES
	};
	const uint64_t word = object_record_pack(&r);
	struct raw *raw = owner->channels[0];

	memcpy(raw_data(raw), &word, sizeof(word));
	assert_int_equal(raw_access(raw, IBV_WR_RDMA_WRITE,
				 s->addr + (uint64_t)s->slots * s->slot_bytes + slot * 8ULL,
				 sizeof(word), s->rkey),
		IBV_WC_SUCCESS);
}

static uint32_t attach_object(struct raw *r, uint64_t addr, const struct key *key)
{
	struct grant_reply g;

	assert_int_equal(raw_attach_with(r, addr, key->bytes, &g), 0);
	assert_true(g.addr == addr);
	assert_int_equal(g.bytes, OBJECT_BYTES);
	assert_int_equal(
		raw_access(r, IBV_WR_RDMA_READ, addr, OBJECT_BYTES, g.rkey), IBV_WC_SUCCESS);
	return g.rkey;
}

/* An object is shared, detached and revoked by itself; a key to it reaches its bytes and no others. */
static void objects_of_a_slab(void **state)
{
	struct rig *r = *state;
	struct crew owner, other;
	uint64_t addr[3], bytes;
	struct key key[3], again;
	uint32_t rkey[3];
	struct slab_of s;

	crew_start(r, patient);
	crew_open(&owner, r, 1);
	crew_open(&other, r, 3);
	s = open_slab(&owner);
	for (uint32_t i = 0; i < 3; i++) {
		addr[i] = object_at(&s, i * 3);
		/* Nothing is there as long as its owner has not said so. */
		assert_int_equal(raw_share(owner.control, addr[i], key[i].bytes), -ESTALE);
		record(&owner, &s, i * 3, OBJECT_LIVE, 7);
		key[i] = share(&owner, addr[i]);
	}
	assert_int_equal(raw_share(owner.control, addr[0] + 8, again.bytes), -ESTALE);
	assert_int_equal(raw_share(owner.control, object_at(&s, s.slots), again.bytes), -ESTALE);
	assert_int_equal(raw_share(other.control, addr[0], again.bytes), -ESTALE);
	assert_int_equal(raw_lookup(other.control, addr[1], key[1].bytes, &bytes), 0);
	assert_int_equal(bytes, OBJECT_BYTES);
	assert_int_equal(raw_lookup(other.control, addr[1], key[2].bytes, &bytes), -EACCES);
	for (uint32_t i = 0; i < 3; i++)
		rkey[i] = attach_object(other.channels[0], addr[i], &key[i]);
	/* By the server's hand, too, only inside it. */
	assert_int_equal(raw_fill(other.control, raw_place(addr[1], 99, key[1].bytes), 7, 1), 0);
	assert_int_equal(
		raw_fill(other.control, raw_place(addr[1], 99, key[1].bytes), 7, 2), -EINVAL);
	/* One is detached, one revoked: the third works on. */
	assert_int_equal(raw_detach(other.control, addr[0]), 0);
	record(&owner, &s, 3, OBJECT_LIVE, 8);
	assert_int_equal(attach_error(other.channels[1], addr[1], &key[1]), -ESTALE);
	assert_int_equal(raw_unshare(owner.control, addr[1]), 0);
	assert_int_equal(
		raw_access(other.channels[0], IBV_WR_RDMA_READ, addr[2], OBJECT_BYTES, rkey[2]),
		IBV_WC_SUCCESS);
	crew_refused(other.channels[0], addr[1], rkey[1]);
	again = share(&owner, addr[1]);
	assert_memory_not_equal(again.bytes, key[1].bytes, sizeof(again));
	attach_object(other.channels[1], addr[1], &again);
	attach_object(other.channels[1], addr[0], &key[0]);
	if (!crew_has_windows()) { /* rxe does not keep the bounds of windows */
		rkey[2] = attach_object(other.channels[2], addr[2], &key[2]);
		assert_int_equal(raw_access(other.channels[2], IBV_WR_RDMA_READ, addr[2],
					 OBJECT_BYTES + 1, rkey[2]),
			IBV_WC_REM_ACCESS_ERR);
	}
	/* It is given up: nobody gets there any more. */
	record(&owner, &s, 0, OBJECT_FREED, 7);
	assert_int_equal(raw_unshare(owner.control, addr[0]), 0);
	assert_int_equal(raw_lookup(other.control, addr[0], key[0].bytes, &bytes), -EACCES);
	assert_int_equal(rig_ask_number(r, "map", "blocks.0.attached_sessions"), 1);
	assert_int_equal(raw_free(owner.control, s.addr), 0);
	assert_int_equal(attach_error(other.control, addr[1], &again), -ESTALE);
	crew_close(&other);
	crew_close(&owner);
	rig_end(r);
}

/* ---- restarts ---- */

/* Keys are the allocation's: they outlive rmemd and the owner's connections. */
static void a_restart_keeps_keys(void **state)
{
	struct rig *r = *state;
	struct crew owner, other;
	struct key key;
	uint64_t addr;

	crew_start(r, patient);
	crew_open(&owner, r, 0);
	addr = crew_alloc(&owner);
	key = share(&owner, addr);
	rig_kill(r);
	crew_drop(&owner);
	crew_start(r, patient);
	crew_open(&other, r, 1);
	attach(other.channels[0], addr, &key);
	assert_int_equal(raw_open(r->port, &owner.session, &owner.control), 0);
	assert_memory_equal(share(&owner, addr).bytes, key.bytes, sizeof(key));
	assert_int_equal(raw_free(owner.control, addr), 0);
	crew_close(&owner);
	crew_close(&other);
	rig_end(r);
}

/* ---- a channel that joins again ---- */

/* Whoever joins in another's place finds nothing left of that: what it had sent cannot land any more. */
static void a_channel_replaces_its_predecessor(void **state)
{
	struct rig *r = *state;
	uint32_t key, other;
	struct crew w;
	uint64_t addr;

	crew_start(r, patient);
	crew_open(&w, r, 1);
	addr = crew_alloc(&w);
	other = crew_attach(w.channels[0], addr);
	crew_fill(w.channels[0], addr, other, 3);
	for (w.session.channel = 1; w.session.channel < 4; w.session.channel++)
		crew_join(&w);
	for (int round = 0; round < 2; round++) { /* each waits until the device gives up */
		key = crew_attach(w.channels[2], addr);
		w.session.channel = 2;
		crew_join(&w);
		/* It is answered only now that the first is dead. */
		assert_int_not_equal(
			raw_access(w.channels[2], IBV_WR_RDMA_READ, addr, 8, key), IBV_WC_SUCCESS);
		crew_check(w.channels[4], addr, crew_attach(w.channels[4], addr), 3);
		raw_close(w.channels[2]);
		w.channels[2] = w.channels[4];
		w.nchannels = 4;
	}
	/* The others are still there. */
	crew_check(w.channels[0], addr, other, 3);
	crew_check(w.channels[1], addr, crew_attach(w.channels[1], addr), 3);
	crew_check(w.channels[3], addr, crew_attach(w.channels[3], addr), 3);
	assert_int_equal(raw_free(w.control, addr), 0);
	crew_close(&w);
	rig_end(r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(a_key_admits),
		RIG_TEST(nothing_else_does),
		RIG_TEST(detach_ends_this_session_only),
		RIG_TEST(attach_beside_detach),
		RIG_TEST(free_ends_everybodys),
		RIG_TEST(many_at_once),
		RIG_TEST(the_owner_says_goodbye_and_stays),
		RIG_TEST(the_owner_may_come_back),
		RIG_TEST(the_owner_leaves_it_behind),
		RIG_TEST(to_read_only),
		RIG_TEST(revoked_shares),
		RIG_TEST(objects_of_a_slab),
		RIG_TEST(a_restart_keeps_keys),
		RIG_TEST(a_channel_replaces_its_predecessor),
	};

	return crew_main(argc, argv, RIG_PORT_SHARE, tests, sizeof(tests) / sizeof(tests[0]));
}
