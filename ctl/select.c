/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/select.h"

#include <errno.h>

#include "ctl/field.h"

/*
 * Append the records that are shown to out, and count the others of those kinds. 0 or -ENOMEM. A kind that schema 1
 * does not have is a bad field: to leave out such a record would hide something.
 */
static int sort_out(const json_t *records, const struct view *view, json_t *out, uint64_t *hidden,
	struct check *c)
{
	json_t *record;
	size_t i;

	*hidden = 0;
	json_array_foreach(records, i, record)
	{
		enum kind kind = field_kind(c, record);
		uint64_t age_ms = field_uint(c, record, "age_max_ms");

		if (c->what[0])
			return 0;
		if (!(view->kinds & KIND_BIT(kind)))
			continue;
		if (age_ms < view->older_ms || field_uint(c, record, "bytes") < view->min_bytes ||
			(view->limit && json_array_size(out) == view->limit))
			(*hidden)++;
		else if (json_array_append(out, record) != 0)
			return -ENOMEM;
	}
	return 0;
}

/* Nothing is changed unless all is. */
static int replace(json_t *answer, json_t *records, uint64_t hidden)
{
	json_t *number = hidden ? json_integer((json_int_t)hidden) : NULL;

	if (hidden && json_object_set_new(answer, SELECT_HIDDEN, number) != 0)
		return -ENOMEM;
	if (!hidden)
		json_object_del(answer, SELECT_HIDDEN);
	/* the key is there already: this needs no memory */
	return json_object_set(answer, "records", records) == 0 ? 0 : -ENOMEM;
}

int select_leaks(json_t *answer, const struct view *view, struct why *why)
{
	struct check c = { "" };
	const json_t *records = field_list(&c, answer, "records");
	json_t *shown = json_array();
	uint64_t hidden = 0;
	int err = shown ? sort_out(records, view, shown, &hidden, &c) : -ENOMEM;

	if (c.what[0])
		err = why_set(
			why, -EBADMSG, "the answer %s: this is not what an rmemd says", c.what);
	else if (err || replace(answer, shown, hidden))
		err = why_set(why, -ENOMEM, "out of memory");
	json_decref(shown);
	return err;
}
