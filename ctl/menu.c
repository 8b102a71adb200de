/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/menu.h"

#include <stdio.h>
#include <string.h>

#define KIND_WORDS "definite indirect possible idle reachable limbo zombie suppressed all"

/* clang-format off: as it looks on the screen */
const struct menu_command menu_commands[MENU_COMMANDS] = {
	[REPORT_STATUS] = { "status", NULL, NULL,
		"the server: devices and their protection, memory, sessions, terms",
		"Show the server, its devices and what they protect, its memory per NUMA node,\n"
		"how many sessions and allocations there are, and the lease terms.\n" },
	[REPORT_LEAKS] = { "leaks", NULL, NULL,
		"audit now; report leaks with holder, source line and evidence;\n"
		"or what was taken back from holders gone or silent",
		"Audit now and report what is leaked, by call site, and that no byte of the pool\n"
		"is unaccounted for. Exits with 1 if anything is definitely lost, if memory is of "
		"no\n"
		"known session, if a revoke was not confirmed, if bytes are unaccounted for or\n"
		"miscounted, shown or not, or if what was taken back is not acknowledged. With\n"
		"--reclaimed or --ack: no audit, and never 1.\n" },
	[REPORT_SESSIONS] = { "sessions", NULL, NULL, "who is or was connected, and holds what",
		"List the client processes that are connected or still hold memory, the biggest\n"
		"holder first.\n" },
	[REPORT_MAP] = { "map", NULL, NULL, "where the pool's memory is, and who has it",
		"Show each NUMA node's memory and on which node its pages really are.\n" },
	[REPORT_WHO_HOLDS] = { "who-holds", "ADDR", NULL,
		"whose allocation contains a remote address",
		"Show the allocation that contains a remote address, who holds it and the call\n"
		"stack that allocated it. Exits with 1 if nobody holds that address.\n" },
	[MENU_COMPLETION] = { "completion", "SHELL", "bash",
		"a script that completes these words in a shell: bash",
		"Print a script that completes command lines of rmemctl in that shell, which can\n"
		"only be bash: source <(rmemctl completion bash)\n" },
};

#define LEAKS REPORT_BIT(REPORT_LEAKS)
#define MAP REPORT_BIT(REPORT_MAP)
#define RECLAIMED REPORT_BIT(REPORT_RECLAIMED)
#define ACKNOWLEDGE REPORT_BIT(REPORT_ACKNOWLEDGE)
#define ALL REPORT_BITS_ALL

const struct menu_option menu_options[] = {
	{ OPTION_KINDS, 0, "kinds", "LIST", LEAKS,
		"show these kinds (definite,limbo,zombie), or all (with\n--json the default)",
		KIND_WORDS, false },
	{ OPTION_LIMIT, 'T', "limit", "N", LEAKS, "show at most N records", NULL, false },
	{ OPTION_LIMIT, 0, "top", "N", LEAKS, NULL, NULL, false },
	{ OPTION_OLDER, 'o', "older", "DURATION", LEAKS,
		"show only records whose oldest block is that old", NULL, false },
	{ OPTION_MIN_BYTES, 0, "min-bytes", "SIZE", LEAKS,
		"show only records of at least that many bytes", NULL, false },
	{ OPTION_FAIL_ON, 0, "fail-on", "LIST", LEAKS,
		"exit with 1 for these kinds (definite,zombie); for what\n"
		"is wrong or not acknowledged always",
		KIND_WORDS, false },
	{ OPTION_QUIET, 'q', "quiet", NULL, LEAKS, "print nothing: the exit status says it", NULL,
		false },
	{ OPTION_RECLAIMED, 0, "reclaimed", NULL, RECLAIMED,
		"show instead what was taken back from holders that were\n"
		"gone: the lines of history, the newest first",
		NULL, false },
	{ OPTION_LIMIT, 0, "limit", "N", RECLAIMED, "with --reclaimed: at most N lines (256)", NULL,
		false },
	{ OPTION_ACK, 0, "ack", "ID", ACKNOWLEDGE,
		"acknowledge that line of history, or all; only on the\nserver's host", "all",
		false },
	{ OPTION_NODE, 0, "node", "N", MAP, "only this node", NULL, false },
	{ OPTION_BLOCKS, 0, "blocks", NULL, MAP, "list the blocks that are lent, by address", NULL,
		false },
	{ OPTION_LIMIT, 0, "limit", "N", MAP, "at most N blocks (1000); implies --blocks", NULL,
		false },

	{ OPTION_ADMIN, 0, "admin", "SOCKET", ALL, "ask on this unix socket", "FILE", false },
	{ OPTION_SERVER, 0, "server", "HOST[:PORT]", ALL, "ask over RDMA", NULL, false },
	{ OPTION_PORT, 0, "port", "N", ALL, "the server's port (7471)", NULL, false },
	{ OPTION_TIMEOUT, 0, "timeout", "DURATION", ALL, "give up after this long (10s)", NULL,
		false },
	{ OPTION_JSON, 'j', "json", NULL, ALL, "print JSON instead of text", NULL, false },
	{ OPTION_HELP, 'h', "help", NULL, ALL, "this text, or that of a command", NULL, false },
	{ OPTION_VERSION, 0, "version", NULL, ALL, "print the version", NULL, false },
};
/* clang-format on */

const size_t menu_noptions = sizeof(menu_options) / sizeof(menu_options[0]);

unsigned menu_find_command(const char *name)
{
	unsigned i = 0;

	while (i < MENU_COMMANDS && strcmp(menu_commands[i].name, name) != 0)
		i++;
	return i;
}

unsigned menu_reports(unsigned command)
{
	unsigned reports = command < REPORT_COMMANDS ? REPORT_BIT(command) : 0;

	if (command == REPORT_LEAKS)
		reports |= REPORT_BITS_ALL & ~(REPORT_BIT(REPORT_COMMANDS) - 1);
	return reports;
}

const struct menu_option *menu_find(const char *name, char letter, enum report report)
{
	for (size_t i = 0; i < menu_noptions; i++) {
		const struct menu_option *o = &menu_options[i];

		if ((o->reports & REPORT_BIT(report)) &&
			(name ? strcmp(o->name, name) == 0 : o->letter && o->letter == letter))
			return o;
	}
	return NULL;
}

bool menu_has_word(const char *words, const char *word, size_t len)
{
	const char *at = words;

	while (at && *at) {
		const size_t n = strcspn(at, " ");

		if (n == len && memcmp(at, word, n) == 0)
			return true;
		at += n + strspn(at + n, " ");
	}
	return false;
}

void menu_put_owners(const struct menu_option *o, char *buf, size_t size)
{
	unsigned reports = 0, left;
	size_t used = 0, len;
	const char *words;

	for (size_t i = 0; i < menu_noptions; i++)
		if (strcmp(menu_options[i].name, o->name) == 0 && menu_options[i].id == o->id)
			reports |= menu_options[i].reports;
	left = reports;
	buf[0] = '\0';
	for (unsigned i = 0; i < REPORTS && used < size; i++) {
		if (!(reports & REPORT_BIT(i)))
			continue;
		left &= ~REPORT_BIT(i);
		words = report_words((enum report)i);
		/* not "--ack is an option of leaks --ack" */
		len = strstr(words, o->name) ? strcspn(words, " ") : strlen(words);
		used += (size_t)snprintf(buf + used, size - used, "%.*s%s", (int)len, words,
			!left                 ? ""
			: (left & (left - 1)) ? ", "
					      : " and ");
	}
}
