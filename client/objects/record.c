/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records (include/rmem/objects.h; models/record.pml): a lock, a version, and two copies. The version's last
 * bit tells which of them is good; a writer fills the other one and then moves the version on. A reader
 * that finds the version as it was before it read the copy knows that nobody had begun to write there.
 *
 * Each step is awaited before the next is made. So nothing is asked of the order in which a device carries
 * out what is outstanding: InfiniBand keeps reads of one queue pair in order (vol. 1, 9.5, "Transaction
 * Ordering"), but not the bytes within one, nor what the host's bus makes of them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "client/space/call.h"
#include "client/objects/atomic_word.h"
#include "rmem/objects.h"

#define READ_TRIES 32            /* each spoilt by a writer that was faster */
#define BYTES_MAX (SIZE_MAX / 4) /* so that its size can be computed */

struct record_head {
	uint64_t lock;
	uint64_t version;
	uint64_t unused[6];
};

struct rmem_record {
	struct rmem *rm;
	rmem_addr_t addr;
	size_t bytes;
	struct rmem_lock *lock;
	uint64_t version; /* as it was some time ago; 0: as it was at first */
	bool unsettled;   /* what was sent may still be carried out */
	bool locked;      /* it was not possible to release the lock */
};

static rmem_addr_t version_of(const struct rmem_record *r)
{
	return r->addr + offsetof(struct record_head, version);
}

static rmem_addr_t copy_of(const struct rmem_record *r, uint64_t version)
{
	return r->addr + sizeof(struct record_head) +
	       (version & 1) * RMEM_RECORD_COPY_BYTES(r->bytes);
}

static int look(struct rmem_record *r, uint64_t *version, struct errinfo *errinfo)
{
	return atomic_word_read(r->rm, version_of(r), version, errinfo);
}

/* ---- reading ---- */

static int read_good(struct rmem_record *r, void *dst, struct errinfo *errinfo)
{
	for (int tries = 0; tries < READ_TRIES; tries++) {
		uint64_t version;
		int rc = rmem_read(r->rm, dst, copy_of(r, r->version), r->bytes);

		if (rc)
			return errinfo_set(errinfo, rc, "%s", rmem_errmsg());
		rc = look(r, &version, errinfo);
		if (rc)
			return rc;
		if (version == r->version)
			return 0;
		r->version = version;
	}
	return errinfo_set(errinfo, -EAGAIN,
		"the record at 0x%" PRIx64 " is written faster than it is read", r->addr);
}

RMEM_API int rmem_record_read(struct rmem_record *r, void *dst)
{
	struct errinfo errinfo = { "" };
	int rc = r ? call_enter(r->rm, &errinfo)
		   : errinfo_set(&errinfo, -EINVAL, "the record is NULL");

	if (rc == 0 && !dst)
		rc = errinfo_set(&errinfo, -EINVAL, "dst is NULL");
	if (rc == 0)
		rc = read_good(r, dst, &errinfo);
	return call_done(rc, "rmem_record_read", &errinfo);
}

/* ---- writing ---- */

/* With the lock. */
static int write_other(struct rmem_record *r, const void *src, struct errinfo *errinfo)
{
	const struct atomic_word_terms terms = { .lease_epoch =
							 fencing_now(&r->rm->session).number };
	struct atomic_word_swap swap;
	uint64_t version;
	int rc = look(r, &version, errinfo);

	if (rc)
		return rc;
	rc = rmem_write(r->rm, copy_of(r, version + 1), src, r->bytes);
	if (rc)
		return errinfo_set(errinfo, rc, "%s", rmem_errmsg());
	rc = atomic_word_swap(r->rm, version_of(r), version, version + 1, &terms, &swap, errinfo);
	if (rc)
		return rc;
	if (swap.found == (swap.settled ? version + 1 : version))
		return 0;
	return swap.settled && swap.found == version
		       ? errinfo_set(
				 errinfo, -ECONNRESET, "the connection broke: nothing was written")
		       : errinfo_set(errinfo, -EILSEQ,
				 "the version at 0x%" PRIx64 " was changed without the lock",
				 version_of(r));
}

/* Let go of the lock, when nothing of ours can be carried out any more. */
static int finish(struct rmem_record *r, struct errinfo *errinfo)
{
	int rc = r->unsettled ? atomic_word_settle(r->rm, errinfo) : 0;

	if (rc)
		return rc;
	r->unsettled = false;
	rc = rmem_lock_release(r->lock);
	if (rc == 0 || rc == -ESTALE || rc == -EINVAL)
		r->locked = false;
	return rc ? errinfo_set(errinfo, rc, "%s", rmem_errmsg()) : 0;
}

static int write_locked(
	struct rmem_record *r, const void *src, int timeout_ms, struct errinfo *errinfo)
{
	struct errinfo ignored = { "" };
	int rc = 0, end;

	if (r->locked)
		rc = finish(r, errinfo);
	if (rc && rc != -ESTALE)
		return rc;
	/* That somebody died in the middle does not matter: what it was writing was not good yet. */
	rc = rmem_lock_acquire(r->lock, timeout_ms);
	if (rc < 0)
		return errinfo_set(errinfo, rc, "%s", rmem_errmsg());
	r->locked = true;
	rc = write_other(r, src, errinfo);
	r->unsettled = rc != 0;
	end = finish(r, rc ? &ignored : errinfo);
	/* It was written, and while we had the lock. */
	if (rc == 0 && end != -ESTALE)
		return 0;
	return rc ? rc : end;
}

RMEM_API int rmem_record_write(struct rmem_record *r, const void *src, int timeout_ms)
{
	struct errinfo errinfo = { "" };
	int rc = r ? call_enter(r->rm, &errinfo)
		   : errinfo_set(&errinfo, -EINVAL, "the record is NULL");

	if (rc == 0 && !src)
		rc = errinfo_set(&errinfo, -EINVAL, "src is NULL");
	if (rc == 0)
		rc = write_locked(r, src, timeout_ms, &errinfo);
	return call_done(rc, "rmem_record_write", &errinfo);
}

/* ---- handles ---- */

RMEM_API int rmem_record_create(
	struct rmem *rm, rmem_addr_t addr, size_t bytes, struct rmem_record **out)
{
	struct rmem_record *r = NULL;
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = atomic_word_check_addr(addr, &errinfo);
	if (rc == 0 && (bytes == 0 || bytes > BYTES_MAX))
		rc = errinfo_set(&errinfo, -EINVAL,
			"a record of %zu bytes is not possible: 1 to %zu are, if an allocation "
			"holds RMEM_RECORD_BYTES() of that",
			bytes, BYTES_MAX);
	if (rc == 0) {
		r = heap_alloc(rm->session.heap, sizeof(*r));
		if (!r)
			rc = errinfo_set(&errinfo, -ENOMEM, "out of memory");
	}
	if (rc)
		return call_done(rc, "rmem_record_create", &errinfo);
	rc = rmem_lock_create(rm, addr + offsetof(struct record_head, lock), &r->lock);
	if (rc) {
		heap_free(rm->session.heap, r, sizeof(*r));
		return rc;
	}
	r->rm = rm;
	r->addr = addr;
	r->bytes = bytes;
	*out = r;
	return 0;
}

RMEM_API void rmem_record_destroy(struct rmem_record *r)
{
	struct errinfo errinfo = { "" };

	if (!r)
		return;
	if (call_enter(r->rm, &errinfo)) /* in a child, which may take no lock of the parent's */
		return;
	if (r->locked)
		(void)finish(r, &errinfo);
	rmem_lock_destroy(r->lock);
	heap_free(r->rm->session.heap, r, sizeof(*r));
}
