/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/site_names.h"

#include <stdio.h>
#include <string.h>

/* What function and file may have if each frame is to get a name: the file's text has its own limit. */
#define FUNCTION_LEAST 112
_Static_assert(SITE_NAMES_BYTES >= SITE_DEPTH_MAX * (FUNCTION_LEAST - 1 +
							    sizeof(((struct site_name *)0)->file) -
							    1 + SITE_NAME_EXTRA),
	"a name for each frame");

size_t site_names_bytes(const struct site_names_request *names)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < names->nnames; i++)
		bytes += strlen(names->names[i].function) + strlen(names->names[i].file) +
			 SITE_NAME_EXTRA;
	return bytes;
}

static bool is_terminated(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

bool site_names_are_possible(const struct site_names_request *names, unsigned nframes)
{
	unsigned frames = 0;

	if (names->nnames == 0 || names->nnames > SITE_NAMES_MAX)
		return false;
	for (unsigned i = 0; i < names->nnames; i++) {
		const struct site_name *n = &names->names[i];

		if (n->inlined > 1 || !is_terminated(n->function, sizeof(n->function)) ||
			!is_terminated(n->file, sizeof(n->file)) || n->line > INT32_MAX)
			return false;
		frames += !n->inlined;
	}
	return frames == nframes && !names->names[names->nnames - 1].inlined &&
	       site_names_bytes(names) <= SITE_NAMES_BYTES;
}

/* FNV-1a, 32 bits (Fowler, Noll, Vo). */
static uint32_t hash_text(const char *text)
{
	uint32_t hash = 0x811c9dc5;

	while (*text)
		hash = (hash ^ (uint8_t)*text++) * 0x01000193;
	return hash;
}

void site_names_cut(char *out, size_t size, const char *function)
{
	static const size_t hash_size = sizeof("~12345678");
	size_t length = strlen(function), kept = length < size ? length : size - hash_size;
	uint32_t hash = hash_text(function);

	/* Not in the middle of a character of UTF-8. */
	while (length >= size && kept > 0 && ((uint8_t)function[kept] & 0xc0) == 0x80)
		kept--;
	memmove(out, function, kept);
	memset(out + kept, 0, size - kept);
	if (length >= size)
		snprintf(out + kept, hash_size, "~%08x", hash);
}

static void leave_out(struct site_names_request *names, unsigned at)
{
	names->nnames--;
	memmove(&names->names[at], &names->names[at + 1],
		(names->nnames - at) * sizeof(names->names[0]));
	memset(&names->names[names->nnames], 0, sizeof(names->names[0]));
}

void site_names_fit(struct site_names_request *names)
{
	static const size_t sizes[] = { 256, FUNCTION_LEAST };
	unsigned last = names->nnames;

	for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (unsigned i = names->nnames; i-- > 0;) {
			char *function = names->names[i].function;

			if (site_names_bytes(names) > SITE_NAMES_BYTES &&
				strlen(function) >= sizes[s])
				site_names_cut(function, sizes[s], function);
		}
	}
	while (site_names_bytes(names) > SITE_NAMES_BYTES && last-- > 0)
		if (names->names[last].inlined)
			leave_out(names, last);
}
