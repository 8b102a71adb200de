/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/word.h"

#include <errno.h>
#include <inttypes.h>

#include "client/call.h"
#include "client/data.h"
#include "common/clock.h"

#define READ_TRIES 8 /* each spoilt by another broken connection */

int word_check_addr(rmem_addr_t addr, struct why *why)
{
	if (addr == 0)
		return why_set(why, -EINVAL, "the remote address is 0, which is null");
	if (addr % sizeof(uint64_t))
		return why_set(why, -EINVAL,
			"0x%" PRIx64 " is no address for this: it must be a multiple of 8", addr);
	return 0;
}

int word_settle(struct rmem *rm, struct why *why)
{
	struct session *s = &rm->session;

	return tenure_settle(s, tenure_now(s).generation, clock_boot_ns() + s->timeout_ns, why);
}

static int read_as_of(
	struct rmem *rm, rmem_addr_t addr, uint64_t as_of, uint64_t *out, struct why *why)
{
	uint64_t until = clock_boot_ns() + rm->session.timeout_ns;
	int rc, tries = 0;

	do {
		struct operation op = { .kind = OPERATION_FETCH_ADD, .addr = addr, .as_of = as_of };

		rc = data_operate(rm, &op, out, "rmem_fetch_add");
	} while ((rc == -EREMOTEIO || rc == -ECONNRESET) && ++tries < READ_TRIES &&
		 clock_boot_ns() < until);
	if (rc)
		why_set(why, rc, "%s", rmem_errmsg());
	return rc == -EREMOTEIO ? -ECONNRESET : rc; /* it changes nothing: there is no doubt */
}

int word_read(struct rmem *rm, rmem_addr_t addr, uint64_t *out, struct why *why)
{
	return read_as_of(rm, addr, 0, out, why);
}

int word_swap(struct rmem *rm, rmem_addr_t addr, uint64_t expected, uint64_t desired,
	const struct word_terms *terms, struct word_swap *out, struct why *why)
{
	struct operation op = { .kind = OPERATION_COMPARE_SWAP,
		.addr = addr,
		.add_or_expected = expected,
		.desired = desired,
		.tenure = terms->tenure,
		.as_of = terms->as_of };
	uint64_t found = 0;
	int rc = data_operate(rm, &op, &found, "rmem_compare_swap");

	*out = (struct word_swap){ found, false };
	if (rc)
		why_set(why, rc, "%s", rmem_errmsg());
	if (rc != -EREMOTEIO)
		return rc;
	if (word_settle(rm, why) || read_as_of(rm, addr, terms->as_of, &found, why))
		return -EREMOTEIO;
	*out = (struct word_swap){ found, true };
	return 0;
}

uint64_t word_mine(struct rmem *rm, struct tenure_now *out_now)
{
	const uint64_t mask = (1ULL << WORD_NUMBER_BITS) - 1;
	struct session *s = &rm->session;

	*out_now = tenure_now(s);
	return out_now->fencing_token << WORD_NUMBER_BITS |
	       (atomic_fetch_add(&s->tenure.numbers, 1) & mask);
}
