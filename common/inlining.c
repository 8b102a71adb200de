/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/inlining.h"

#include <dwarf.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <utlist.h>

#define NAMESPACES_MAX 16 /* inside each other; functions in deeper ones are not looked at */

/* A piece of a function's code; one with cold parts has several. */
struct code {
	Dwarf_Addr low, high; /* high: the first byte after it */
	Dwarf_Die function;
};

struct inlining_unit {
	Dwarf_Off offset; /* which one */
	struct code *codes;
	size_t n, room;
	struct inlining_unit *next;
};

/* libdw believes the file about where the next entry is. It must be further on, so that this ends. */
static bool go_on(Dwarf_Die *die)
{
	Dwarf_Off offset = dwarf_dieoffset(die);

	return dwarf_siblingof(die, die) == 0 && dwarf_dieoffset(die) > offset;
}

static int add_code(struct inlining_unit *u, Dwarf_Addr low, Dwarf_Addr high, const Dwarf_Die *die)
{
	size_t room = u->room ? 2 * u->room : 64;
	struct code *bigger;

	if (u->n == u->room) {
		bigger = realloc(u->codes, room * sizeof(*bigger));
		if (!bigger)
			return -1;
		u->codes = bigger;
		u->room = room;
	}
	u->codes[u->n++] = (struct code){ low, high, *die };
	return 0;
}

static int add_function(struct inlining_unit *u, Dwarf_Die *function)
{
	Dwarf_Addr base, low, high;
	ptrdiff_t at = 0;
	int err = 0;

	/* 0 or less: no more, or none, as for declarations */
	while (err == 0 && (at = dwarf_ranges(function, at, &base, &low, &high)) > 0)
		err = add_code(u, low, high, function);
	return err;
}

/* Functions stand in the unit itself, or in the namespaces of other languages than C. */
static int add_functions(struct inlining_unit *u, Dwarf_Die *scope, unsigned depth)
{
	Dwarf_Die die;
	bool more = dwarf_child(scope, &die) == 0;
	int err = 0;

	while (more && err == 0) {
		int tag = dwarf_tag(&die);

		if (tag == DW_TAG_subprogram)
			err = add_function(u, &die);
		else if (tag == DW_TAG_namespace && depth < NAMESPACES_MAX)
			err = add_functions(u, &die, depth + 1);
		more = go_on(&die);
	}
	return err;
}

/* Without memory it knows some of its functions, or is NULL: then names are those of the symbol table. */
static struct inlining_unit *find_unit(struct inlining *x, const Dwarf_Die *unit)
{
	Dwarf_Die die = *unit;
	Dwarf_Off offset = dwarf_dieoffset(&die);
	struct inlining_unit *u;

	LL_FOREACH (x->units, u)
		if (u->offset == offset)
			return u;
	u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	u->offset = offset;
	LL_PREPEND(x->units, u);
	add_functions(u, &die, 0);
	return u;
}

static const Dwarf_Die *find_function(const struct inlining_unit *u, Dwarf_Addr addr)
{
	for (size_t i = 0; i < u->n; i++)
		if (u->codes[i].low <= addr && addr < u->codes[i].high)
			return &u->codes[i].function;
	return NULL;
}

static bool has_scope(Dwarf_Die *die)
{
	switch (dwarf_tag(die)) {
	case DW_TAG_inlined_subroutine:
	case DW_TAG_lexical_block:
	case DW_TAG_try_block:
	case DW_TAG_catch_block:
		return true;
	default:
		return false;
	}
}

static const char *name_of(Dwarf_Die *die)
{
	static const unsigned attributes[] = { DW_AT_linkage_name, DW_AT_MIPS_linkage_name,
		DW_AT_name };
	const char *name = NULL;
	Dwarf_Attribute attribute;

	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]) && !name; i++)
		name = dwarf_formstring(dwarf_attr_integrate(die, attributes[i], &attribute));
	return name;
}

/* Where it was called. */
static void read_call(Dwarf_Die *unit, Dwarf_Die *inlined, struct inlining_level *out)
{
	Dwarf_Attribute attribute;
	Dwarf_Word line, file;
	Dwarf_Files *files;
	size_t nfiles;

	if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &line) == 0 &&
		line <= INT_MAX)
		out->line = (int)line;
	if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &file) == 0 &&
		dwarf_getsrcfiles(unit, &files, &nfiles) == 0 && file < nfiles)
		out->file = dwarf_filesrc(files, file, NULL, NULL);
}

/* From the function inwards. Returns how many inlined ones there are; of those beyond max the innermost are kept. */
static unsigned find_inlined(
	const Dwarf_Die *function, Dwarf_Addr addr, Dwarf_Die *out, unsigned max)
{
	Dwarf_Die die = *function;
	bool more = dwarf_child(&die, &die) == 0;
	unsigned n = 0;

	while (more) {
		if (!has_scope(&die) || dwarf_haspc(&die, addr) != 1) {
			more = go_on(&die);
			continue;
		}
		if (dwarf_tag(&die) == DW_TAG_inlined_subroutine) {
			if (n == max)
				n--;
			out[n++] = die;
		}
		more = dwarf_child(&die, &die) == 0;
	}
	return n;
}

unsigned inlining_find(struct inlining *x, const Dwarf_Die *unit, Dwarf_Addr addr,
	struct inlining_level *out, unsigned max)
{
	const struct inlining_unit *u = find_unit(x, unit);
	const Dwarf_Die *function = u ? find_function(u, addr) : NULL;
	Dwarf_Die inlined[INLINING_MAX], die = *unit;
	unsigned n, most = max < INLINING_MAX ? max : INLINING_MAX;

	if (!function || most < 2)
		return 0;
	n = find_inlined(function, addr, inlined, most - 1);
	for (unsigned i = 0; i < n; i++)
		out[n - 1 - i] = (struct inlining_level){ .name = name_of(&inlined[i]) };
	out[n] = (struct inlining_level){ 0 };
	for (unsigned i = 0; i < n; i++)
		read_call(&die, &inlined[i], &out[n - i]);
	return n ? n + 1 : 0;
}

void inlining_clear(struct inlining *x)
{
	struct inlining_unit *u, *next;

	LL_FOREACH_SAFE (x->units, u, next) {
		free(u->codes);
		free(u);
	}
	x->units = NULL;
}
