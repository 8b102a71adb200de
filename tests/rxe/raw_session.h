/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control protocol over a bare connection (raw.h), politely: each request as an honest client makes it,
 * and what came back. ERRORS: as raw.h; a refusal is its status.
 */
#ifndef RMEM_TESTS_RXE_RAW_SESSION_H
#define RMEM_TESTS_RXE_RAW_SESSION_H

#include <errno.h>

#include "tests/rxe/raw.h"

/*
 * Messages by their names in common/message.h: RAW_ASK(r, MESSAGE_ALLOC, alloc, &request, alloc, &reply).
 *
 *	RAW_SAY		a request; its reply is left for raw_reply()
 *	RAW_TELL	one whose reply is only a status
 *	RAW_ASK		one whose reply says more; -EPROTO for what is no such reply
 */
#define RAW_SAY(r, type, request, from) \
	({ \
		uint8_t bytes_[MESSAGE_MAX]; \
		struct wire body_ = wire_over(bytes_, sizeof(bytes_)); \
\
		request##_request_put(&body_, from); \
		raw_request(r, type, &body_); \
	})

#define RAW_TELL(r, type, request, from) \
	({ \
		int err_ = RAW_SAY(r, type, request, from); \
\
		err_ ? err_ : raw_reply(r, type, NULL); \
	})

#define RAW_ASK(r, type, request, from, reply, to) \
	({ \
		int err_ = RAW_SAY(r, type, request, from); \
		struct wire said_; \
\
		if (!err_) \
			err_ = raw_reply(r, type, &said_); \
		if (!err_) { \
			reply##_reply_get(&said_, to); \
			err_ = wire_finish(&said_) ? -EPROTO : 0; \
		} \
		err_; \
	})

struct raw_session {
	struct hello_request hello; /* what was said, with the secret that came back: to resume */
	struct hello_reply reply;
	uint32_t channel; /* number that those who join say; 0: none */
};

/* The HELLO of a new session of this process. */
void raw_session_init(struct raw_session *s);
int raw_hello(struct raw *r, struct raw_session *s); /* as s->hello says; then it says resume */
int raw_open(uint16_t port, struct raw_session *s, struct raw **out); /* connect and HELLO */
int raw_join(struct raw *r, const struct raw_session *s);             /* r is a channel */
void raw_put_join(struct wire *w, const struct raw_session *s);       /* the body of that */
int raw_channel(
	uint16_t port, const struct raw_session *s, struct raw **out); /* connect and JOIN */
int raw_bye(struct raw *r);
int raw_alloc_only(struct raw *r, uint64_t bytes, struct alloc_reply *out);
/* The serial of what was last lent at addr to anybody of this process: what those below mean. 0: unknown. */
uint64_t raw_serial(uint64_t addr);
void raw_remember(uint64_t addr, uint64_t serial);
/* ... and objects in it, at any address. */
void raw_remember_slab(uint64_t addr, uint64_t bytes, uint64_t serial);
/* ALLOC, and ATTACH on the same connection. r->seq stays that of the ALLOC. */
int raw_alloc(struct raw *r, uint64_t bytes, struct grant_reply *out);
int raw_free(struct raw *r, uint64_t addr);
int raw_attach(struct raw *r, uint64_t addr, struct grant_reply *out);
/* key NULL: all zero. */
int raw_attach_with(struct raw *r, uint64_t addr, const uint8_t *key, struct grant_reply *out);
int raw_share(struct raw *r, uint64_t addr, uint8_t key[SHARE_KEY_SIZE]);
int raw_share_to_read(struct raw *r, uint64_t addr, uint8_t key[SHARE_KEY_SIZE]);
int raw_unshare(struct raw *r, uint64_t addr);
/* From an offset of an allocation on; key NULL: all zero. */
struct place raw_place(uint64_t addr, uint64_t offset, const uint8_t *key);
int raw_copy(struct raw *r, struct place dst, struct place src, uint64_t bytes);
int raw_fill(struct raw *r, struct place dst, uint8_t byte, uint64_t bytes);
int raw_lookup(struct raw *r, uint64_t addr, const uint8_t *key, uint64_t *out_bytes);
int raw_detach(struct raw *r, uint64_t addr);
int raw_fence(struct raw *r, uint64_t fencing_token); /* 1: out */

#endif
