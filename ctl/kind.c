/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/kind.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *name, *phrase, *summary;
} kinds[KINDS] = {
	[KIND_DEFINITE] = { "definite", "definitely lost", "definitely lost" },
	[KIND_INDIRECT] = { "indirect", "indirectly lost", "indirectly lost" },
	[KIND_POSSIBLE] = { "possible", "possibly lost", "possibly lost" },
	[KIND_IDLE] = { "idle", "idle", "idle" },
	[KIND_REACHABLE] = { "reachable", "still reachable", "still reachable" },
	[KIND_LIMBO] = { "limbo", "in limbo (cannot know yet)", "limbo" },
	[KIND_ZOMBIE] = { "zombie", "zombie (revoke not confirmed)", "zombie" },
	[KIND_SUPPRESSED] = { "suppressed", "suppressed", "suppressed" },
};

const char *kind_name(enum kind kind)
{
	return kinds[kind].name;
}

const char *kind_phrase(enum kind kind)
{
	return kinds[kind].phrase;
}

const char *kind_summary(enum kind kind)
{
	return kinds[kind].summary;
}

enum kind kind_parse(const char *name, size_t len)
{
	unsigned i = 0;

	while (i < KINDS && (strncmp(kinds[i].name, name, len) != 0 || kinds[i].name[len] != '\0'))
		i++;
	return (enum kind)i;
}

int kind_parse_list(const char *list, unsigned *out_bits)
{
	unsigned bits = 0;

	if (strcmp(list, "all") == 0) {
		*out_bits = KINDS_ALL;
		return 0;
	}
	for (;;) {
		size_t len = strcspn(list, ",");
		enum kind kind = kind_parse(list, len);

		if (kind == KINDS)
			return -EINVAL;
		bits |= KIND_BIT(kind);
		if (list[len] == '\0')
			break;
		list += len + 1;
	}
	*out_bits = bits;
	return 0;
}
