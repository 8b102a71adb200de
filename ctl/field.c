/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/field.h"

#include <stdio.h>
#include <string.h>

void field_fail(struct check *c, const char *problem, const char *name)
{
	if (c->what[0] == '\0')
		snprintf(c->what, sizeof(c->what), "%s \"%s\"", problem, name);
}

static const json_t *get(struct check *c, const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!value)
		field_fail(c, "lacks", name);
	return value;
}

int64_t field_int(struct check *c, const json_t *object, const char *name)
{
	const json_t *value = get(c, object, name);

	if (value && !json_is_integer(value))
		field_fail(c, "has no number in", name);
	return json_integer_value(value);
}

int64_t field_int_or_null(struct check *c, const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return !value || json_is_null(value) ? -1 : field_int(c, object, name);
}

uint64_t field_uint(struct check *c, const json_t *object, const char *name)
{
	int64_t value = field_int(c, object, name);

	if (value >= 0)
		return (uint64_t)value;
	field_fail(c, "has a negative", name);
	return 0;
}

uint64_t field_uint_or_0(struct check *c, const json_t *object, const char *name)
{
	return json_object_get(object, name) ? field_uint(c, object, name) : 0;
}

bool field_bool(struct check *c, const json_t *object, const char *name)
{
	const json_t *value = get(c, object, name);

	if (value && !json_is_boolean(value))
		field_fail(c, "has no true or false in", name);
	return json_is_true(value);
}

const char *field_text_or_null(struct check *c, const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!value || json_is_null(value))
		return NULL;
	if (!json_is_string(value))
		field_fail(c, "has no text in", name);
	return json_string_value(value);
}

const char *field_text(struct check *c, const json_t *object, const char *name)
{
	const char *text = field_text_or_null(c, object, name);

	if (text)
		return text;
	field_fail(c, "lacks", name);
	return "";
}

enum kind field_kind(struct check *c, const json_t *record)
{
	const char *name = field_text(c, record, "kind");
	enum kind kind = kind_parse(name, strlen(name));

	if (kind == KINDS)
		field_fail(c, "has an unknown kind", name);
	return kind;
}

const json_t *field_object(struct check *c, const json_t *object, const char *name)
{
	const json_t *value = get(c, object, name);

	if (json_is_object(value))
		return value;
	field_fail(c, "has no object in", name);
	return NULL;
}

const json_t *field_list(struct check *c, const json_t *object, const char *name)
{
	const json_t *value = get(c, object, name);

	if (json_is_array(value))
		return value;
	field_fail(c, "has no list in", name);
	return NULL;
}

const char *item_text(struct check *c, const json_t *item, const char *list)
{
	if (json_is_string(item))
		return json_string_value(item);
	field_fail(c, "has no texts in", list);
	return "";
}

int64_t item_int(struct check *c, const json_t *item, const char *list)
{
	if (!json_is_integer(item))
		field_fail(c, "has no numbers in", list);
	return json_integer_value(item);
}
