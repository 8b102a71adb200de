/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/ledger/table.h"

#define FRAMES_MAX (sizeof(((struct history_line *)0)->frames) / sizeof(struct site_name))

/* Newest lines that find() searches. */
#define FIND_MAX 64

struct history {
	struct table table;
	uint64_t last_id;
	uint32_t count, news;
};

_Static_assert(sizeof(struct history_line) % sizeof(uint64_t) == 0, "sums are over words");

static const struct history_line *line_of(const struct history *h, uint64_t id)
{
	return table_record(&h->table, (uint32_t)(id % HISTORY_MAX));
}

static struct history_line *edit_line(struct history *h, uint64_t id)
{
	return table_edit(&h->table, (uint32_t)(id % HISTORY_MAX));
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
		line->id % HISTORY_MAX != slot || line->id == 0 || line->id == UINT64_MAX ||
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

static void recover(struct history *h)
{
	uint32_t begin = 0, end = 0;

	while (table_next_extent(&h->table, end, &begin, &end)) {
		for (uint32_t slot = begin; slot < end; slot++) {
			const struct history_line *line = table_record(&h->table, slot);

			if (line->state == HISTORY_NONE)
				continue;
			if (!is_possible(line, slot)) {
				edit_line(h, slot)->state = HISTORY_NONE;
				continue;
			}
			h->count++;
			h->news += line->state == HISTORY_NEWS;
			h->last_id = line->id > h->last_id ? line->id : h->last_id;
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
	int err;

	if (!h)
		return -ENOMEM;
	err = table_open(&h->table, dir, name, &layout, NULL);
	/* A bad history must not make the other files unusable. */
	if (err == -EUCLEAN && unlinkat(dir, name, 0) == 0)
		err = table_open(&h->table, dir, name, &layout, NULL);
	if (err && !was_there)
		unlinkat(dir, name, 0);
	if (err) {
		free(h);
		return err;
	}
	recover(h);
	*out = h;
	return 0;
}

void history_close(struct history *h)
{
	if (!h)
		return;
	table_close(&h->table);
	free(h);
}

/* The unacknowledged line of this session and site among the newest FIND_MAX lines, or NULL. */
static struct history_line *find(
	struct history *h, const struct session_record *session, uint64_t site_hash)
{
	for (uint64_t id = h->last_id; id && h->last_id - id < FIND_MAX; id--) {
		const struct history_line *line = line_of(h, id);

		if (line->state == HISTORY_NEWS && line->id == id &&
			line->session_serial == session->serial && line->site_hash == site_hash)
			return edit_line(h, id);
	}
	return NULL;
}

static void set_frames(struct history_line *line, const struct site_record *site)
{
	uint32_t n = site ? site->names.nnames : 0; /* 0: names unknown */

	line->nframes = n < FRAMES_MAX ? n : FRAMES_MAX;
	if (site)
		memcpy(line->frames, site->names.names, line->nframes * sizeof(line->frames[0]));
}

/* Overwrite the oldest line. NULL: the file cannot grow. */
static struct history_line *begin_line(struct history *h, const struct session_record *session,
	const struct site_record *site, const struct allocation *a)
{
	const uint64_t id = h->last_id + 1;
	struct history_line *line = edit_line(h, id);

	if (table_back(&h->table, (uint32_t)(id % HISTORY_MAX)))
		return NULL;
	h->count -= line->state != HISTORY_NONE;
	h->news -= line->state == HISTORY_NEWS;
	__atomic_store_n(&line->state, HISTORY_NONE, __ATOMIC_SEQ_CST);
	memset(line, 0, sizeof(*line));
	line->id = id;
	line->session_state = session->state;
	line->evidence = session->evidence;
	line->session_serial = session->serial;
	line->site_hash = site ? site->hash : 0;
	line->since_ns = session->state_since_ns;
	line->born_ns = a->birth_ns;
	line->identity = session->identity;
	set_frames(line, site);
	line->check = check_of(line);
	h->last_id = id;
	return line;
}

void history_note(struct history *h, const struct session_record *session,
	const struct site_record *site, const struct allocation *a, uint64_t now_ns)
{
	struct history_line *line = find(h, session, site ? site->hash : 0);
	const bool fresh = !line;

	if (fresh)
		line = begin_line(h, session, site, a);
	if (!line)
		return;
	line->taken_ns = now_ns;
	line->born_ns = a->birth_ns < line->born_ns ? a->birth_ns : line->born_ns;
	line->blocks++;
	line->bytes += a->bytes;
	line->block_bytes += allocation_block_bytes(a);
	if (!fresh)
		return;
	__atomic_store_n(&line->state, HISTORY_NEWS, __ATOMIC_SEQ_CST);
	h->count++;
	h->news++;
}

const struct history_line *history_next(const struct history *h, uint64_t *cursor)
{
	uint64_t id = *cursor ? *cursor - 1 : h ? h->last_id : 0;

	for (; id && h->last_id - id < HISTORY_MAX; id--) {
		const struct history_line *line = line_of(h, id);

		if (line->state != HISTORY_NONE && line->id == id) {
			*cursor = id;
			return line;
		}
	}
	return NULL;
}

uint32_t history_count(const struct history *h)
{
	return h ? h->count : 0;
}

uint32_t history_news(const struct history *h)
{
	return h ? h->news : 0;
}

static void acknowledge(struct history *h, struct history_line *line)
{
	if (line->state != HISTORY_NEWS)
		return;
	__atomic_store_n(&line->state, HISTORY_ACKNOWLEDGED, __ATOMIC_SEQ_CST);
	h->news--;
}

int history_acknowledge(struct history *h, uint64_t id)
{
	const struct history_line *line;

	if (id == HISTORY_ALL) {
		for (uint64_t cursor = 0; history_next(h, &cursor);)
			acknowledge(h, edit_line(h, cursor));
		return 0;
	}
	line = line_of(h, id);
	if (line->state == HISTORY_NONE || line->id != id)
		return -ENOENT;
	acknowledge(h, edit_line(h, id));
	return 0;
}
