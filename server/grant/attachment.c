/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/grant/attachment.h"

#include <stdlib.h>
#include <utlist.h>

/* NOLINTBEGIN(clang-analyzer-*): the analyzer does not follow uthash */
struct target *attachments_target(const struct attachments *s, const struct reached *what)
{
	const struct target_key key = { what->allocation, what->offset };
	struct target *found;

	HASH_FIND(hh, s->targets, &key, sizeof(key), found);
	return found;
}

struct attachment *attachments_find(
	const struct attachments *s, const struct grantee *grantee, const struct reached *what)
{
	const struct attachment_key key = { grantee, attachments_target(s, what) };
	struct attachment *found = NULL;

	if (key.target)
		HASH_FIND(hh, s->all, &key, sizeof(key), found);
	return found;
}

void attachments_forget_if_unused(struct attachments *s, struct target *t)
{
	if (t->attachments)
		return;
	HASH_DEL(s->targets, t);
	free(t);
}

static struct target *use_target(struct attachments *s, const struct reached *what)
{
	struct target *t = attachments_target(s, what);

	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->key = (struct target_key){ what->allocation, what->offset };
	HASH_ADD(hh, s->targets, key, sizeof(t->key), t);
	if (!t->hh.tbl) { /* the hash table could not grow */
		free(t);
		return NULL;
	}
	return t;
}

static struct attachment *add(
	struct attachments *s, struct target *t, const struct grantee *grantee)
{
	struct attachment *at = calloc(1, sizeof(*at));

	if (!at)
		return NULL;
	at->key = (struct attachment_key){ grantee, t };
	at->target = t;
	HASH_ADD(hh, s->all, key, sizeof(at->key), at);
	if (!at->hh.tbl) {
		free(at);
		return NULL;
	}
	DL_APPEND(t->attachments, at);
	t->nattachments++;
	return at;
}

struct attachment *attachments_add(
	struct attachments *s, const struct grantee *grantee, const struct reached *what)
{
	struct attachment *at = attachments_find(s, grantee, what);
	struct target *t = at ? at->target : use_target(s, what);

	if (at || !t)
		return at;
	at = add(s, t, grantee);
	if (!at)
		attachments_forget_if_unused(s, t);
	return at;
}

bool attachments_drop_if_empty(struct attachments *s, struct attachment *at)
{
	if (at->grants)
		return false;
	at->target->nattachments--;
	DL_DELETE(at->target->attachments, at);
	HASH_DEL(s->all, at);
	free(at);
	return true;
}

/* Those that are left are of grants whose end the device never confirmed. */
void attachments_close(struct attachments *s)
{
	struct attachment *at, *next_at;
	struct target *t, *next;

	HASH_ITER (hh, s->all, at, next_at) {
		HASH_DEL(s->all, at);
		free(at);
	}
	HASH_ITER (hh, s->targets, t, next) {
		HASH_DEL(s->targets, t);
		free(t);
	}
}

/* NOLINTEND(clang-analyzer-*) */
