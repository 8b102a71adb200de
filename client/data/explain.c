/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/explain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int explain_range(const struct blocks *t, uint64_t addr, size_t bytes, struct errinfo *errinfo)
{
	const struct block *block = blocks_find_range(t, addr, 1);

	if (!block)
		return errinfo_set(errinfo, -EFAULT,
			"0x%" PRIx64 " is not in any allocation of this session", addr);
	return errinfo_set(errinfo, -EFAULT,
		"%zu bytes at 0x%" PRIx64 " pass the end of the allocation of %" PRIu64
		" bytes at 0x%" PRIx64,
		bytes, addr, block->bytes, block->addr);
}

int explain_object(const struct slab *slab, uint64_t addr, size_t bytes, struct errinfo *errinfo)
{
	const uint32_t slot = slab_slot_at(slab, addr - slab->addr);
	const uint64_t record = slot < slab->slots ? slab_record(slab, slot) : 0;
	const uint64_t start = slab_slot_addr(slab, slot);

	switch (object_record_state(record)) {
	case OBJECT_LIVE:
		return errinfo_set(errinfo, -EFAULT,
			"%zu bytes at 0x%" PRIx64 " pass the end of the allocation of %" PRIu32
			" bytes at 0x%" PRIx64,
			bytes, addr, slab_object_bytes(slab, record), start);
	case OBJECT_FREED:
		return errinfo_set(errinfo, -EFAULT,
			"0x%" PRIx64 " is in an allocation of %" PRIu32 " bytes at 0x%" PRIx64
			" that this program has freed",
			addr, slab_object_bytes(slab, record), start);
	case OBJECT_TAKEN:
		return errinfo_set(errinfo, -EFAULT,
			"0x%" PRIx64 " is in an allocation of %" PRIu32 " bytes at 0x%" PRIx64
			" that another session has freed",
			addr, slab_object_bytes(slab, record), start);
	default:
		return errinfo_set(errinfo, -EFAULT,
			"0x%" PRIx64 " is not in any allocation of this session", addr);
	}
}

int explain_stale(const struct block *block, struct errinfo *errinfo)
{
	if (block->attached)
		return errinfo_set(errinfo, -ESTALE,
			"the allocation at 0x%" PRIx64
			" that was shared is gone: its owner has freed it or does not share it any "
			"more, or the server has reclaimed it",
			block->addr);
	return errinfo_set(errinfo, -ESTALE,
		"the allocation at 0x%" PRIx64 " is gone: the server has reclaimed it, as the "
		"lease had ended or an operator ordered it",
		block->addr);
}

int explain_state(const struct block *block, struct errinfo *errinfo)
{
	if (block->state == BLOCK_STALE)
		return explain_stale(block, errinfo);
	if (block->offered)
		return errinfo_set(errinfo, -EFAULT,
			"the allocation at 0x%" PRIx64
			" was offered to another session: rmem_unshare() takes it back, if it was "
			"not accepted",
			block->addr);
	return errinfo_set(errinfo, -EFAULT, "the allocation at 0x%" PRIx64 " is being %s",
		block->addr, block->attached ? "detached" : "freed");
}

int explain_freed(uint64_t addr, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EFAULT,
		"the allocation at 0x%" PRIx64 " was freed while this was on its way", addr);
}

int explain_read_only(uint64_t addr, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EACCES,
		"0x%" PRIx64 " is shared with this session for reading only: to write there it "
		"needs a key that rmem_share() has made",
		addr);
}

int explain_in_the_way(const struct block *block, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EEXIST,
		"0x%" PRIx64 " is where an allocation of %" PRIu64
		" bytes was that this program has "
		"lost and not yet given up: %s it first",
		block->addr, block->bytes, block->attached ? "rmem_detach()" : "rmem_free()");
}

int explain_poison(const struct iovec *piece, const void *bad, struct errinfo *errinfo)
{
	return errinfo_set(errinfo, -EFAULT,
		"%zu bytes of local memory at %p: AddressSanitizer says that %p, %zu bytes into "
		"it, must not be used",
		piece->iov_len, piece->iov_base, bad,
		(size_t)((const char *)bad - (const char *)piece->iov_base));
}

static const char *kind_name(enum operation_kind kind)
{
	static const char *const names[] = {
		[OPERATION_READ] = "a read",
		[OPERATION_WRITE] = "a write",
		[OPERATION_FETCH_ADD] = "a fetch-and-add",
		[OPERATION_COMPARE_SWAP] = "a compare-and-swap",
	};

	return names[kind];
}

static void describe_allocation(struct session *s, uint64_t addr, char *buf, size_t size)
{
	const struct block *block;

	pthread_mutex_lock(&s->table);
	block = blocks_find_range(&s->blocks, addr, 1);
	if (block)
		snprintf(buf, size,
			" (in the allocation of %" PRIu64 " bytes at 0x%" PRIx64
			", made at site %u, %s)",
			block->bytes, block->addr, block->origin.site,
			block->origin.code ? block->origin.code : "an unknown line");
	else
		buf[0] = '\0';
	pthread_mutex_unlock(&s->table);
}

void explain_failure(
	const struct failure *f, struct session *s, const char *peer, struct errinfo *errinfo)
{
	char allocation[256];

	if (!f->op) {
		errinfo_fill(errinfo, "the connection to rmemd at %s broke", peer);
		return;
	}
	describe_allocation(s, f->remote, allocation, sizeof(allocation));
	if (f->status == IBV_WC_SUCCESS) {
		errinfo_fill(errinfo,
			"the connection to rmemd at %s broke before %s of %zu bytes at 0x%" PRIx64
			"%s had been sent",
			peer, kind_name(f->op->kind), f->bytes, f->remote, allocation);
		return;
	}
	errinfo_fill(errinfo,
		"the connection to rmemd at %s broke on %s of %zu bytes at 0x%" PRIx64
		"%s: %s (status %d, vendor 0x%x)%s",
		peer, kind_name(f->op->kind), f->bytes, f->remote, allocation,
		ibv_wc_status_str(f->status), f->status, f->vendor_err,
		f->op->uncertain ? ": it may or may not have been carried out; read the word to "
				   "find out"
				 : "");
}
