/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/object.h"

#include "common/clock.h"

struct object object_judge(uint64_t word, const struct object_slab *slab)
{
	const struct object_record r = object_record_unpack(word);
	struct object o = { .held = true, .bytes = slab->slot_bytes, .birth_ns = slab->born_ns };

	if (!object_record_fits(word, slab->slot_bytes)) {
		o.corrupt = true;
		return o;
	}
	if (r.state != OBJECT_LIVE)
		return (struct object){ .held = false };
	if (slab->opened_ns && slab->opened_ns <= slab->now_ns) {
		const uint64_t latest_s = (slab->now_ns - slab->opened_ns) / NSEC_PER_SEC;

		if (r.birth_s > latest_s + OBJECT_BIRTH_TOLERANCE_S) {
			o.corrupt = true;
			return o;
		}
		o.birth_ns = slab->opened_ns + r.birth_s * NSEC_PER_SEC;
	}
	o.bytes -= r.slack;
	o.site = r.site;
	return o;
}
