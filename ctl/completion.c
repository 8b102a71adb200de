/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/completion.h"

#include <string.h>

#include "ctl/menu.h"

static void put_command_words(FILE *out, const char *separator)
{
	for (unsigned i = 0; i < MENU_COMMANDS; i++)
		fprintf(out, "%s%s", i ? separator : "", menu_commands[i].name);
}

static bool is_of(const struct menu_option *o, unsigned reports, const char *name)
{
	return (o->reports & reports) && strcmp(o->name, name) == 0;
}

/* Of an option with several entries for these reports this is the first. */
static bool is_first(const struct menu_option *o, unsigned reports)
{
	for (const struct menu_option *earlier = menu_options; earlier < o; earlier++)
		if (is_of(earlier, reports, o->name))
			return false;
	return true;
}

/* Of all entries of that option; o is the first. */
static void put_words(FILE *out, const struct menu_option *o, unsigned reports)
{
	fputs(o->words ? o->words : "", out);
	for (const struct menu_option *p = o + 1; p < menu_options + menu_noptions; p++) {
		const char *word = is_of(p, reports, o->name) && p->words ? p->words : "";

		for (size_t len; (len = strcspn(word, " ")) > 0; word += strspn(word, " ")) {
			if (!menu_has_word(o->words, word, len))
				fprintf(out, " %.*s", (int)len, word);
			word += len;
		}
	}
}

/* What may follow an option that takes a value. */
static void put_values(
	FILE *out, const struct menu_option *o, unsigned reports, const char *command)
{
	if (!o->value || o->value[0] == '[')
		return;
	fprintf(out, "\t%s,--%s", command, o->name);
	if (o->letter)
		fprintf(out, " | %s,-%c", command, o->letter);
	if (o->words && strcmp(o->words, "FILE") == 0) {
		fputs(") mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n", out);
	} else {
		fputs(") words='", out);
		put_words(out, o, reports);
		fputs("' ;;\n", out);
	}
}

static void put_all_values(FILE *out)
{
	for (size_t i = 0; i < menu_noptions; i++)
		if (menu_options[i].reports == REPORT_BITS_ALL)
			put_values(out, &menu_options[i], REPORT_BITS_ALL, "*");
	for (unsigned command = 0; command < REPORT_COMMANDS; command++) {
		const unsigned reports = menu_reports(command);

		for (size_t i = 0; i < menu_noptions; i++) {
			const struct menu_option *o = &menu_options[i];

			if (o->reports != REPORT_BITS_ALL && (o->reports & reports) &&
				is_first(o, reports))
				put_values(out, o, reports, menu_commands[command].name);
		}
	}
}

static void put_options(FILE *out, unsigned reports, bool common)
{
	for (size_t i = 0; i < menu_noptions; i++) {
		const struct menu_option *o = &menu_options[i];

		if (o->help && (o->reports & reports) &&
			(o->reports == REPORT_BITS_ALL) == common && is_first(o, reports))
			fprintf(out, " --%s", o->name);
	}
}

void completion_put_bash(FILE *out)
{
	fputs("# Completes command lines of rmemctl(1). Made by: rmemctl completion bash\n"
	      "_rmemctl()\n"
	      "{\n"
	      "\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
	      "\tlocal command='' words='' listed='' i\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase ${COMP_WORDS[i]} in\n"
	      "\t\t",
		out);
	put_command_words(out, " | ");
	fputs(") command=${COMP_WORDS[i]}; break ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tCOMPREPLY=()\n"
	      "\tcase $command,$before in\n",
		out);
	put_all_values(out);
	fputs("\t,*) words='", out);
	put_command_words(out, " ");
	put_options(out, REPORT_BITS_ALL, true);
	fputs("' ;;\n", out);
	for (unsigned command = 0; command < MENU_COMMANDS; command++) {
		const struct menu_command *c = &menu_commands[command];

		fprintf(out, "\t%s,*) words='%s", c->name, c->words ? c->words : "");
		put_options(out, menu_reports(command), false);
		put_options(out, REPORT_BITS_ALL, true);
		fputs("' ;;\n", out);
	}
	/* of a list with commas, the last word */
	/* of a list with commas, the last word */
	fputs("\tesac\n"
	      "\tif [[ $word == *,* ]]; then listed=${word%,*},; fi\n"
	      "\tmapfile -t COMPREPLY < <(compgen -P \"$listed\" -W \"$words\" -- "
	      "\"${word#\"$listed\"}\")\n"
	      "}\n"
	      "complete -F _rmemctl rmemctl\n",
		out);
}
