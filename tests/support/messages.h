/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Made from the same lists as the codec, so that a message added there is tested and fuzzed without
 * a further line: for each message NAME_fill() (random or largest contents), NAME_same() (field by
 * field) and an entry of message_kinds[], which works on messages through void pointers.
 */
#ifndef RMEM_TESTS_MESSAGES_H
#define RMEM_TESTS_MESSAGES_H

#include <stdbool.h>
#include <string.h>

#include "common/message.h"
#include "tests/support/random.h"

/* How full the lists, texts and blobs of a message are. */
enum fullness { FULL_RANDOMLY, FULL_TO_THE_BRIM };

static inline size_t pick_length(uint64_t *seed, enum fullness full, size_t max)
{
	return full == FULL_TO_THE_BRIM ? max : random_below(seed, max + 1);
}

static inline void fill_text(char *out, size_t size, uint64_t *seed, enum fullness full)
{
	size_t n = pick_length(seed, full, size - 1);

	for (size_t i = 0; i < n; i++)
		out[i] = (char)(1 + random_below(seed, 255));
	out[n] = '\0';
}

#define FILL_FIELD(kind, name, ...) FILL_##kind(name, __VA_ARGS__)
#define FILL_u8(name, ...) m->name = (uint8_t)random_u64(seed);
#define FILL_u16(name, ...) m->name = (uint16_t)random_u64(seed);
#define FILL_u32(name, ...) m->name = (uint32_t)random_u64(seed);
#define FILL_u64(name, ...) m->name = random_u64(seed);
#define FILL_i32(name, ...) m->name = (int32_t)random_u64(seed);
#define FILL_bytes(name, size) random_bytes(seed, m->name, size);
#define FILL_text(name, size) fill_text(m->name, size, seed, full);
#define FILL_blob(name, max) \
	m->name##_bytes = (uint16_t)pick_length(seed, full, max); \
	random_bytes(seed, m->name, m->name##_bytes);
#define FILL_message(name, type) type##_fill(&m->name, seed, full);
#define FILL_list(name, type, max) \
	m->n##name = (uint8_t)pick_length(seed, full, max); \
	for (unsigned i = 0; i < m->n##name; i++) \
		type##_fill(&m->name[i], seed, full);

#define SAME_FIELD(kind, name, ...) SAME_##kind(name, __VA_ARGS__)
#define SAME_u8(name, ...) same = same && a->name == b->name;
#define SAME_u16(name, ...) SAME_u8(name, )
#define SAME_u32(name, ...) SAME_u8(name, )
#define SAME_u64(name, ...) SAME_u8(name, )
#define SAME_i32(name, ...) SAME_u8(name, )
#define SAME_bytes(name, size) same = same && memcmp(a->name, b->name, size) == 0;
#define SAME_text(name, size) same = same && strncmp(a->name, b->name, size) == 0;
#define SAME_blob(name, max) \
	same = same && a->name##_bytes == b->name##_bytes && \
	       memcmp(a->name, b->name, a->name##_bytes) == 0;
#define SAME_message(name, type) same = same && type##_same(&a->name, &b->name);
#define SAME_list(name, type, max) \
	same = same && a->n##name == b->n##name; \
	for (unsigned i = 0; same && i < a->n##name; i++) \
		same = type##_same(&a->name[i], &b->name[i]);

#define DEFINE_SUPPORT(type, FIELDS) \
	static inline void type##_fill(struct type *m, uint64_t *seed, enum fullness full) \
	{ \
		memset(m, 0, sizeof(*m)); \
		(void)full; \
		FIELDS(FILL_FIELD) \
	} \
	static inline bool type##_same(const struct type *a, const struct type *b) \
	{ \
		bool same = true; \
\
		FIELDS(SAME_FIELD) \
		return same; \
	} \
	static inline void type##_fill_any(void *m, uint64_t *seed, enum fullness full) \
	{ \
		type##_fill((struct type *)m, seed, full); \
	} \
	static inline bool type##_same_any(const void *a, const void *b) \
	{ \
		return type##_same((const struct type *)a, (const struct type *)b); \
	} \
	static inline void type##_put_any(struct wire *w, const void *m) \
	{ \
		type##_put(w, (const struct type *)m); \
	} \
	static inline void type##_get_any(struct wire *w, void *m) \
	{ \
		type##_get(w, (struct type *)m); \
	}
MESSAGES(DEFINE_SUPPORT)

struct message_kind {
	const char *name;
	size_t struct_bytes;
	void (*fill)(void *m, uint64_t *seed, enum fullness full);
	bool (*same)(const void *a, const void *b);
	void (*put)(struct wire *w, const void *m);
	void (*get)(struct wire *w, void *m);
};

#define LIST_KIND(type, FIELDS) \
	{ #type, sizeof(struct type), type##_fill_any, type##_same_any, type##_put_any, \
		type##_get_any },
static const struct message_kind message_kinds[] = { MESSAGES(LIST_KIND) };

#define MESSAGE_KINDS (sizeof(message_kinds) / sizeof(message_kinds[0]))

/* Room for any message, decoded. */
#define UNION_MEMBER(type, FIELDS) struct type as_##type;
union any_message {
	MESSAGES(UNION_MEMBER)
};

#endif
