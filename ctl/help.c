/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/help.h"

#include <stdio.h>
#include <string.h>

#include "ctl/menu.h"

#define COMMAND_COLUMN 20
#define OPTION_COLUMN 24

/* Lines of text, from a column on. The first follows what is there already, if that leaves a blank. */
static void put_column(FILE *out, int column, int used, const char *text)
{
	if (used >= column) {
		putc('\n', out);
		used = 0;
	}
	for (const char *line = text; line; used = 0) {
		const char *end = strchr(line, '\n');

		fprintf(out, "%*s%.*s\n", column - used, "", end ? (int)(end - line) : 999, line);
		line = end ? end + 1 : NULL;
	}
}

static void put_option(FILE *out, const struct menu_option *o)
{
	int used = o->letter ? fprintf(out, "  -%c, --%s", o->letter, o->name)
			     : fprintf(out, "  --%s", o->name);

	if (o->value)
		used += fprintf(out, " %s", o->value);
	put_column(out, OPTION_COLUMN, used, o->help);
}

/* Those that all commands have, or those that only some of these reports have. */
static void put_options(FILE *out, unsigned reports, bool common)
{
	for (size_t i = 0; i < menu_noptions; i++) {
		const struct menu_option *o = &menu_options[i];

		if (o->help && (o->reports & reports) && (o->reports == REPORT_BITS_ALL) == common)
			put_option(out, o);
	}
}

static void put_command(FILE *out, unsigned command)
{
	const struct menu_command *c = &menu_commands[command];

	fprintf(out, "Usage: rmemctl %s%s%s [OPTION]...\n\n%s\nOptions:\n", c->name,
		c->operand ? " " : "", c->operand ? c->operand : "", c->about);
	put_options(out, menu_reports(command), false);
}

static void put_general(FILE *out)
{
	fputs("Usage: rmemctl [OPTION]... COMMAND\n"
	      "\n"
	      "Ask an rmemd what it has lent, and what of it is leaked.\n"
	      "\n"
	      "Commands:\n",
		out);
	for (unsigned i = 0; i < MENU_COMMANDS; i++) {
		const struct menu_command *c = &menu_commands[i];
		int used = fprintf(out, "  %s%s%s", c->name, c->operand ? " " : "",
			c->operand ? c->operand : "");

		put_column(out, COMMAND_COLUMN, used, c->summary);
	}
	fputs("\nOptions, before or after the command:\n", out);
}

void help_put(FILE *out, unsigned command)
{
	if (command < MENU_COMMANDS)
		put_command(out, command);
	else
		put_general(out);
	put_options(out, REPORT_BITS_ALL, true);
	fputs("\n"
	      "Exit status: 0 clean, or done; 1 leaks, or history of them that nobody has\n"
	      "acknowledged; with who-holds: it is free; with evict, revoke and reclaim: not\n"
	      "confirmed; 2 wrong usage; 3 could not ask, check or do it.\n"
	      "The manual is rmemctl(1).\n",
		out);
}
