/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/help.h"

/* clang-format off: as it looks on the screen */
static const char general[] =
	"Usage: rmemctl [OPTION]... COMMAND\n"
	"\n"
	"Ask an rmemd what it has lent, and what of it is leaked.\n"
	"\n"
	"Commands:\n"
	"  status          the server: devices and their protection, memory, sessions, terms\n"
	"  leaks           audit now; report leaks with holder, source line and evidence;\n"
	"                  or what was taken back from holders gone or silent\n"
	"  sessions        who is or was connected, and holds what\n"
	"  map             where the pool's memory is, and who has it\n"
	"  who-holds ADDR  whose allocation contains a remote address\n"
	"\n"
	"Options, before or after the command:\n";

static const char common[] =
	"  --admin SOCKET        ask on this unix socket\n"
	"  --server HOST[:PORT]  ask over RDMA\n"
	"  --port N              the server's port (7471)\n"
	"  --timeout DURATION    give up after this long (10s)\n"
	"  -j, --json            print JSON instead of text\n"
	"  -h, --help            this text, or that of a command\n"
	"  --version             print the version\n"
	"\n"
	"Exit status: 0 clean, 1 leaks, or history of them that nobody has acknowledged;\n"
	"with who-holds: it is free; 2 wrong usage, 3 could not check.\n"
	"The manual is rmemctl(1).\n";

static const struct {
	const char *usage, *options;
} commands[REPORT_COMMANDS] = {
	[REPORT_STATUS] = {
		"Usage: rmemctl status [OPTION]...\n"
		"\n"
		"Show the server, its devices and what they protect, its memory per NUMA node,\n"
		"how many sessions and allocations there are, and the lease terms.\n",
		"",
	},
	[REPORT_LEAKS] = {
		"Usage: rmemctl leaks [OPTION]...\n"
		"\n"
		"Audit now and report what is leaked, by call site, and that no byte of the pool\n"
		"is unaccounted for. Exits with 1 if anything is definitely lost, if memory is of no\n"
		"known session, if a revoke was not confirmed, if bytes are unaccounted for or\n"
		"miscounted, shown or not, or if what was taken back is not acknowledged. With\n"
		"--reclaimed or --ack: no audit, and never 1.\n",
		"  --kinds LIST          show these kinds (definite,limbo,zombie), or all (with\n"
	"                        --json the default)\n"
		"  -T, --top N           show at most N records\n"
		"  -o, --older DURATION  show only records whose oldest block is that old\n"
		"  --min-bytes SIZE      show only records of at least that many bytes\n"
		"  --fail-on LIST        exit with 1 for these kinds (definite,zombie); for what\n"
	"                        is wrong or not acknowledged always\n"
		"  -q, --quiet           print nothing: the exit status says it\n"
		"  --reclaimed           show instead what was taken back from holders that were\n"
	"                        gone: the lines of history, the newest first\n"
		"  --limit N             with --reclaimed: at most N lines (256)\n"
		"  --ack ID              acknowledge that line of history, or all; only on the\n"
	"                        server's host\n",
	},
	[REPORT_SESSIONS] = {
		"Usage: rmemctl sessions [OPTION]...\n"
		"\n"
		"List the client processes that are connected or still hold memory, the biggest\n"
		"holder first.\n",
		"",
	},
	[REPORT_MAP] = {
		"Usage: rmemctl map [OPTION]...\n"
		"\n"
		"Show each NUMA node's memory and on which node its pages really are.\n",
		"  --node N              only this node\n"
		"  --blocks              list the blocks that are lent, by address\n"
		"  --limit N             at most N blocks (1000); implies --blocks\n",
	},
	[REPORT_WHO_HOLDS] = {
		"Usage: rmemctl who-holds ADDR [OPTION]...\n"
		"\n"
		"Show the allocation that contains a remote address, who holds it and the call\n"
		"stack that allocated it. Exits with 1 if nobody holds that address.\n",
		"",
	},
};
/* clang-format on */

void help_put(FILE *out, const struct options *o)
{
	/* the reports beyond are options of leaks */
	enum report report = o->report < REPORT_COMMANDS ? o->report : REPORT_LEAKS;

	if (o->has_report)
		fprintf(out, "%s\nOptions:\n%s", commands[report].usage, commands[report].options);
	else
		fputs(general, out);
	fputs(common, out);
}
