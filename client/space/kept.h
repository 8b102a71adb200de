/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects that other sessions may free (RMEM_SHARE_MAY_FREE). As long as they may, the server keeps the record (SLAB_KEPT):
 * only it changes that, when a session asks, so that one of several frees succeeds. The journal leaves the record out.
 *
 * That another session has freed one is found when this one frees it or revokes its keys, or by the slab thread, which looks
 * about once per renewal of the lease.
 *
 * Locally, to end an object is to change its record here: the thread that does that has the slot, and decides with the server.
 */
#ifndef RMEM_CLIENT_SPACE_KEPT_H
#define RMEM_CLIENT_SPACE_KEPT_H

#include "client/space/call.h"

/*
 * The server keeps the record of a shared object from now on, as it has it: no write of it is on its way. For that, with the
 * exact journal, operations that have begun are waited for, also those of queues: -ETIMEDOUT.
 */
int kept_begin(struct rmem *rm, struct slab *slab, uint32_t slot, uint64_t deadline_ns,
	struct errinfo *errinfo);

/*
 * Free one. -EALREADY: another session has freed it; -EINVAL: there is none; -ESTALE: it was lost. After any other error it is
 * live here, as before; where the answer was lost (-ETIMEDOUT, -ECONNRESET) the server may have it freed, or free it later: then
 * no other session can free it any more, and it is still to be freed here, which succeeds. caller: the program's code; NULL:
 * unknown.
 */
int kept_free(struct rmem *rm, struct slab *slab, rmem_addr_t addr, void *caller,
	uint64_t deadline_ns, struct errinfo *errinfo);

/*
 * Revoke its keys, so that its record is this session's again, unless it was shared during the call. -ESTALE: another session has
 * freed it.
 */
int kept_revoke(struct rmem *rm, struct slab *slab, rmem_addr_t addr,
	const struct sharing_call *call, uint64_t deadline_ns, struct errinfo *errinfo);

/*
 * Freeing what was at addr, in that slab, was refused: errinfo says by which session and where it was freed, if others could
 * reach it. Asks the server, if kept_is_explained(). Returns rc.
 */
int kept_explain(struct rmem *rm, const struct slab *slab, rmem_addr_t addr, int rc,
	uint64_t deadline_ns, struct errinfo *errinfo);

bool kept_is_explained(const struct slab *slab, rmem_addr_t addr);

/* The slots of objects that others have freed become free. The slab thread; or, with that stopped, any. */
int kept_collect(struct rmem *rm, uint64_t deadline_ns, struct errinfo *errinfo);

#endif
