/* SPDX-License-Identifier: BSD-3-Clause */
/* The report slabinfo: what an audit found in slabs, by size class. */
#include "server/admin/report.h"
#include "server/admin/report_parts.h"

static json_t *make_class(struct draft *d, unsigned size_class, const struct audit_slabs *s)
{
	const uint64_t slot_bytes = size_class_bytes(size_class);
	json_t *o = json_object();

	draft_set_number(d, o, "object_bytes", slot_bytes);
	draft_set_number(d, o, "slabs", s->slabs);
	draft_set_number(d, o, "active_slabs", s->active);
	draft_set_number(d, o, "slab_bytes", s->slab_bytes);
	draft_set_number(d, o, "slots", s->slots);
	draft_set_number(d, o, "objects", s->objects);
	draft_set_number(d, o, "bytes", s->bytes);
	draft_set_number(d, o, "waste_bytes", s->objects * slot_bytes - s->bytes);
	draft_set_number(d, o, "cached_bytes", (s->slots - s->objects) * slot_bytes);
	draft_set_number(d, o, "metadata_bytes", s->slab_bytes - s->slots * slot_bytes);
	return o;
}

json_t *report_slabinfo(const struct report_view *view, const struct audit_result *result)
{
	struct draft d = { .view = view };
	json_t *answer = draft_begin(&d, "slabinfo"), *list = json_array();

	for (unsigned i = 1; i < SIZE_CLASSES; i++) {
		if (result->classes[i].slabs)
			draft_append(&d, list, make_class(&d, i, &result->classes[i]));
	}
	draft_set(&d, answer, "classes", list);
	draft_set_number(&d, answer, "slabs_unread", result->slabs_unread);
	return draft_finish(&d, answer);
}
