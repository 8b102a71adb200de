/* SPDX-License-Identifier: BSD-3-Clause */
/* What others may free: of all that free it, one session succeeds, in whatever order, over lost answers and restarts. */
#include "tests/sim/verdict.h"

#include <errno.h>
#include <string.h>

#include "common/object_record.h"
#include "tests/sim/verdict_impl.h"
#include "tests/sim/window.h"

#define TOLD_MAX 4096

/* A key that admits to freeing, and which request has freed with it, or freed what it admitted to. */
struct told {
	uint64_t serial, record;
	uint8_t key[SHARE_KEY_SIZE];
	const struct owner *by; /* NULL: nobody yet */
	uint32_t seq;
};

static struct told all[TOLD_MAX];
static unsigned ntold;

void verdict_begin(void)
{
	ntold = 0;
	memset(all, 0, sizeof(all));
}

static struct told *find_key(uint64_t serial, const uint8_t key[SHARE_KEY_SIZE])
{
	for (unsigned i = 0; i < TOLD_MAX; i++)
		if (all[i].serial == serial && memcmp(all[i].key, key, SHARE_KEY_SIZE) == 0)
			return &all[i];
	return NULL;
}

void verdict_told_key(const struct block *b, const uint8_t key[SHARE_KEY_SIZE], uint64_t record)
{
	struct told *t = find_key(b->serial, key);

	if (t)
		return;
	t = &all[ntold++ % TOLD_MAX];
	*t = (struct told){ .serial = b->serial, .record = record };
	memcpy(t->key, key, SHARE_KEY_SIZE);
}

void verdict_forget_keys(uint64_t serial)
{
	for (unsigned i = 0; i < TOLD_MAX; i++)
		if (all[i].serial == serial)
			all[i].serial = 0;
}

static bool is_zero(const uint8_t key[SHARE_KEY_SIZE])
{
	static const uint8_t zero[SHARE_KEY_SIZE];

	return memcmp(key, zero, sizeof(zero)) == 0;
}

/* Does the key admit to freeing it, now? */
static bool may_free(const struct block *b, const struct release_request *q)
{
	bool read_only;

	return b && b->addr == q->addr && b->state == BLOCK_LENT && b->shares.to_free &&
	       memcmp(b->shares.free_key, q->key, SHARE_KEY_SIZE) == 0 &&
	       model_key_admits(b, q->key, &read_only);
}

void verdict_releases(struct link *link, const struct request *q)
{
	struct block *b;

	if (q->type == MESSAGE_REVISE) {
		b = verdict_own(link, q->revise.addr, q->revise.serial);
		if (b)
			b->revise_asked = true;
		return;
	}
	b = model_block(q->release.serial);
	if (b && is_zero(q->release.key) && b->owner == link->owner && b->addr == q->release.addr)
		b->free_asked = true;
	if (!may_free(b, &q->release))
		return;
	if (b->size_class)
		b->revise_asked = true;
	else
		b->free_asked = true;
}

/* No key of another session's than the owner's reaches it. */
static void require_out_of_reach(const struct link *link, const struct block *b)
{
	for (struct window *w = NULL; (w = window_next(w)) != NULL;)
		require(link, !w->bound || w->serial != b->serial || w->link->owner == b->owner,
			"answered while a key of another session reaches it");
}

static void note(const struct link *link, struct told *t)
{
	require(link, !t->by || (t->by == link->owner && t->seq == link->question.seq),
		"it is freed twice");
	t->by = link->owner;
	t->seq = link->question.seq;
}

void verdict_owner_freed(const struct link *link, uint64_t serial)
{
	for (unsigned i = 0; i < TOLD_MAX; i++)
		if (all[i].serial == serial && !all[i].record)
			note(link, &all[i]);
}

void verdict_release(struct link *link, int status)
{
	const struct release_request *q = &link->question.release;
	struct told *t;
	struct block *b;

	model_sync();
	b = model_block(q->serial);
	if (is_zero(q->key)) {
		require(link,
			status != -EINVAL || !b || b->owner != link->owner || b->size_class ||
				b->addr != q->addr || b->state != BLOCK_LENT,
			"refused, and it is its own");
		if (!status && link->honest)
			verdict_owner_freed(link, q->serial);
		return;
	}
	t = find_key(q->serial, q->key);
	if (!status && link->honest) {
		require(link, t || !b || ntold >= TOLD_MAX || b->revise_asked || b->free_asked,
			"freed, and its key was told to nobody");
		if (t)
			note(link, t);
		if (b && b->size_class && b->state == BLOCK_LENT)
			require_out_of_reach(link, b);
	}
	/* What is being taken back from its owner is freed by nobody else. */
	require(link,
		!status || status == -EIO || !may_free(b, q) ||
			(status == -ESTALE && !owner_has_connection(b->owner)),
		"refused, and it may free it");
}

void verdict_revise(struct link *link, int status, struct wire *in)
{
	const struct revise_request *q = &link->question.revise;
	struct revise_reply r;

	revise_reply_get(in, &r);
	if (status || r.record != q->after || object_record_state(q->after) != OBJECT_FREED)
		return;
	/* The owner has freed it, now or before. */
	for (unsigned i = 0; i < TOLD_MAX; i++) {
		struct told *t = &all[i];

		if (t->serial != q->serial || t->record != q->before)
			continue;
		require(link, !t->by || t->by == link->owner, "it is freed twice");
		t->by = link->owner;
	}
}
