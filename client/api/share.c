/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that share allocations between sessions. */
#include <errno.h>
#include <string.h>

#include "client/api/key.h"
#include "client/space/handover.h"
#include "client/space/sharing.h"
#include "common/wire.h"

#define KEY_VERSION 1
#define SHARE_ATTR_V1_SIZE (offsetof(struct rmem_share_attr, reserved) + sizeof(uint32_t))

static void key_put(struct rmem_share_key *out, const struct key_parts *key)
{
	struct wire w = wire_over(out->bytes, sizeof(out->bytes));

	memset(out, 0, sizeof(*out));
	wire_put_bytes(&w, key->secret, sizeof(key->secret));
	wire_put_u8(&w, key->version);
	wire_put_u64(&w, key->pool);
}

static struct key_parts key_get(const struct rmem_share_key *in)
{
	struct rmem_share_key copy = *in;
	struct wire w = wire_over(copy.bytes, sizeof(copy.bytes));
	struct key_parts key = { .whole = true };

	wire_get_bytes(&w, key.secret, sizeof(key.secret));
	key.version = wire_get_u8(&w);
	key.pool = wire_get_u64(&w);
	while (w.pos < w.size)
		if (wire_get_u8(&w))
			key.whole = false;
	return key;
}

static int read_rights(uint32_t flags, enum share_rights *out, struct errinfo *errinfo)
{
	int rc = call_check_flags(flags, RMEM_SHARE_READ_ONLY | RMEM_SHARE_MAY_FREE, errinfo);

	if (rc == 0 && flags == (RMEM_SHARE_READ_ONLY | RMEM_SHARE_MAY_FREE))
		rc = errinfo_set(
			errinfo, -EINVAL, "a key for reading only does not admit to freeing");
	if (rc == 0 && flags)
		*out = flags & RMEM_SHARE_READ_ONLY ? SHARE_TO_READ : SHARE_TO_FREE;
	return rc;
}

static int share(struct rmem *rm, rmem_addr_t addr, const struct rmem_share_attr *attr,
	struct rmem_share_key *out, const char *call)
{
	struct rmem_share_attr a = RMEM_SHARE_ATTR_INIT;
	enum share_rights rights = SHARE_TO_WRITE;
	struct key_parts key = { .version = KEY_VERSION };
	struct share_reply reply;
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && attr)
		rc = call_copy_attr(&a, sizeof(a), attr, SHARE_ATTR_V1_SIZE, &errinfo);
	if (rc == 0)
		rc = read_rights(a.flags, &rights, &errinfo);
	if (rc == 0 && a.reserved)
		rc = errinfo_set(&errinfo, -EINVAL, "the attr's reserved field is not 0");
	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = sharing_share(rm, addr, rights, call_deadline(rm), &reply, &errinfo);
	if (rc == 0) {
		memcpy(key.secret, reply.key, sizeof(key.secret));
		key.pool = atomic_load(&rm->session.pool);
		key_put(out, &key);
	}
	return call_done(rc, call, &errinfo);
}

RMEM_API int rmem_share(struct rmem *rm, rmem_addr_t addr, struct rmem_share_key *out)
{
	return share(rm, addr, NULL, out, "rmem_share");
}

RMEM_API int rmem_share_with(struct rmem *rm, rmem_addr_t addr, const struct rmem_share_attr *attr,
	struct rmem_share_key *out)
{
	return share(rm, addr, attr, out, "rmem_share_with");
}

RMEM_API int rmem_unshare(struct rmem *rm, rmem_addr_t addr)
{
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc || !addr)
		return call_done(rc, "rmem_unshare", &errinfo);
	rc = handover_withdraw(&rm->session, addr, call_deadline(rm), &errinfo);
	if (rc == 1)
		rc = sharing_unshare(rm, addr, call_deadline(rm), &errinfo);
	return call_done(rc, "rmem_unshare", &errinfo);
}

int key_read(const struct rmem_share_key *key, struct key_parts *out, struct errinfo *errinfo)
{
	if (!key)
		return errinfo_set(errinfo, -EINVAL, "the key is NULL");
	*out = key_get(key);
	if (out->version != KEY_VERSION || !out->whole)
		return errinfo_set(errinfo, -EINVAL,
			"this is no share key, or one of a later version: all %zu bytes "
			"that rmem_share() wrote are needed",
			sizeof(key->bytes));
	return 0;
}

/* sharing_attach() or handover_accept(). */
typedef int take_fn(struct session *s, rmem_addr_t addr, const uint8_t key[SHARE_KEY_SIZE],
	uint64_t pool, uint64_t deadline_ns, uint64_t *out_bytes, struct errinfo *errinfo);

static int take(struct rmem *rm, rmem_addr_t addr, const struct rmem_share_key *key,
	size_t *out_bytes, take_fn *fn, const char *call)
{
	struct errinfo errinfo;
	uint64_t bytes = 0;
	struct key_parts k;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0)
		rc = key_read(key, &k, &errinfo);
	if (rc == 0)
		rc = fn(&rm->session, addr, k.secret, k.pool, call_deadline(rm), &bytes, &errinfo);
	if (rc == 0 && out_bytes)
		*out_bytes = bytes;
	return call_done(rc, call, &errinfo);
}

RMEM_API int rmem_attach(
	struct rmem *rm, rmem_addr_t addr, const struct rmem_share_key *key, size_t *out_bytes)
{
	return take(rm, addr, key, out_bytes, sharing_attach, "rmem_attach");
}

RMEM_API int rmem_offer(struct rmem *rm, rmem_addr_t addr, struct rmem_share_key *out)
{
	struct key_parts key = { .version = KEY_VERSION };
	struct offer_reply reply;
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = handover_offer(&rm->session, addr, call_deadline(rm), &reply, &errinfo);
	if (rc == 0) {
		memcpy(key.secret, reply.key, sizeof(key.secret));
		key.pool = atomic_load(&rm->session.pool);
		key_put(out, &key);
	}
	return call_done(rc, "rmem_offer", &errinfo);
}

RMEM_API int rmem_accept(
	struct rmem *rm, rmem_addr_t addr, const struct rmem_share_key *key, size_t *out_bytes)
{
	return take(rm, addr, key, out_bytes, handover_accept, "rmem_accept");
}

RMEM_API int rmem_detach(struct rmem *rm, rmem_addr_t addr)
{
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && addr)
		rc = sharing_detach(&rm->session, addr, call_deadline(rm), &errinfo);
	return call_done(rc, "rmem_detach", &errinfo);
}
