/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/words.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

#include "common/units.h"
#include "ctl/menu.h"

struct grammar {
	struct option longs[GIVEN_MAX];
	char letters[2 * GIVEN_MAX + 4];
};

/* Each name and letter once: val is the index of its first entry, behind all letters. */
static void make_grammar(struct grammar *g)
{
	size_t n = 0, used = 1;

	memset(g, 0, sizeof(*g));
	g->letters[0] = ':'; /* a missing value is not an unknown option */
	for (size_t i = 0; i < menu_noptions && n + 1 < GIVEN_MAX; i++) {
		const struct menu_option *o = &menu_options[i];
		bool named = false;

		for (size_t k = 0; k < n; k++)
			named |= strcmp(g->longs[k].name, o->name) == 0;
		if (!named)
			g->longs[n++] = (struct option){ .name = o->name,
				.has_arg = !o->value            ? no_argument
					   : o->value[0] == '[' ? optional_argument
								: required_argument,
				.val = UCHAR_MAX + 1 + (int)i };
		if (!o->letter || strchr(g->letters, o->letter))
			continue;
		g->letters[used++] = o->letter;
		if (o->value)
			g->letters[used++] = ':';
	}
}

static int complain(int option, const char *word, struct errinfo *errinfo)
{
	if (option == ':')
		return errinfo_set(errinfo, -EINVAL, "%s wants a value", word);
	if (strncmp(word, "--", 2) == 0)
		return errinfo_set(
			errinfo, -EINVAL, "no such option, or not with a value: %s", word);
	return errinfo_set(errinfo, -EINVAL, "no such option: -%c", optopt);
}

/* getopt(3) takes a value that may be missing only after "=". A number is one in the next word, too. */
static void take_name(struct given *given, const struct menu_option *o, char **argv)
{
	uint64_t ms;

	given->name = o->name;
	if (o->value && o->value[0] == '[' && !given->text && argv[optind] &&
		units_parse_duration(argv[optind], &ms) == 0)
		given->text = argv[optind++];
}

int words_read(struct words *w, int argc, char **argv, struct errinfo *errinfo)
{
	struct grammar g;
	int option;

	make_grammar(&g);
	opterr = 0;
	/* 0: start over, with a fresh permutation, however often this was called */
	optind = 0;
	while ((option = getopt_long(argc, argv, g.letters, g.longs, NULL)) != -1) {
		struct given *given = &w->given[w->ngiven];

		/* the word that option was in, unless it holds several letters */
		if (option == ':' || option == '?')
			return complain(option, argv[optind - 1], errinfo);
		if (w->ngiven++ == GIVEN_MAX - 1)
			return errinfo_set(errinfo, -EINVAL, "too many options");
		*given = (struct given){ .text = optarg };
		if (option > UCHAR_MAX)
			take_name(given, &menu_options[option - UCHAR_MAX - 1], argv);
		else
			given->letter = (char)option;
	}
	w->noperands = argc - optind;
	w->operands = argv + optind;
	return 0;
}
