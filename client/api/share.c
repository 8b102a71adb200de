/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that share allocations between sessions. */
#include <errno.h>
#include <string.h>

#include "client/space/call.h"
#include "client/space/sharing.h"

_Static_assert(sizeof(struct rmem_share_key) == SHARE_KEY_SIZE, "a key is what the server says");

RMEM_API int rmem_share(struct rmem *rm, rmem_addr_t addr, struct rmem_share_key *out)
{
	struct share_reply reply;
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = sharing_share(&rm->session, addr, call_deadline(rm), &reply, &errinfo);
	if (rc == 0)
		memcpy(out->bytes, reply.key, sizeof(out->bytes));
	return call_done(rc, "rmem_share", &errinfo);
}

RMEM_API int rmem_attach(
	struct rmem *rm, rmem_addr_t addr, const struct rmem_share_key *key, size_t *out_bytes)
{
	struct errinfo errinfo;
	uint64_t bytes;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && !key)
		rc = errinfo_set(&errinfo, -EINVAL, "the key is NULL");
	if (rc == 0)
		rc = sharing_attach(
			&rm->session, addr, key->bytes, call_deadline(rm), &bytes, &errinfo);
	if (rc == 0 && out_bytes)
		*out_bytes = bytes;
	return call_done(rc, "rmem_attach", &errinfo);
}

RMEM_API int rmem_detach(struct rmem *rm, rmem_addr_t addr)
{
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && addr)
		rc = sharing_detach(&rm->session, addr, call_deadline(rm), &errinfo);
	return call_done(rc, "rmem_detach", &errinfo);
}
