/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/ledger/slotmap.h"
#include "server/ledger/table.h"

#define FRAMES_MAX (sizeof(((struct history_line *)0)->frames) / sizeof(struct stored_name))

struct history {
	struct table table;
	struct slotmap by_holder;     /* lines that are news, by session and site */
	uint64_t ids[HISTORY_MAX];    /* by slot; 0: no line */
	uint8_t is_news[HISTORY_MAX]; /* by slot */
	uint64_t last_id;
	uint32_t count, news;
	uint32_t rejected;
};

_Static_assert(sizeof(struct history_line) % sizeof(uint64_t) == 0, "sums are over words");

static const struct history_line *line_at(const struct history *h, uint32_t slot)
{
	return table_record(&h->table, slot);
}

/* Excludes counts and names: a kill between stores of the counts must not invalidate the line. */
static uint64_t check_of(const struct history_line *line)
{
	struct history_line copy;

	memset(&copy, 0, sizeof(copy));
	memcpy(&copy, line, offsetof(struct history_line, check));
	copy.state = 0;
	memcpy(&copy.identity, &line->identity, sizeof(copy.identity));
	return table_sum(&copy, sizeof(copy));
}

static bool is_terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool is_possible(const struct history_line *line, uint32_t slot)
{
	const struct identity *who = &line->identity;

	if ((line->state != HISTORY_NEWS && line->state != HISTORY_ACKNOWLEDGED) ||
		line->id % HISTORY_MAX != slot || line->id == 0 || line->id > INT64_MAX ||
		line->nframes > FRAMES_MAX || line->check != check_of(line))
		return false;
	for (unsigned i = 0; i < line->nframes; i++) {
		if (!is_terminated(line->frames[i].function, sizeof(line->frames[i].function)) ||
			!is_terminated(line->frames[i].file, sizeof(line->frames[i].file)))
			return false;
	}
	return is_terminated(who->host, sizeof(who->host)) &&
	       is_terminated(who->exe, sizeof(who->exe)) &&
	       is_terminated(who->cmdline, sizeof(who->cmdline)) &&
	       is_terminated(who->job, sizeof(who->job));
}

/* ---- which lines there are ---- */

static uint32_t hash_of(uint64_t session_serial, uint64_t site_hash)
{
	return slotmap_hash(session_serial ^ slotmap_hash(site_hash));
}

static void add_line(struct history *h, uint32_t slot)
{
	const struct history_line *line = line_at(h, slot);

	h->ids[slot] = line->id;
	h->last_id = line->id > h->last_id ? line->id : h->last_id;
	h->count++;
	if (line->state != HISTORY_NEWS)
		return;
	h->is_news[slot] = 1;
	h->news++;
	slotmap_put(&h->by_holder, slot, hash_of(line->session_serial, line->site_hash));
}

static void end_news(struct history *h, uint32_t slot)
{
	if (!h->is_news[slot])
		return;
	slotmap_remove(&h->by_holder, slot);
	h->is_news[slot] = 0;
	h->news--;
}

static void remove_line(struct history *h, uint32_t slot)
{
	end_news(h, slot);
	h->count -= h->ids[slot] != 0;
	h->ids[slot] = 0;
}

static void recover(struct history *h)
{
	uint32_t begin = 0, end = 0;

	while (table_next_extent(&h->table, end, &begin, &end)) {
		for (uint32_t slot = begin; slot < end; slot++) {
			const struct history_line *line = line_at(h, slot);

			if (line->state == HISTORY_NONE)
				continue;
			if (is_possible(line, slot)) {
				add_line(h, slot);
				continue;
			}
			((struct history_line *)table_edit(&h->table, slot))->state = HISTORY_NONE;
			h->rejected++;
		}
	}
}

int history_open(struct history **out, int dir, const char *name)
{
	const struct table_layout layout = { .magic = { 'r', 'm', 'e', 'm', 'h', 'i', 's', 't' },
		.version = HISTORY_FORMAT,
		.record_bytes = sizeof(struct history_line),
		.count = HISTORY_MAX };
	struct history *h = calloc(1, sizeof(*h));
	const bool was_there = faccessat(dir, name, F_OK, 0) == 0;
	bool replaced = false;
	int err;

	if (!h)
		return -ENOMEM;
	err = slotmap_create(&h->by_holder, HISTORY_MAX);
	/* A bad history must not make the other files unusable. */
	if (!err)
		err = table_open_or_replace(&h->table, dir, name, &layout, &replaced);
	if (!err)
		err = table_back_all(&h->table);
	if (err) {
		history_close(h);
		if (!was_there)
			unlinkat(dir, name, 0);
		return err;
	}
	recover(h);
	h->rejected += replaced; /* one at least */
	*out = h;
	return 0;
}

void history_close(struct history *h)
{
	if (!h)
		return;
	table_close(&h->table);
	slotmap_destroy(&h->by_holder);
	free(h);
}

uint32_t history_rejected(const struct history *h)
{
	return h ? h->rejected : 0;
}

void history_reserve_serials(const struct history *h, struct sessions *sessions)
{
	for (uint32_t slot = 0; slot < HISTORY_MAX; slot++)
		if (h->ids[slot])
			sessions_skip(sessions, line_at(h, slot)->session_serial);
}

/* ---- what is reclaimed ---- */

/* The slot of the line that is news of this session and site, or SLOT_NONE. */
static uint32_t find(
	const struct history *h, const struct session_record *session, uint64_t site_hash)
{
	uint32_t slot = slotmap_first(&h->by_holder, hash_of(session->serial, site_hash));

	while (slot != SLOT_NONE && (line_at(h, slot)->session_serial != session->serial ||
					    line_at(h, slot)->site_hash != site_hash))
		slot = slotmap_next(&h->by_holder, slot);
	return slot;
}

static void set_frames(struct history_line *line, const struct site_record *site)
{
	struct site_name name;
	unsigned cursor = 0;

	line->nframes = 0;
	while (site && line->nframes < FRAMES_MAX && sites_next_name(site, &cursor, &name)) {
		struct stored_name *to = &line->frames[line->nframes++];

		site_names_cut(to->function, sizeof(to->function), name.function);
		memcpy(to->file, name.file, sizeof(to->file));
		to->line = name.line;
	}
}

/* For a new line: the next slot without news; if all are news, that of the oldest. */
static uint32_t choose_slot(const struct history *h)
{
	const uint32_t next = (uint32_t)((h->last_id + 1) % HISTORY_MAX);
	const uint8_t *quiet = memchr(h->is_news + next, 0, HISTORY_MAX - next);
	uint32_t oldest = next;

	if (!quiet)
		quiet = memchr(h->is_news, 0, next);
	if (quiet)
		return (uint32_t)(quiet - h->is_news);
	for (uint32_t slot = 0; slot < HISTORY_MAX; slot++)
		if (h->ids[slot] < h->ids[oldest])
			oldest = slot;
	return oldest;
}

/* The next id that belongs to this slot: ids have gaps where a slot was passed over. */
static uint64_t next_id(const struct history *h, uint32_t slot)
{
	const uint64_t id = h->last_id + 1;

	return id + (slot + HISTORY_MAX - id % HISTORY_MAX) % HISTORY_MAX;
}

/* Not published: the caller stores its state. */
static struct history_line *begin_line(struct history *h, uint32_t slot,
	const struct session_record *session, const struct site_record *site,
	const struct history_loss *loss)
{
	struct history_line *line = table_edit(&h->table, slot);

	remove_line(h, slot);
	__atomic_store_n(&line->state, HISTORY_NONE, __ATOMIC_SEQ_CST);
	memset(line, 0, sizeof(*line));
	line->id = next_id(h, slot);
	line->session_state = session->state;
	line->evidence = session->evidence;
	line->session_serial = session->serial;
	line->site_hash = site ? site->hash : 0;
	line->since_ns = session->state_since_ns;
	line->born_ns = loss->born_ns;
	line->identity = session->identity;
	set_frames(line, site);
	line->check = check_of(line);
	return line;
}

void history_note_loss(struct history *h, const struct session_record *session,
	const struct site_record *site, const struct history_loss *loss, uint64_t now_ns)
{
	uint32_t slot = find(h, session, site ? site->hash : 0);
	const bool fresh = slot == SLOT_NONE;
	struct history_line *line;

	if (fresh)
		slot = choose_slot(h);
	line = fresh ? begin_line(h, slot, session, site, loss) : table_edit(&h->table, slot);
	line->taken_ns = now_ns;
	line->born_ns = loss->born_ns < line->born_ns ? loss->born_ns : line->born_ns;
	line->blocks += loss->blocks;
	line->bytes += loss->bytes;
	line->block_bytes += loss->block_bytes;
	if (!fresh)
		return;
	__atomic_store_n(&line->state, HISTORY_NEWS, __ATOMIC_SEQ_CST);
	add_line(h, slot);
}

void history_note(struct history *h, const struct session_record *session,
	const struct site_record *site, const struct allocation *a, uint64_t now_ns)
{
	const struct history_loss loss = { .blocks = 1,
		.bytes = a->bytes,
		.block_bytes = allocation_block_bytes(a),
		.born_ns = a->birth_ns };

	history_note_loss(h, session, site, &loss, now_ns);
}

/* ---- who looks at it ---- */

const struct history_line *history_next(const struct history *h, uint64_t *cursor)
{
	const uint64_t below = *cursor ? *cursor : UINT64_MAX;
	uint64_t id = 0;

	for (uint32_t slot = 0; h && slot < HISTORY_MAX; slot++)
		if (h->ids[slot] > id && h->ids[slot] < below)
			id = h->ids[slot];
	if (!id)
		return NULL;
	*cursor = id;
	return line_at(h, (uint32_t)(id % HISTORY_MAX));
}

uint32_t history_count(const struct history *h)
{
	return h ? h->count : 0;
}

uint32_t history_news(const struct history *h)
{
	return h ? h->news : 0;
}

uint64_t history_latest_ns(const struct history *h, uint64_t limit_ns, uint64_t checked_limit_ns)
{
	uint64_t latest_ns = 0;

	for (uint32_t slot = 0; h && slot < HISTORY_MAX; slot++) {
		const struct history_line *line = line_at(h, slot);

		if (!h->ids[slot])
			continue;
		if (line->taken_ns > latest_ns && line->taken_ns <= limit_ns)
			latest_ns = line->taken_ns;
		if (line->since_ns > latest_ns && line->since_ns <= checked_limit_ns)
			latest_ns = line->since_ns;
	}
	return latest_ns;
}

static void acknowledge(struct history *h, uint32_t slot)
{
	struct history_line *line;

	if (!h->is_news[slot])
		return;
	line = table_edit(&h->table, slot);
	__atomic_store_n(&line->state, HISTORY_ACKNOWLEDGED, __ATOMIC_SEQ_CST);
	end_news(h, slot);
}

int history_acknowledge(struct history *h, uint64_t id)
{
	const uint32_t slot = (uint32_t)(id % HISTORY_MAX);

	if (id != HISTORY_ALL && h->ids[slot] != id)
		return -ENOENT;
	for (uint32_t i = 0; i < HISTORY_MAX && id == HISTORY_ALL; i++)
		acknowledge(h, i);
	if (id != HISTORY_ALL)
		acknowledge(h, slot);
	return 0;
}
