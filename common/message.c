/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/message.h"

#include <string.h>

#define PUT_FIELD(kind, name, ...) PUT_##kind(name, __VA_ARGS__)
#define PUT_u8(name, ...) wire_put_u8(w, m->name);
#define PUT_u16(name, ...) wire_put_u16(w, m->name);
#define PUT_u32(name, ...) wire_put_u32(w, m->name);
#define PUT_u64(name, ...) wire_put_u64(w, m->name);
#define PUT_i32(name, ...) wire_put_u32(w, (uint32_t)m->name);
#define PUT_bytes(name, size) wire_put_bytes(w, m->name, size);
#define PUT_text(name, size) wire_put_text(w, m->name);
#define PUT_blob(name, max) \
	wire_put_u16(w, m->name##_bytes); \
	if (m->name##_bytes <= (max)) \
		wire_put_bytes(w, m->name, m->name##_bytes); \
	else \
		w->failed = true;
#define PUT_message(name, type) type##_put(w, &m->name);
#define PUT_list(name, type, max) \
	wire_put_u8(w, m->n##name); \
	if (m->n##name > (max)) \
		w->failed = true; \
	for (unsigned i = 0; i < m->n##name && !w->failed; i++) \
		type##_put(w, &m->name[i]);

#define GET_FIELD(kind, name, ...) GET_##kind(name, __VA_ARGS__)
#define GET_u8(name, ...) m->name = wire_get_u8(w);
#define GET_u16(name, ...) m->name = wire_get_u16(w);
#define GET_u32(name, ...) m->name = wire_get_u32(w);
#define GET_u64(name, ...) m->name = wire_get_u64(w);
#define GET_i32(name, ...) m->name = (int32_t)wire_get_u32(w);
#define GET_bytes(name, size) wire_get_bytes(w, m->name, size);
#define GET_text(name, size) wire_get_text(w, m->name, size);
#define GET_blob(name, max) \
	m->name##_bytes = wire_get_u16(w); \
	if (m->name##_bytes > (max)) { \
		m->name##_bytes = 0; \
		w->failed = true; \
	} \
	wire_get_bytes(w, m->name, m->name##_bytes);
#define GET_message(name, type) type##_get(w, &m->name);
#define GET_list(name, type, max) \
	m->n##name = wire_get_u8(w); \
	if (m->n##name > (max)) { \
		m->n##name = 0; \
		w->failed = true; \
	} \
	for (unsigned i = 0; i < m->n##name; i++) \
		type##_get(w, &m->name[i]);

#define DEFINE_MESSAGE(name, FIELDS) \
	void name##_put(struct wire *w, const struct name *m) \
	{ \
		FIELDS(PUT_FIELD) \
	} \
	void name##_get(struct wire *w, struct name *m) \
	{ \
		memset(m, 0, sizeof(*m)); \
		FIELDS(GET_FIELD) \
	}
MESSAGES(DEFINE_MESSAGE)

const char *message_name(uint8_t type)
{
	static const char *const names[] = {
		[MESSAGE_HELLO] = "hello",
		[MESSAGE_BYE] = "bye",
		[MESSAGE_ALLOC] = "alloc",
		[MESSAGE_FREE] = "free",
		[MESSAGE_ATTACH] = "attach",
		[MESSAGE_RENEW] = "renew",
		[MESSAGE_SITE] = "site",
		[MESSAGE_SITE_NAMES] = "site-names",
		[MESSAGE_REPORT] = "report",
		[MESSAGE_REPORT_READ] = "report-read",
		[MESSAGE_JOIN] = "join",
		[MESSAGE_SHARE] = "share",
		[MESSAGE_LOOKUP] = "lookup",
		[MESSAGE_DETACH] = "detach",
		[MESSAGE_FENCE] = "fence",
		[MESSAGE_UNSHARE] = "unshare",
		[MESSAGE_COPY] = "copy",
		[MESSAGE_FILL] = "fill",
		[MESSAGE_OFFER] = "offer",
		[MESSAGE_ACCEPT] = "accept",
		[MESSAGE_RELEASE] = "release",
		[MESSAGE_REVISE] = "revise",
		[MESSAGE_TELL] = "tell",
	};

	if (type >= sizeof(names) / sizeof(names[0]) || !names[type])
		return "unknown";
	return names[type];
}
