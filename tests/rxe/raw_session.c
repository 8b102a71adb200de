/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/raw_session.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/addr.h"
#include "common/identity.h"

void raw_session_init(struct raw_session *s)
{
	memset(s, 0, sizeof(*s));
	identity_self(&s->hello.identity, "raw");
	if (getrandom(s->hello.session_id, ID_SIZE, 0) != ID_SIZE)
		abort();
}

int raw_hello(struct raw *r, struct raw_session *s)
{
	int err = RAW_ASK(r, MESSAGE_HELLO, hello, &s->hello, hello, &s->reply);

	if (err)
		return err;
	memcpy(s->hello.secret, s->reply.secret, ID_SIZE);
	s->hello.resume = 1;
	return 0;
}

int raw_open(uint16_t port, struct raw_session *s, struct raw **out)
{
	struct raw *r = NULL;
	int err = raw_connect(port, NULL, &r);

	if (!err)
		err = raw_hello(r, s);
	if (err)
		raw_close(r);
	else
		*out = r;
	return err;
}

void raw_put_join(struct wire *w, const struct raw_session *s)
{
	struct join_request q = { .channel = s->channel };

	memcpy(q.session_id, s->hello.session_id, ID_SIZE);
	memcpy(q.secret, s->hello.secret, ID_SIZE);
	join_request_put(w, &q);
}

int raw_join(struct raw *r, const struct raw_session *s)
{
	uint8_t buffer[64];
	struct wire body = wire_over(buffer, sizeof(buffer));

	raw_put_join(&body, s);
	return raw_call(r, MESSAGE_JOIN, &body, NULL);
}

int raw_channel(uint16_t port, const struct raw_session *s, struct raw **out)
{
	const struct raw_attr attr = { .purpose = PURPOSE_CHANNEL };
	struct raw *r = NULL;
	int err = raw_connect(port, &attr, &r);

	if (!err)
		err = raw_join(r, s);
	if (err)
		raw_close(r);
	else
		*out = r;
	return err;
}

int raw_bye(struct raw *r)
{
	return raw_call(r, MESSAGE_BYE, NULL, NULL);
}

/* ---- which allocation is meant ---- */

/* What was last lent at an address, to any of this process: most tests name an allocation by that alone. */
static struct {
	uint64_t addr, serial;
	bool slab; /* any address in the page means it */
} lent_last[1 << 16];

/* Two nodes of 128 MiB. */
static size_t place_of(uint64_t addr)
{
	return (addr >> 12 & 0x7fff) | (addr_segment(addr) & 1) << 15;
}

void raw_remember(uint64_t addr, uint64_t serial)
{
	lent_last[place_of(addr)].addr = addr;
	lent_last[place_of(addr)].serial = serial;
	lent_last[place_of(addr)].slab = false;
}

void raw_remember_slab(uint64_t addr, uint64_t bytes, uint64_t serial)
{
	for (uint64_t at = addr; at < addr + bytes; at += 4096) {
		raw_remember(at, serial);
		lent_last[place_of(at)].slab = true;
	}
}

uint64_t raw_serial(uint64_t addr)
{
	const size_t i = place_of(addr);

	return lent_last[i].addr == (lent_last[i].slab ? addr & ~4095ULL : addr)
		       ? lent_last[i].serial
		       : 0;
}

int raw_alloc_only(struct raw *r, uint64_t bytes, struct alloc_reply *out)
{
	const struct alloc_request q = { .bytes = bytes };
	int err = RAW_ASK(r, MESSAGE_ALLOC, alloc, &q, alloc, out);

	if (!err)
		raw_remember(out->addr, out->serial);
	return err;
}

int raw_alloc(struct raw *r, uint64_t bytes, struct grant_reply *out)
{
	struct alloc_reply lent;
	int err = raw_alloc_only(r, bytes, &lent);

	if (!err)
		err = raw_attach(r, lent.addr, out);
	/* r->seq is that of the ALLOC again, for those who repeat it. */
	if (!err)
		r->seq--;
	return err;
}

int raw_attach(struct raw *r, uint64_t addr, struct grant_reply *out)
{
	return raw_attach_with(r, addr, NULL, out);
}

int raw_attach_with(struct raw *r, uint64_t addr, const uint8_t *key, struct grant_reply *out)
{
	struct attach_request q = { .addr = addr, .serial = raw_serial(addr) };

	if (key)
		memcpy(q.key, key, sizeof(q.key));
	return RAW_ASK(r, MESSAGE_ATTACH, attach, &q, grant, out);
}

int raw_free(struct raw *r, uint64_t addr)
{
	const struct free_request q = { .addr = addr, .serial = raw_serial(addr) };

	return RAW_TELL(r, MESSAGE_FREE, free, &q);
}

static int share(struct raw *r, uint64_t addr, bool read_only, uint8_t key[SHARE_KEY_SIZE])
{
	const struct share_request q = {
		.addr = addr, .serial = raw_serial(addr), .rights = read_only
	};
	struct share_reply answer;
	int err = RAW_ASK(r, MESSAGE_SHARE, share, &q, share, &answer);

	if (!err)
		memcpy(key, answer.key, SHARE_KEY_SIZE);
	return err;
}

int raw_share(struct raw *r, uint64_t addr, uint8_t key[SHARE_KEY_SIZE])
{
	return share(r, addr, false, key);
}

int raw_share_to_read(struct raw *r, uint64_t addr, uint8_t key[SHARE_KEY_SIZE])
{
	return share(r, addr, true, key);
}

int raw_unshare(struct raw *r, uint64_t addr)
{
	const struct unshare_request q = { .addr = addr, .serial = raw_serial(addr) };

	return RAW_TELL(r, MESSAGE_UNSHARE, unshare, &q);
}

struct place raw_place(uint64_t addr, uint64_t offset, const uint8_t *key)
{
	struct place p = { .addr = addr, .serial = raw_serial(addr), .offset = offset };

	if (key)
		memcpy(p.key, key, sizeof(p.key));
	return p;
}

int raw_copy(struct raw *r, struct place dst, struct place src, uint64_t bytes)
{
	const struct copy_request q = { .dst = dst, .src = src, .bytes = bytes };

	return RAW_TELL(r, MESSAGE_COPY, copy, &q);
}

int raw_fill(struct raw *r, struct place dst, uint8_t byte, uint64_t bytes)
{
	const struct fill_request q = { .dst = dst, .bytes = bytes, .byte = byte };

	return RAW_TELL(r, MESSAGE_FILL, fill, &q);
}

int raw_lookup(struct raw *r, uint64_t addr, const uint8_t *key, uint64_t *out_bytes)
{
	struct lookup_request q = { .addr = addr };
	struct lookup_reply answer;
	int err;

	memcpy(q.key, key, sizeof(q.key));
	err = RAW_ASK(r, MESSAGE_LOOKUP, lookup, &q, lookup, &answer);
	if (!err)
		*out_bytes = answer.bytes;
	return err;
}

int raw_detach(struct raw *r, uint64_t addr)
{
	const struct detach_request q = { .addr = addr, .serial = raw_serial(addr) };

	return RAW_TELL(r, MESSAGE_DETACH, detach, &q);
}

int raw_fence(struct raw *r, uint64_t fencing_token)
{
	const struct fence_request q = { .fencing_token = fencing_token };
	struct fence_reply answer;
	int err = RAW_ASK(r, MESSAGE_FENCE, fence, &q, fence, &answer);

	return err ? err : answer.out > 1 ? -EPROTO : answer.out;
}
