/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control protocol: what librmem and rmemctl say to rmemd in SENDs (docs/PROTOCOL.md).
 *
 * A message is a header and the fields listed below, in that order. One list per message makes its
 * struct, its encoder and its decoder, so that the three cannot disagree. A connection carries one
 * request at a time; the reply has the same type and sequence number.
 */
#ifndef RMEM_COMMON_MESSAGE_H
#define RMEM_COMMON_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/wire.h"

#define PROTOCOL_MAGIC 0x726d656dU /* "rmem" */
#define PROTOCOL_VERSION 5
#define MESSAGE_MAX 4096 /* bytes; both sides post receive buffers of this size */

/* CM private data, zero-padded by the transport: fixed size, first thing either side reads. */
enum purpose { PURPOSE_SESSION = 1, PURPOSE_OBSERVER = 2, PURPOSE_CHANNEL = 3 };

#define PREAMBLE_FIELDS(X) \
	X(u32, magic, ) \
	X(u16, version, ) \
	X(u8, purpose, ) \
	X(u8, reserved, ) \
	X(i32, status, ) /* in a rejection: why, a negative errno */
#define PREAMBLE_SIZE 12

enum message_type {
	MESSAGE_HELLO = 1,
	MESSAGE_BYE,
	MESSAGE_ALLOC,
	MESSAGE_FREE,
	MESSAGE_ATTACH,
	MESSAGE_RENEW,
	MESSAGE_SITE,
	MESSAGE_SITE_NAMES,
	MESSAGE_REPORT,
	MESSAGE_REPORT_READ,
	MESSAGE_JOIN,
	MESSAGE_SHARE,
	MESSAGE_LOOKUP,
	MESSAGE_DETACH,
	MESSAGE_FENCE,
	MESSAGE_UNSHARE,
	MESSAGE_COPY,
	MESSAGE_FILL,
	MESSAGE_OFFER,
	MESSAGE_ACCEPT,
	MESSAGE_RELEASE,
	MESSAGE_REVISE,
	MESSAGE_TELL,
};

/* What a share key admits to. */
enum share_rights {
	SHARE_TO_WRITE, /* reading and writing, */
	SHARE_TO_READ,  /* reading only, */
	SHARE_TO_FREE,  /* reading, writing and freeing */
	SHARE_RIGHTS
};

/* When a session's records of its objects (common/object_record.h) reach the server. */
enum journal_mode {
	JOURNAL_LAZY,  /* before each renewal that says so (HEARTBEAT_JOURNALED) */
	JOURNAL_EXACT, /* and before the first data that is written to the object */
};

/* On which nodes memory is wanted: RMEM_POLICY_… of include/rmem/rmem.h. */
enum placement_policy {
	PLACEMENT_DEFAULT, /* any node, the one with most free memory first; if nodes are named, as BIND */
	PLACEMENT_LOCAL,      /* near the NIC of the session's connection */
	PLACEMENT_BIND,       /* on one of the nodes */
	PLACEMENT_PREFERRED,  /* on one of the nodes, else on any */
	PLACEMENT_INTERLEAVE, /* on the nodes in turn, else on any; no nodes: on all in turn */
	PLACEMENT_NEAR,       /* near an allocation */
	PLACEMENT_BEST,       /* on the nodes that are best in an attribute, else on any */
	PLACEMENT_POLICIES
};
#define PLACEMENT_STRICT 0x80 /* with a policy: where it says, or not at all */

/* What memory can be good for: RMEM_MEMORY_… */
enum placement_attribute {
	PLACEMENT_NO_ATTRIBUTE,
	PLACEMENT_CAPACITY,
	PLACEMENT_BANDWIDTH,
	PLACEMENT_LATENCY,
	PLACEMENT_ATTRIBUTES
};

/*
 * In the number that a client writes into its heartbeat page: all that had changed in its objects when it began to
 * renew has been written to their records, and confirmed.
 */
#define HEARTBEAT_JOURNALED 1U

#define ID_SIZE 16
#define SHARE_KEY_SIZE 16
#define BUILD_ID_SIZE 20
#define SITE_DEPTH_MAX 16
#define SITE_NAMES_MAX 48
#define CHANNELS_PER_SESSION_MAX 64
#define WHY_SIZE 512
#define TOLD_SIZE 1536
#define REPORT_REQUEST_SIZE 1024
#define REPORT_CHUNK_MAX 4000
#define AVOID_MAX 16

#define HEADER_FIELDS(X) \
	X(u8, type, ) \
	X(u8, reserved, ) \
	X(u32, seq, ) \
	X(i32, status, ) /* requests: 0. Replies: 0, or a negative errno, and then a refusal follows */

#define REFUSAL_FIELDS(X) X(text, errinfo, WHY_SIZE)

/* Who a process is, so that "disconnected" and "dead" can be told apart. */
#define IDENTITY_FIELDS(X) \
	X(bytes, boot_id, 16) \
	X(u32, pid, ) \
	X(u64, start_ticks, ) \
	X(u64, pid_ns, ) \
	X(u64, mark, )       /* common/presence.h: its sign, 0: none, */ \
	X(u64, mark_place, ) /* and where that is to be seen */ \
	X(u32, uid, ) \
	X(text, host, 64) \
	X(text, exe, 128) \
	X(text, cmdline, 192) \
	X(text, job, 64)

/* resume = 1: session_id and secret name an earlier session. Else: session_id is a fresh random id. */
#define HELLO_REQUEST_FIELDS(X) \
	X(u8, resume, ) \
	X(bytes, session_id, ID_SIZE) \
	X(bytes, secret, ID_SIZE) \
	X(u8, journal, ) /* enum journal_mode */ \
	X(message, identity, identity)

#define HELLO_REPLY_FIELDS(X) \
	X(bytes, secret, ID_SIZE) \
	X(u32, ttl_ms, ) \
	X(u64, heartbeat_addr, ) \
	X(u32, heartbeat_rkey, ) \
	X(u8, server, ) \
	X(u8, nodes, ) \
	X(u64, max_alloc_bytes, ) \
	X(u64, fencing_token, ) \
	X(u64, pool, )    /* its id: what is lent, over restarts of the server */ \
	X(u32, windows, ) /* that the device has, for all sessions together; 0: unknown */ \
	X(u8, atomics, )  /* 1: the device has 64-bit atomic operations */ \
	X(u64, part_bytes, ) /* the most that one key reaches, a power of 2; a longer allocation has one per part */

/*
 * The first message on a further connection of a session that is connected: a channel. channel: the client's
 * number for it, which the one that this replaces had too; 0: none.
 */
#define JOIN_REQUEST_FIELDS(X) \
	X(bytes, session_id, ID_SIZE) \
	X(bytes, secret, ID_SIZE) \
	X(u32, channel, )

/* Addresses from start up to, and without, end. */
#define RANGE_FIELDS(X) \
	X(u64, start, ) \
	X(u64, end, )

/* nodes: a bit each. near: an address in the server's pool. What a policy does not need is 0. */
#define PLACEMENT_FIELDS(X) \
	X(u8, policy, )    /* enum placement_policy, PLACEMENT_STRICT */ \
	X(u8, attribute, ) /* enum placement_attribute */ \
	X(u64, nodes, ) \
	X(u64, near, )

/*
 * avoid: where nothing may be lent to this session, because its program may still take these addresses for
 * allocations that it has lost.
 */
#define ALLOC_REQUEST_FIELDS(X) \
	X(u64, bytes, ) \
	X(message, placement, placement) \
	X(u32, site, )      /* 0: unknown */ \
	X(u8, size_class, ) /* 0: a block; else bytes are a slab of this class (common/size_class.h) */ \
	X(list, avoid, range, AVOID_MAX)

/*
 * Memory, and no access yet: a window is bound by ATTACH, on each connection that wants one. serial: the
 * allocation's, which no other ever has. An address can be lent again, so every request names both.
 */
#define ALLOC_REPLY_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, bytes, ) \
	X(u64, serial, ) \
	X(u8, node, ) /* the NUMA node that it lies on: an address does not tell */

/* The reply to ATTACH: a grant on this connection, for so many bytes from addr on. */
#define GRANT_REPLY_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, bytes, ) \
	X(u64, serial, ) \
	X(u32, rkey, )

#define FREE_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, serial, )

/*
 * key: what SHARE has given out; all zero: an allocation of this session. offset: of a byte in it, which is in the part that
 * is wanted.
 */
#define ATTACH_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, serial, ) \
	X(bytes, key, SHARE_KEY_SIZE) \
	X(u64, offset, )

#define SHARE_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, serial, ) \
	X(u8, rights, ) /* enum share_rights: of the key */
#define SHARE_REPLY_FIELDS(X) X(bytes, key, SHARE_KEY_SIZE)
#define LOOKUP_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(bytes, key, SHARE_KEY_SIZE)
#define LOOKUP_REPLY_FIELDS(X) \
	X(u64, bytes, ) \
	X(u64, serial, ) \
	X(u64, age_ns, ) \
	X(u8, rights, ) \
	X(u8, node, ) \
	X(u8, size_class, ) /* 0: a block; else it is an object in a slab of this class, which lies there: */ \
	X(u64, slab_addr, ) \
	X(u64, slab_bytes, )
#define DETACH_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, serial, )

/* All keys that SHARE has given out for it are void. */
#define UNSHARE_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, serial, )

/* An allocation becomes the session's that sends the key with ACCEPT. */
#define OFFER_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, serial, )
#define OFFER_REPLY_FIELDS(X) X(bytes, key, SHARE_KEY_SIZE)
#define ACCEPT_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(bytes, key, SHARE_KEY_SIZE)
#define ACCEPT_REPLY_FIELDS(X) \
	X(u64, bytes, ) \
	X(u64, serial, ) \
	X(u64, age_ns, ) \
	X(u8, node, )

/*
 * FREE of what is shared so that others may free it: by one of these, with its key, or with a key of zeroes by its owner (of
 * an allocation only). site: of the call that frees; 0: unknown.
 */
#define RELEASE_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, serial, ) \
	X(bytes, key, SHARE_KEY_SIZE) \
	X(u32, site, )

/* The owner's record of an object (common/object_record.h) becomes after, if it is before. serial: the slab's. */
#define REVISE_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, serial, ) \
	X(u64, before, ) \
	X(u64, after, ) \
	X(u32, site, )
#define REVISE_REPLY_FIELDS(X) \
	X(u64, record, )        /* as it is now */ \
	X(text, told, WHY_SIZE) /* by whom and where it was freed, if another session did */

/* Where was it allocated, and where freed? Named as in ATTACH. */
#define TELL_REQUEST_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, serial, ) \
	X(bytes, key, SHARE_KEY_SIZE)
#define TELL_REPLY_FIELDS(X) \
	X(text, allocated, TOLD_SIZE) \
	X(text, freed, TOLD_SIZE) /* "": it was not, or that is not known any more */

/* Where in an allocation, which is named as in ATTACH. */
#define PLACE_FIELDS(X) \
	X(u64, addr, ) \
	X(u64, serial, ) \
	X(bytes, key, SHARE_KEY_SIZE) \
	X(u64, offset, )

/* The server's CPU copies, or writes the same byte again and again. The two ranges of a copy do not overlap. */
#define COPY_REQUEST_FIELDS(X) \
	X(message, dst, place) \
	X(message, src, place) \
	X(u64, bytes, )
#define FILL_REQUEST_FIELDS(X) \
	X(message, dst, place) \
	X(u64, bytes, ) \
	X(u8, byte, )

/* Is this fencing token out? Then its session has no connection under it, and never will have one again. */
#define FENCE_REQUEST_FIELDS(X) X(u64, fencing_token, )
#define FENCE_REPLY_FIELDS(X) X(u8, out, )

#define RENEW_REPLY_FIELDS(X) X(u32, ttl_ms, )

#define SITE_MODULE_FIELDS(X) \
	X(bytes, build_id, BUILD_ID_SIZE) \
	X(text, path, 112)
#define SITE_FRAME_FIELDS(X) \
	X(u8, module, )  /* index into modules */ \
	X(u64, offset, ) /* link-time address of the call in that module */
#define SITE_REQUEST_FIELDS(X) \
	X(list, modules, site_module, SITE_DEPTH_MAX) \
	X(list, frames, site_frame, SITE_DEPTH_MAX)
#define SITE_REPLY_FIELDS(X) \
	X(u32, site, ) \
	X(u8, named, ) /* 1: the names of its frames are known already */

/* common/site_names.h bounds what all names of a site take together. */
#define SITE_NAME_FIELDS(X) \
	X(u8, inlined, ) /* 1: into the function of the next name, which is of the same frame */ \
	X(text, function, 512) \
	X(text, file, 120) \
	X(u32, line, )
#define SITE_NAMES_REQUEST_FIELDS(X) \
	X(u32, site, ) \
	X(list, names, site_name, SITE_NAMES_MAX)

/* The request is the same JSON text as on the admin socket; the reply is read in chunks. */
#define REPORT_REQUEST_FIELDS(X) X(text, request, REPORT_REQUEST_SIZE)
#define REPORT_REPLY_FIELDS(X) X(u64, total_bytes, )
#define REPORT_READ_REQUEST_FIELDS(X) X(u64, offset, )
#define REPORT_READ_REPLY_FIELDS(X) X(blob, chunk, REPORT_CHUNK_MAX)

/* Every struct: MESSAGES(M) names it and its fields; inner ones come first. */
#define MESSAGES(M) \
	M(preamble, PREAMBLE_FIELDS) \
	M(header, HEADER_FIELDS) \
	M(refusal, REFUSAL_FIELDS) \
	M(identity, IDENTITY_FIELDS) \
	M(hello_request, HELLO_REQUEST_FIELDS) \
	M(hello_reply, HELLO_REPLY_FIELDS) \
	M(join_request, JOIN_REQUEST_FIELDS) \
	M(range, RANGE_FIELDS) \
	M(placement, PLACEMENT_FIELDS) \
	M(alloc_request, ALLOC_REQUEST_FIELDS) \
	M(alloc_reply, ALLOC_REPLY_FIELDS) \
	M(grant_reply, GRANT_REPLY_FIELDS) \
	M(free_request, FREE_REQUEST_FIELDS) \
	M(attach_request, ATTACH_REQUEST_FIELDS) \
	M(share_request, SHARE_REQUEST_FIELDS) \
	M(share_reply, SHARE_REPLY_FIELDS) \
	M(lookup_request, LOOKUP_REQUEST_FIELDS) \
	M(lookup_reply, LOOKUP_REPLY_FIELDS) \
	M(detach_request, DETACH_REQUEST_FIELDS) \
	M(unshare_request, UNSHARE_REQUEST_FIELDS) \
	M(place, PLACE_FIELDS) \
	M(offer_request, OFFER_REQUEST_FIELDS) \
	M(offer_reply, OFFER_REPLY_FIELDS) \
	M(accept_request, ACCEPT_REQUEST_FIELDS) \
	M(accept_reply, ACCEPT_REPLY_FIELDS) \
	M(copy_request, COPY_REQUEST_FIELDS) \
	M(fill_request, FILL_REQUEST_FIELDS) \
	M(fence_request, FENCE_REQUEST_FIELDS) \
	M(fence_reply, FENCE_REPLY_FIELDS) \
	M(renew_reply, RENEW_REPLY_FIELDS) \
	M(site_module, SITE_MODULE_FIELDS) \
	M(site_frame, SITE_FRAME_FIELDS) \
	M(site_request, SITE_REQUEST_FIELDS) \
	M(site_reply, SITE_REPLY_FIELDS) \
	M(site_name, SITE_NAME_FIELDS) \
	M(site_names_request, SITE_NAMES_REQUEST_FIELDS) \
	M(report_request, REPORT_REQUEST_FIELDS) \
	M(report_reply, REPORT_REPLY_FIELDS) \
	M(report_read_request, REPORT_READ_REQUEST_FIELDS) \
	M(report_read_reply, REPORT_READ_REPLY_FIELDS) \
	M(release_request, RELEASE_REQUEST_FIELDS) \
	M(revise_request, REVISE_REQUEST_FIELDS) \
	M(revise_reply, REVISE_REPLY_FIELDS) \
	M(tell_request, TELL_REQUEST_FIELDS) \
	M(tell_reply, TELL_REPLY_FIELDS)

#define DECLARE_FIELD(kind, name, ...) DECLARE_##kind(name, __VA_ARGS__)
#define DECLARE_u8(name, ...) uint8_t name;
#define DECLARE_u16(name, ...) uint16_t name;
#define DECLARE_u32(name, ...) uint32_t name;
#define DECLARE_u64(name, ...) uint64_t name;
#define DECLARE_i32(name, ...) int32_t name;
#define DECLARE_bytes(name, size) uint8_t name[size];
#define DECLARE_text(name, size) char name[size];
#define DECLARE_blob(name, max) \
	uint16_t name##_bytes; \
	uint8_t name[max];
#define DECLARE_message(name, type) struct type name;
#define DECLARE_list(name, type, max) \
	uint8_t n##name; \
	struct type name[max];

/* NAME_put() and NAME_get() of some message, for code that passes any of them on: NAME_encode(), NAME_decode(). */
typedef void message_encode_fn(struct wire *w, const void *m);
typedef void message_decode_fn(struct wire *w, void *m);

/*
 * For each message: struct NAME, NAME_put() and NAME_get(). They move the cursor's sticky failure
 * flag and nothing else: ask wire_finish() (get) or w->failed (put) at the end.
 */
#define DECLARE_MESSAGE(name, FIELDS) \
	struct name { \
		FIELDS(DECLARE_FIELD) \
	}; \
	void name##_put(struct wire *w, const struct name *m); \
	void name##_get(struct wire *w, struct name *m); \
	static inline void name##_encode(struct wire *w, const void *m) \
	{ \
		name##_put(w, m); \
	} \
	static inline void name##_decode(struct wire *w, void *m) \
	{ \
		name##_get(w, m); \
	}
MESSAGES(DECLARE_MESSAGE)

/* "alloc", "free", …; "unknown" for a type that does not exist. */
const char *message_name(uint8_t type);

#endif
