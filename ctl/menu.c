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
		"what the last audit found: leaks with holder, source line and\n"
		"evidence; or what was taken back from holders gone or silent",
		"Report what the last audit found leaked, by call site, and that no byte of the\n"
		"pool was unaccounted for; with --audit, what an audit finds that is made now.\n"
		"Exits with 1 if anything is definitely lost, if memory is of no known session,\n"
		"if a revoke was not confirmed, if bytes are unaccounted for or miscounted,\n"
		"shown or not, or if what was taken back is not acknowledged. With --reclaimed\n"
		"or --ack: no audit, and never 1.\n" },
	[REPORT_SESSIONS] = { "sessions", NULL, NULL,
		"sessions, also ended ones that still hold memory, and what each holds",
		"List the client processes that are connected or still hold memory, the biggest\n"
		"holder first.\n" },
	[REPORT_MAP] = { "map", NULL, NULL,
		"every block of the pool, with the session that holds it",
		"Show each NUMA node's memory and on which node its pages really are.\n" },
	[REPORT_WHO_HOLDS] = { "who-holds", "ADDR", NULL,
		"whose allocation contains a remote address",
		"Show the allocation that contains a remote address, who holds it and the call\n"
		"stack that allocated it. Exits with 1 if nobody holds that address.\n" },
	[REPORT_NUMASTAT] = { "numastat", NULL, NULL,
		"how often memory was lent on the NUMA node where it was wanted",
		"Show for each NUMA node how many allocations were wanted and lent there since\n"
		"rmemd started, as numastat(8) does for the kernel's.\n" },
	[REPORT_BUDDYINFO] = { "buddyinfo", NULL, NULL,
		"the free pieces of each size, per NUMA node",
		"Show for each NUMA node how many free pieces of 4 KiB, 8 KiB, and so on up to\n"
		"2 GiB there are, laid out as in /proc/buddyinfo.\n" },
	[REPORT_SLABINFO] = { "slabinfo", NULL, NULL, "what small allocations take, per size class",
		"Show for each size class how many slots of slabs there are and how many of them\n"
		"hold an object, laid out as in /proc/slabinfo. It makes an audit.\n" },
	[REPORT_AUDIT] = { "audit", NULL, NULL, "make an audit now, and say what it found in sum",
		"Make an audit now and say what it found, in sum; rmemctl leaks shows the rest,\n"
		"and judges. It takes nothing from anybody.\n" },
	[REPORT_EVICT] = { "evict", "SESSION", NULL,
		"end a session, whose number begins so, and take its memory",
		"End a session and take all its memory back, even if its process still runs.\n"
		"Says first what is to be lost, and asks whether to go on. The answer comes when\n"
		"nobody reaches the memory any more. Exits with 1 if you say no.\n" },
	[REPORT_REVOKE] = { "revoke", "ADDR", NULL, "take one allocation back from its holder",
		"Take back the allocation that contains a remote address, even if its holder\n"
		"still runs. Says first what is to be lost, and asks whether to go on. The answer\n"
		"comes when nobody reaches it any more. Exits with 1 if you say no.\n" },
	[REPORT_RECLAIM] = { "reclaim", NULL, NULL,
		"take back now what holders that are gone or silent have left",
		"Take back now the memory of sessions that are provably gone, or that have no\n"
		"connection and an expired lease. Says first what is to be lost, and asks whether\n"
		"to go on. Exits with 1 if you say no.\n" },
	[REPORT_RESIZE] = { "resize", NULL, NULL, "make the pool larger or smaller while it runs",
		"Give the pool another size, while clients go on. More memory is made ready after\n"
		"the answer, which can take minutes: rmemctl status tells how far it is. The pool\n"
		"becomes smaller by whole segments in which nothing is lent; where there are "
		"none,\n"
		"the answer names the holders. No session loses memory.\n" },
	[REPORT_QUOTA] = { "quota", NULL, NULL, "show or set how much a session and a job can have",
		"Show how much each session and each job can have, and what the jobs have. With\n"
		"--session or --job, set it first, until rmemd ends: LIMITS are as in\n"
		"bytes=8G,blocks=100000,objects=1000000,windows=50000. What is not named stays\n"
		"as it is; none is no limit; default is what holds if nothing is said. A\n"
		"session or job above its quota keeps its memory, and gets no more.\n" },
	[REPORT_LOG_LEVEL] = { "log-level", "LEVEL", "error warn info debug",
		"set what rmemd logs from now on: error, warn, info or debug",
		"Have rmemd log messages of this level and of more severe ones, until rmemd "
		"ends.\n" },
	[MENU_COMPLETION] = { "completion", "SHELL", "bash",
		"a script that completes these words in a shell: bash",
		"Print a script that completes command lines of rmemctl in that shell, which can\n"
		"only be bash: source <(rmemctl completion bash)\n" },
};

#define STATUS REPORT_BIT(REPORT_STATUS)
#define LEAKS REPORT_BIT(REPORT_LEAKS)
#define SESSIONS REPORT_BIT(REPORT_SESSIONS)
#define MAP REPORT_BIT(REPORT_MAP)
#define RECLAIMED REPORT_BIT(REPORT_RECLAIMED)
#define ACKNOWLEDGE REPORT_BIT(REPORT_ACKNOWLEDGE)
#define WHO_HOLDS REPORT_BIT(REPORT_WHO_HOLDS)
#define TAKING (REPORT_BIT(REPORT_EVICT) | REPORT_BIT(REPORT_REVOKE) | REPORT_BIT(REPORT_RECLAIM))
#define RESIZE REPORT_BIT(REPORT_RESIZE)
#define QUOTA REPORT_BIT(REPORT_QUOTA)
#define ORDERS (TAKING | RESIZE | QUOTA | REPORT_BIT(REPORT_AUDIT) | REPORT_BIT(REPORT_LOG_LEVEL))
#define ALL REPORT_BITS_ALL

const struct menu_option menu_options[] = {
	{ OPTION_AUDIT, 0, "audit", NULL, LEAKS, "make an audit now; else the last one is shown",
		NULL },
	{ OPTION_KINDS, 0, "kinds", "LIST", LEAKS,
		"show these kinds (definite,limbo,zombie), or all (with\n--json the default)",
		KIND_WORDS },
	{ OPTION_SESSION, 0, "session", "ID", LEAKS | SESSIONS | MAP,
		"only this session's: the first digits of its number", NULL },
	{ OPTION_JOB, 0, "job", "JOB", LEAKS | SESSIONS | RECLAIMED, "only this job's", NULL },
	{ OPTION_UID, 0, "uid", "UID", LEAKS | SESSIONS | RECLAIMED, "only this user's", NULL },
	{ OPTION_HOST, 0, "host", "HOST", LEAKS | SESSIONS | RECLAIMED,
		"only of processes on this host", NULL },
	{ OPTION_SITE, 0, "site", "SITE", LEAKS | RECLAIMED,
		"only of call stacks with this FUNCTION, FILE or FILE:LINE,\n"
		"or whose number begins so",
		NULL },
	{ OPTION_NODE, 0, "node", "N", LEAKS, "only records with memory on this NUMA node", NULL },
	{ OPTION_OLDER, 'o', "older", "DURATION", LEAKS,
		"only records whose oldest block is that old", NULL },
	{ OPTION_OLDER, 0, "older", "DURATION", SESSIONS,
		"only those that have been in their state for that long", NULL },
	{ OPTION_OLDER, 0, "older", "DURATION", MAP, "only blocks that are that old", NULL },
	{ OPTION_MIN_BYTES, 0, "min-bytes", "SIZE", LEAKS | SESSIONS | MAP | RECLAIMED,
		"only what has at least that many bytes", NULL },
	{ OPTION_SORT, 0, "sort", "KEY", LEAKS, "by bytes, lent, blocks or age",
		"bytes lent blocks age" },
	{ OPTION_SORT, 0, "sort", "KEY", SESSIONS,
		"by bytes, lent, blocks, channels, for, seen, state, host,\nuid, pid, job or exe",
		"bytes lent blocks channels for seen state host uid pid job exe" },
	{ OPTION_SORT, 0, "sort", "KEY", MAP, "by bytes, lent or age", "bytes lent age" },
	{ OPTION_SORT, 0, "sort", "KEY", RECLAIMED,
		"with --reclaimed: by bytes, lent, blocks or ago", "bytes lent blocks ago" },
	{ OPTION_LIMIT, 'T', "limit", "N", LEAKS, "show at most N records", NULL },
	{ OPTION_LIMIT, 0, "top", "N", LEAKS, NULL, NULL },
	{ OPTION_LIMIT, 0, "limit", "N", SESSIONS, "show at most N sessions", NULL },
	{ OPTION_COLUMNS, 'o', "output", "COLUMNS", SESSIONS,
		"show these columns, with commas between, or wide: session,\n"
		"state, for, lease, seen, channels, blocks, bytes, lent,\n"
		"host, uid, pid, job, exe, id, opened, quota, job-quota,\n"
		"evidence, command",
		"wide session state for lease seen channels blocks bytes lent host uid pid job exe "
		"id opened quota job-quota evidence command" },
	{ OPTION_FAIL_ON, 0, "fail-on", "LIST", LEAKS,
		"exit with 1 for these kinds (definite,zombie); for what\n"
		"is wrong or not acknowledged always",
		KIND_WORDS },
	{ OPTION_FAIL_OLDER, 0, "fail-older", "DURATION", LEAKS,
		"... only if the oldest block of a record is that old", NULL },
	{ OPTION_FAIL_SHOWN, 0, "fail-shown", NULL, LEAKS,
		"... only for records that the options above show, and\nnot for history", NULL },
	{ OPTION_QUIET, 'q', "quiet", NULL, STATUS | LEAKS | ACKNOWLEDGE | WHO_HOLDS | ORDERS,
		"print nothing: the exit status says it", NULL },
	{ OPTION_RECLAIMED, 0, "reclaimed", NULL, RECLAIMED,
		"show instead what was taken back from holders that were\n"
		"gone: the lines of history, the newest first",
		NULL },
	{ OPTION_LIMIT, 0, "limit", "N", RECLAIMED, "with --reclaimed: at most N lines (256)",
		NULL },
	{ OPTION_ACK, 0, "ack", "ID", ACKNOWLEDGE,
		"acknowledge that line of history, or all; only on the\nserver's host", "all" },
	{ OPTION_NODE, 0, "node", "N", MAP, "only this node", NULL },
	{ OPTION_SIZE, 0, "size", "SIZE", RESIZE,
		"evenly over all nodes, or by node as 0:4G,1:2G; with --node\nof that node alone",
		NULL },
	{ OPTION_NODE, 0, "node", "N", RESIZE, "only this node", NULL },
	{ OPTION_QUOTA_SESSION, 0, "session", "LIMITS", QUOTA, "of each session", NULL },
	{ OPTION_QUOTA_JOB, 0, "job", "[JOB:]LIMITS", QUOTA,
		"of all sessions of a job together, but for windows; with JOB\nof that one", NULL },
	{ OPTION_BLOCKS, 0, "blocks", NULL, MAP, "list the blocks that are lent, by address",
		NULL },
	{ OPTION_LIMIT, 0, "limit", "N", MAP, "at most N blocks (1000); implies --blocks", NULL },

	{ OPTION_YES, 'y', "yes", NULL, TAKING, "do it without asking", NULL },
	{ OPTION_WATCH, 0, "watch", "[SECONDS]", ALL & ~ORDERS & ~ACKNOWLEDGE,
		"again and again, every 2 seconds or as many", NULL },

	{ OPTION_ADMIN, 0, "admin", "SOCKET", ALL, "ask on this unix socket", "FILE" },
	{ OPTION_SERVER, 0, "server", "HOST[:PORT]", ALL, "ask over RDMA", NULL },
	{ OPTION_PORT, 0, "port", "N", ALL, "the server's port (7471)", NULL },
	{ OPTION_TIMEOUT, 0, "timeout", "DURATION", ALL, "give up after this long (10s)", NULL },
	{ OPTION_JSON, 'j', "json", NULL, ALL, "print JSON instead of text", NULL },
	{ OPTION_HELP, 'h', "help", NULL, ALL, "this text, or that of a command", NULL },
	{ OPTION_VERSION, 0, "version", NULL, ALL, "print the version", NULL },
};
/* clang-format on */

const size_t menu_noptions = sizeof(menu_options) / sizeof(menu_options[0]);

bool menu_is_choice(const struct menu_option *o)
{
	return o->id == OPTION_SORT;
}

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
