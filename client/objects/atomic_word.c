/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/objects/atomic_word.h"

#include <errno.h>
#include <inttypes.h>

#include "client/space/call.h"
#include "client/space/access.h"
#include "common/clock.h"

#define READ_TRIES 8 /* each spoilt by another broken connection */

int atomic_word_check_addr(rmem_addr_t addr, struct errinfo *errinfo)
{
	if (addr == 0)
		return errinfo_set(errinfo, -EINVAL, "the remote address is 0, which is null");
	if (addr % sizeof(uint64_t))
		return errinfo_set(errinfo, -EINVAL,
			"0x%" PRIx64 " is no address for this: it must be a multiple of 8", addr);
	return 0;
}

int atomic_word_settle(struct rmem *rm, struct errinfo *errinfo)
{
	struct session *s = &rm->session;

	return fencing_settle(
		s, fencing_now(s).generation, clock_boot_ns() + s->timeout_ns, errinfo);
}

static int read_as_of(
	struct rmem *rm, rmem_addr_t addr, uint64_t as_of, uint64_t *out, struct errinfo *errinfo)
{
	uint64_t until = clock_boot_ns() + rm->session.timeout_ns;
	int rc, tries = 0;

	do {
		struct operation op = { .kind = OPERATION_FETCH_ADD, .addr = addr, .as_of = as_of };

		rc = access_operate(rm, &op, out, "rmem_fetch_add");
	} while ((rc == -EREMOTEIO || rc == -ECONNRESET) && ++tries < READ_TRIES &&
		 clock_boot_ns() < until);
	if (rc)
		errinfo_set(errinfo, rc, "%s", rmem_errmsg());
	return rc == -EREMOTEIO ? -ECONNRESET : rc; /* it changes nothing: there is no doubt */
}

int atomic_word_read(struct rmem *rm, rmem_addr_t addr, uint64_t *out, struct errinfo *errinfo)
{
	return read_as_of(rm, addr, 0, out, errinfo);
}

int atomic_word_swap(struct rmem *rm, rmem_addr_t addr, uint64_t expected, uint64_t desired,
	const struct atomic_word_terms *terms, struct atomic_word_swap *out,
	struct errinfo *errinfo)
{
	struct operation op = { .kind = OPERATION_COMPARE_SWAP,
		.addr = addr,
		.add_or_expected = expected,
		.desired = desired,
		.lease_epoch = terms->lease_epoch,
		.as_of = terms->as_of };
	uint64_t found = 0;
	int rc = access_operate(rm, &op, &found, "rmem_compare_swap");

	*out = (struct atomic_word_swap){ found, false };
	if (rc)
		errinfo_set(errinfo, rc, "%s", rmem_errmsg());
	if (rc != -EREMOTEIO)
		return rc;
	if (atomic_word_settle(rm, errinfo) || read_as_of(rm, addr, terms->as_of, &found, errinfo))
		return -EREMOTEIO;
	*out = (struct atomic_word_swap){ found, true };
	return 0;
}

uint64_t atomic_word_mine(struct rmem *rm, struct fencing_now *out_now)
{
	const uint64_t mask = (1ULL << ATOMIC_WORD_NUMBER_BITS) - 1;
	struct session *s = &rm->session;

	*out_now = fencing_now(s);
	return out_now->fencing_token << ATOMIC_WORD_NUMBER_BITS |
	       (atomic_fetch_add(&s->lease_epoch.numbers, 1) & mask);
}
