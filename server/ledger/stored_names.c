/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/stored_names.h"

#include <string.h>

#define INLINED (1U << 31)

_Static_assert(sizeof(union stored_names) == sizeof(struct fixed_names), "the layout of format 2");

void packed_names_put(struct packed_names *out, const struct site_names_request *names)
{
	uint8_t *to = out->text;

	for (unsigned i = 0; i < names->nnames; i++) {
		const struct site_name *n = &names->names[i];
		const uint32_t line = n->line | (n->inlined ? INLINED : 0);
		const size_t function = strlen(n->function) + 1, file = strlen(n->file) + 1;

		memcpy(to, &line, sizeof(line));
		memcpy(to + sizeof(line), n->function, function);
		memcpy(to + sizeof(line) + function, n->file, file);
		to += sizeof(line) + function + file;
	}
	out->bytes = (uint16_t)(to - out->text);
	memset(to, 0, (size_t)(out->text + sizeof(out->text) - to));
}

/* The text at *at, if it ends before the bytes do and fits. */
static bool take_text(const struct packed_names *p, unsigned *at, char *out, size_t size)
{
	const uint8_t *text = p->text + *at;
	const size_t n = strnlen((const char *)text, p->bytes - *at);

	if (n == p->bytes - *at || n >= size)
		return false;
	memcpy(out, text, n + 1);
	*at += (unsigned)n + 1;
	return true;
}

bool packed_names_next(const struct packed_names *p, unsigned *at, struct site_name *out)
{
	struct site_name name = { 0 };
	unsigned next = *at;

	if (p->bytes > sizeof(p->text) || next > p->bytes || p->bytes - next < SITE_NAME_EXTRA)
		return false;
	memcpy(&name.line, p->text + next, sizeof(name.line));
	next += sizeof(name.line);
	name.inlined = (name.line & INLINED) != 0;
	name.line &= ~INLINED;
	if (!take_text(p, &next, name.function, sizeof(name.function)) ||
		!take_text(p, &next, name.file, sizeof(name.file)))
		return false;
	*at = next;
	*out = name;
	return true;
}

bool packed_names_are_possible(const struct packed_names *p, unsigned nframes)
{
	struct site_name name = { .inlined = 1 };
	unsigned at = 0, n = 0, frames = 0;

	while (packed_names_next(p, &at, &name)) {
		n++;
		frames += !name.inlined;
	}
	return at == p->bytes && n <= SITE_NAMES_MAX && frames == nframes && !name.inlined;
}

bool fixed_names_next(const struct fixed_names *f, unsigned *at, struct site_name *out)
{
	const struct stored_name *from = &f->names[*at];

	if (*at >= f->nnames)
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(out->function, from->function, sizeof(from->function));
	memcpy(out->file, from->file, sizeof(from->file));
	out->line = from->line;
	++*at;
	return true;
}

bool fixed_names_are_possible(const struct fixed_names *f, unsigned nframes)
{
	if (f->nnames != nframes)
		return false;
	for (unsigned i = 0; i < nframes; i++)
		if (!memchr(f->names[i].function, '\0', sizeof(f->names[i].function)) ||
			!memchr(f->names[i].file, '\0', sizeof(f->names[i].file)))
			return false;
	return true;
}
