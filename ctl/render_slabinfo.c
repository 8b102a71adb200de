/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The report slabinfo, laid out as /proc/slabinfo; what follows the last colon is not there. Slabs of one class may have
 * different lengths: objects and pages per slab are averages.
 */
#include "ctl/reports.h"

#include "ctl/render.h"

#include <inttypes.h>
#include <stdio.h>

#define PAGE_BYTES 4096

static uint64_t per(uint64_t n, uint64_t slabs)
{
	return slabs ? n / slabs : 0;
}

int render_slabinfo(const json_t *answer, const struct view *view, FILE *out, struct check *c)
{
	const json_t *classes = field_list(c, answer, "classes");
	json_t *class;
	size_t i;

	(void)view;
	fputs("slabinfo - version: 2.1\n"
	      "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
	      " : tunables <limit> <batchcount> <sharedfactor>"
	      " : slabdata <active_slabs> <num_slabs> <sharedavail>"
	      " : bytes <requested> <waste> <cached> <metadata>\n",
		out);
	json_array_foreach(classes, i, class)
	{
		const uint64_t slabs = field_uint(c, class, "slabs");
		const uint64_t slots = field_uint(c, class, "slots");
		char name[32];

		snprintf(name, sizeof(name), "rmem-%" PRIu64, field_uint(c, class, "object_bytes"));
		fprintf(out, "%-17s %6" PRIu64 " %6" PRIu64 " %6" PRIu64 " %4" PRIu64 " %4" PRIu64,
			name, field_uint(c, class, "objects"), slots,
			field_uint(c, class, "object_bytes"), per(slots, slabs),
			per(field_uint(c, class, "slab_bytes") / PAGE_BYTES, slabs));
		fprintf(out, " : tunables %4u %4u %4u : slabdata %6" PRIu64 " %6" PRIu64 " %6u", 0U,
			0U, 0U, field_uint(c, class, "active_slabs"), slabs, 0U);
		fprintf(out, " : bytes %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
			field_uint(c, class, "bytes"), field_uint(c, class, "waste_bytes"),
			field_uint(c, class, "cached_bytes"),
			field_uint(c, class, "metadata_bytes"));
	}
	return 0;
}
