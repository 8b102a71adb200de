/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which sessions have grants on what: a target is an allocation that is reached, or an object of a slab, and an attachment
 * is one session's grants on it. The event loop only.
 */
#ifndef RMEM_SERVER_GRANT_ATTACHMENT_H
#define RMEM_SERVER_GRANT_ATTACHMENT_H

#include <stdbool.h>
#include <stdint.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct allocation;
struct grant;
struct grantee;
struct wait;

/* What is to be reached: all of an allocation, or an object of a slab. Its offset says which. */
struct reached {
	const struct allocation *allocation;
	uint64_t offset, bytes;
};

struct target_key {
	const struct allocation *allocation;
	uint64_t offset;
};

struct target {
	struct target_key key;
	struct attachment *attachments; /* none only while one has just gone */
	unsigned nattachments;
	struct wait *others; /* waits for those of other sessions than the owner's */
	UT_hash_handle hh;
};

struct attachment_key {
	const struct grantee *grantee;
	const struct target *target;
};

struct attachment {
	struct attachment_key key;
	struct target *target;
	struct grant
		*grants; /* one on each connection of the session and part at most, never none */
	struct attachment *prev, *next; /* of the target */
	UT_hash_handle hh;
};

struct attachments {
	struct target *targets; /* by allocation and offset */
	struct attachment *all; /* by session and target */
};

struct target *attachments_target(const struct attachments *s, const struct reached *what);
struct attachment *attachments_find(
	const struct attachments *s, const struct grantee *grantee, const struct reached *what);

/* The one that is there, or a new one, for a grant that is to be in it. NULL: out of memory. */
struct attachment *attachments_add(
	struct attachments *s, const struct grantee *grantee, const struct reached *what);

/* Without grants it goes. Its target stays, for those who wait there, until it is forgotten. True: it is gone. */
bool attachments_drop_if_empty(struct attachments *s, struct attachment *at);
void attachments_forget_if_unused(struct attachments *s, struct target *t);

void attachments_close(struct attachments *s);

#endif
