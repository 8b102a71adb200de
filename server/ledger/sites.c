/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/sites.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "server/ledger/ledger.h"
#include "server/ledger/slotmap.h"
#include "server/ledger/table.h"

struct sites {
	struct table table;
	struct slots slots;
	struct slotmap by_hash;
	struct site_holders holders;
	uint32_t rejected;
	uint32_t hand; /* clock hand: the search for a site to replace starts here */
};

static const struct site_record *record(const struct sites *s, uint32_t slot)
{
	return table_record(&s->table, slot);
}

static bool is_terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool frames_are_possible(const struct site_request *f)
{
	if (f->nframes == 0 || f->nframes > SITE_DEPTH_MAX || f->nmodules > SITE_DEPTH_MAX)
		return false;
	for (unsigned i = 0; i < f->nmodules; i++) {
		if (!is_terminated(f->modules[i].path, sizeof(f->modules[i].path)))
			return false;
	}
	for (unsigned i = 0; i < f->nframes; i++) {
		if (f->frames[i].module >= f->nmodules)
			return false;
	}
	return true;
}

static const struct site_module *module_of(const struct site_request *f, unsigned frame)
{
	return &f->modules[f->frames[frame].module];
}

static bool has_build_id(const struct site_module *m)
{
	static const uint8_t none[BUILD_ID_SIZE];

	return memcmp(m->build_id, none, BUILD_ID_SIZE) != 0;
}

static bool same_module(const struct site_module *a, const struct site_module *b)
{
	return memcmp(a->build_id, b->build_id, BUILD_ID_SIZE) == 0 &&
	       (has_build_id(a) || strcmp(a->path, b->path) == 0);
}

static bool same_frames(const struct site_request *a, const struct site_request *b)
{
	if (a->nframes != b->nframes)
		return false;
	for (unsigned i = 0; i < a->nframes; i++) {
		if (a->frames[i].offset != b->frames[i].offset ||
			!same_module(module_of(a, i), module_of(b, i)))
			return false;
	}
	return true;
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;

	while (n-- > 0)
		hash = (hash ^ *at++) * 0x100000001b3ULL;
	return hash;
}

/* Independent of padding, module numbering and this machine's byte order. */
static uint64_t hash_frames(const struct site_request *f)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (unsigned i = 0; i < f->nframes; i++) {
		const struct site_module *m = module_of(f, i);
		uint8_t offset[8];

		for (unsigned b = 0; b < 8; b++)
			offset[b] = (uint8_t)(f->frames[i].offset >> (8 * b));
		hash = hash_bytes(hash, m->build_id, BUILD_ID_SIZE);
		if (!has_build_id(m))
			hash = hash_bytes(hash, m->path, strlen(m->path) + 1);
		hash = hash_bytes(hash, offset, sizeof(offset));
	}
	return hash;
}

static uint32_t find(const struct sites *s, const struct site_request *frames, uint64_t hash)
{
	uint32_t slot = slotmap_first(&s->by_hash, slotmap_hash(hash));

	while (slot != SLOT_NONE && !same_frames(&record(s, slot)->frames, frames))
		slot = slotmap_next(&s->by_hash, slot);
	return slot;
}

static bool names_are_possible(const struct site_record *r)
{
	switch (r->state) {
	case SITE_FRAMES:
		return true;
	case SITE_NAMED:
		return fixed_names_are_possible(&r->names.fixed, r->frames.nframes);
	case SITE_PACKED:
		return packed_names_are_possible(&r->names.packed, r->frames.nframes);
	default:
		return false;
	}
}

static bool is_possible(const struct sites *s, const struct site_record *r)
{
	return frames_are_possible(&r->frames) && r->hash == hash_frames(&r->frames) &&
	       names_are_possible(r) && find(s, &r->frames, r->hash) == SLOT_NONE;
}

static void recover(struct sites *s)
{
	uint32_t begin = 0, end = 0;

	slots_set_aside(&s->slots, 0);
	while (table_next_extent(&s->table, end, &begin, &end)) {
		for (uint32_t slot = begin; slot < end; slot++) {
			const struct site_record *r = record(s, slot);

			if (r->state == SITE_FREE)
				continue;
			slots_set_aside(&s->slots, slot);
			if (slot == 0 || !is_possible(s, r)) {
				s->rejected++;
				continue;
			}
			slots_occupy(&s->slots, slot);
			slotmap_put(&s->by_hash, slot, slotmap_hash(r->hash));
			site_holders_found(&s->holders, slot);
		}
	}
}

/* Raise slots.high above all sites that the ledger names: find_room() checks holders only below slots.high. */
static void recover_named(struct sites *s, const struct ledger *ledger)
{
	for (uint32_t slot = SITES_MAX - 1; slot >= s->slots.high; slot--) {
		if (ledger_site_count(ledger, slot) == 0)
			continue;
		slots_set_aside(&s->slots, slot);
		slots_occupy(&s->slots, slot);
		slots_give(&s->slots, slot);
	}
}

int sites_open(struct sites **out, int dir, const char *name, const struct ledger *ledger)
{
	const struct table_layout layout = { .magic = { 'r', 'm', 'e', 'm', 's', 'i', 't', 'e' },
		.version = SITES_FORMAT,
		.oldest = SITES_OLDEST,
		.adopt_later = true, /* with the first names that an earlier rmemd cannot read */
		.record_bytes = sizeof(struct site_record),
		.count = SITES_MAX };
	struct sites *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	err = slots_create(&s->slots, SITES_MAX);
	if (!err)
		err = slotmap_create(&s->by_hash, SITES_MAX);
	if (!err)
		err = site_holders_create(&s->holders, ledger);
	if (!err)
		err = table_open(&s->table, dir, name, &layout, NULL);
	if (err) {
		sites_close(s);
		return err;
	}
	recover(s);
	recover_named(s, ledger);
	*out = s;
	return 0;
}

void sites_close(struct sites *s)
{
	if (!s)
		return;
	table_close(&s->table);
	site_holders_destroy(&s->holders);
	slotmap_destroy(&s->by_hash);
	slots_destroy(&s->slots);
	free(s);
}

uint32_t sites_rejected(const struct sites *s)
{
	return s->rejected;
}

/* Slots for a new site. */
struct room {
	uint32_t free;   /* number of slots without holders */
	uint32_t vacant; /* the lowest slot without a site; 0: none */
	uint32_t unheld; /* the next site without holders, from the clock hand on; 0: none */
};

static struct room find_room(const struct sites *s)
{
	const uint32_t high = s->slots.high;
	struct room room = { .free = SITES_MAX - high, .vacant = high < SITES_MAX ? high : 0 };

	/* Search downwards: the last match is the lowest. */
	for (uint32_t slot = high; slot-- > 1;) {
		if (slots_is_aside(&s->slots, slot) || site_holders_any(&s->holders, slot))
			continue;
		room.free++;
		if (!slots_has(&s->slots, slot))
			room.vacant = slot;
		else if (slot >= s->hand || room.unheld < s->hand)
			room.unheld = slot;
	}
	return room;
}

static void remove_site(struct sites *s, uint32_t slot)
{
	struct site_record *r = table_edit(&s->table, slot);

	__atomic_store_n(&r->state, SITE_FREE, __ATOMIC_RELEASE);
	slotmap_remove(&s->by_hash, slot);
	slots_give(&s->slots, slot);
	s->hand = slot + 1;
}

/* Take a vacant slot while there are few sites and the file can grow; else replace a site. */
static int take_slot(struct sites *s, const struct room *room, uint32_t *out)
{
	bool fresh = room->vacant && (s->slots.count < SITES_KEPT_MAX || !room->unheld);
	int err = fresh ? table_back(&s->table, room->vacant) : 0;
	uint32_t slot = fresh && !err ? room->vacant : room->unheld;

	if (!slot)
		return err ? err : -ENOSPC;
	if (slot == room->unheld)
		remove_site(s, slot);
	slots_set_aside(&s->slots, slot);
	slots_occupy(&s->slots, slot);
	*out = slot;
	return 0;
}

static int add(struct sites *s, const struct room *room, const struct site_request *frames,
	uint64_t hash, uint32_t *out)
{
	struct site_record *r;
	int err = take_slot(s, room, out);

	if (err)
		return err;
	r = table_edit(&s->table, *out);
	/* No store below may move before the store that made this record FREE. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	r->hash = hash;
	r->frames = *frames;
	__atomic_store_n(&r->state, SITE_FRAMES, __ATOMIC_RELEASE);
	slotmap_put(&s->by_hash, *out, slotmap_hash(hash));
	return 0;
}

static int check_share(
	const struct sites *s, const struct site_holder *holder, const struct room *room)
{
	const uint64_t share = site_holder_share(&s->holders, holder);

	if (share >= SESSION_SITES_MAX * SITE_WHOLE)
		return -EDQUOT;
	return 4 * share >= (uint64_t)room->free * SITE_WHOLE ? -ENOSPC : 0;
}

int sites_intern(struct sites *s, struct site_holder *holder, const struct site_request *frames,
	uint32_t *out_site)
{
	uint64_t hash;
	uint32_t slot;
	int err = 0;

	if (!frames_are_possible(frames))
		return -EINVAL;
	if (holder->over)
		return -EPERM;
	hash = hash_frames(frames);
	slot = find(s, frames, hash);
	if (slot == SLOT_NONE || !site_holders_any(&s->holders, slot)) {
		const struct room room = find_room(s);

		err = check_share(s, holder, &room);
		if (!err && slot == SLOT_NONE)
			err = add(s, &room, frames, hash, &slot);
	}
	if (!err)
		err = site_holder_tell(&s->holders, holder, slot);
	if (!err)
		*out_site = slot;
	return err;
}

bool sites_knows(const struct sites *s, const struct site_holder *holder, uint32_t site)
{
	return sites_get(s, site) && site_holder_knows(&s->holders, holder, site);
}

void sites_recover_holder(struct sites *s, struct site_holder *holder)
{
	site_holder_recover(&s->holders, holder);
}

void sites_release(struct sites *s, struct site_holder *holder)
{
	site_holder_release(&s->holders, holder);
}

void sites_give_up(struct sites *s, struct site_holder *holder)
{
	site_holder_release(&s->holders, holder);
	holder->over = true;
}

bool sites_are_held(const struct site_holder *holder)
{
	return holder->from_before || holder->told.levels;
}

int sites_set_names(
	struct sites *s, const struct site_holder *holder, const struct site_names_request *names)
{
	struct site_record *r;

	if (!sites_knows(s, holder, names->site))
		return -ENOENT;
	if (!site_names_are_possible(names, sites_get(s, names->site)->frames.nframes))
		return -EINVAL;
	if (sites_named(s, names->site))
		return 0;
	table_adopt(&s->table);
	r = table_edit(&s->table, names->site);
	packed_names_put(&r->names.packed, names);
	__atomic_store_n(&r->state, SITE_PACKED, __ATOMIC_RELEASE);
	return 0;
}

bool sites_named(const struct sites *s, uint32_t site)
{
	const struct site_record *r = sites_get(s, site);

	return r && r->state != SITE_FRAMES;
}

bool sites_next_name(const struct site_record *r, unsigned *cursor, struct site_name *out)
{
	if (r->state == SITE_NAMED)
		return fixed_names_next(&r->names.fixed, cursor, out);
	return r->state == SITE_PACKED && packed_names_next(&r->names.packed, cursor, out);
}

const struct site_record *sites_get(const struct sites *s, uint32_t site)
{
	return slots_has(&s->slots, site) ? record(s, site) : NULL;
}

uint32_t sites_high(const struct sites *s)
{
	return s->slots.high;
}

uint32_t sites_count(const struct sites *s)
{
	return s->slots.count;
}
