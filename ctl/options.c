/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "common/units.h"

#define DEFAULT_TIMEOUT_MS 10000
#define MAX_TIMEOUT_MS (24ULL * 3600 * 1000)
#define DEFAULT_BLOCKS 1000
#define DEFAULT_LINES 256

enum {
	OPTION_ADMIN = 256,
	OPTION_SERVER,
	OPTION_PORT,
	OPTION_TIMEOUT,
	OPTION_VERSION,
	OPTION_KINDS,
	OPTION_LIMIT,
	OPTION_NODE,
	OPTION_BLOCKS,
	OPTION_RECLAIMED,
	OPTION_ACK,
	OPTION_MIN_BYTES,
	OPTION_FAIL_ON,
};

static const struct option long_options[] = {
	{ "admin", required_argument, NULL, OPTION_ADMIN },
	{ "server", required_argument, NULL, OPTION_SERVER },
	{ "port", required_argument, NULL, OPTION_PORT },
	{ "json", no_argument, NULL, 'j' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "kinds", required_argument, NULL, OPTION_KINDS },
	{ "top", required_argument, NULL, 'T' },
	{ "older", required_argument, NULL, 'o' },
	{ "min-bytes", required_argument, NULL, OPTION_MIN_BYTES },
	{ "fail-on", required_argument, NULL, OPTION_FAIL_ON },
	{ "limit", required_argument, NULL, OPTION_LIMIT },
	{ "node", required_argument, NULL, OPTION_NODE },
	{ "blocks", no_argument, NULL, OPTION_BLOCKS },
	{ "reclaimed", no_argument, NULL, OPTION_RECLAIMED },
	{ "ack", required_argument, NULL, OPTION_ACK },
	{ NULL, 0, NULL, 0 },
};

#define BIT(report) (1U << (report))

/* What only some reports understand. */
static const struct {
	int option;
	unsigned reports; /* bits */
	const char *text, *where;
} belongs[] = {
	{ OPTION_RECLAIMED, BIT(REPORT_RECLAIMED), "--reclaimed", "leaks" },
	{ OPTION_ACK, BIT(REPORT_ACKNOWLEDGE), "--ack", "leaks" },
	{ OPTION_KINDS, BIT(REPORT_LEAKS), "--kinds", "leaks" },
	{ 'T', BIT(REPORT_LEAKS), "--top", "leaks" },
	{ 'o', BIT(REPORT_LEAKS), "--older", "leaks" },
	{ OPTION_MIN_BYTES, BIT(REPORT_LEAKS), "--min-bytes", "leaks" },
	{ OPTION_FAIL_ON, BIT(REPORT_LEAKS), "--fail-on", "leaks" },
	{ 'q', BIT(REPORT_LEAKS), "--quiet", "leaks" },
	{ OPTION_LIMIT, BIT(REPORT_MAP) | BIT(REPORT_RECLAIMED), "--limit",
		"map and of leaks --reclaimed" },
	{ OPTION_NODE, BIT(REPORT_MAP), "--node", "map" },
	{ OPTION_BLOCKS, BIT(REPORT_MAP), "--blocks", "map" },
};

#define NBELONGS (sizeof(belongs) / sizeof(belongs[0]))

struct parser {
	struct options *options;
	unsigned seen; /* bits: entries of belongs[] */
	bool port_seen, kinds_seen, reclaimed_seen, ack_seen;
	struct errinfo *errinfo;
};

static int parse_number(const char *text, int base, uint64_t max, uint64_t *out)
{
	char *end;
	unsigned long long value;

	/* strtoull would take blanks and signs */
	if (!isxdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, base);
	if (*end || errno || value > max)
		return -EINVAL;
	*out = value;
	return 0;
}

static int parse_port(struct parser *p, const char *text)
{
	uint64_t port = 0;

	if (parse_number(text, 10, UINT16_MAX, &port) || port == 0)
		return errinfo_set(p->errinfo, -EINVAL, "--port %s: must be 1 to 65535", text);
	p->options->port = (uint16_t)port;
	p->port_seen = true;
	return 0;
}

static int parse_timeout(struct parser *p, const char *text)
{
	uint64_t ms = 0;

	if (units_parse_duration(text, &ms) || ms == 0 || ms > MAX_TIMEOUT_MS)
		return errinfo_set(p->errinfo, -EINVAL,
			"--timeout %s: want a duration like 500ms or 10s", text);
	p->options->timeout_ms = ms;
	return 0;
}

static int parse_ack(struct parser *p, const char *text)
{
	uint64_t line = VIEW_EVERY_LINE;

	if (strcmp(text, "all") != 0 &&
		(parse_number(text, 10, INT64_MAX, &line) || line == VIEW_EVERY_LINE))
		return errinfo_set(p->errinfo, -EINVAL,
			"--ack %s: want the number of a line of history, or all", text);
	p->options->view.line = line;
	p->ack_seen = true;
	return 0;
}

static int parse_kinds(const struct parser *p, const char *option, const char *text, unsigned *out)
{
	if (kind_parse_list(text, out) == 0)
		return 0;
	return errinfo_set(p->errinfo, -EINVAL,
		"%s %s: want a list of definite, indirect, possible, idle, reachable, limbo, "
		"zombie, suppressed; or all",
		option, text);
}

/* Those of one command; 1 if it is none of them. */
static int parse_view(struct parser *p, int option, const char *text)
{
	struct options *o = p->options;
	uint64_t n = 0;

	switch (option) {
	case OPTION_KINDS:
		p->kinds_seen = true;
		return parse_kinds(p, "--kinds", text, &o->view.kinds);
	case OPTION_FAIL_ON:
		return parse_kinds(p, "--fail-on", text, &o->fail_on);
	case OPTION_MIN_BYTES:
		if (units_parse_bytes(text, &o->view.min_bytes))
			return errinfo_set(p->errinfo, -EINVAL,
				"--min-bytes %s: want a size like 64K or 1G", text);
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	case 'T':
		if (parse_number(text, 10, INT64_MAX, &o->view.top) || o->view.top == 0)
			return errinfo_set(
				p->errinfo, -EINVAL, "--top %s: want a number from 1", text);
		return 0;
	case 'o':
		if (units_parse_duration(text, &o->view.older_ms))
			return errinfo_set(p->errinfo, -EINVAL,
				"--older %s: want a duration like 90s, 10m or 2h", text);
		return 0;
	case OPTION_LIMIT:
		if (parse_number(text, 10, INT32_MAX, &o->limit) || o->limit == 0)
			return errinfo_set(
				p->errinfo, -EINVAL, "--limit %s: want a number from 1", text);
		o->view.blocks = true;
		return 0;
	case OPTION_NODE:
		if (parse_number(text, 10, ADDR_MAX_NODES - 1, &n))
			return errinfo_set(p->errinfo, -EINVAL,
				"--node %s: want a number from 0 to %d", text, ADDR_MAX_NODES - 1);
		o->view.node = (int)n;
		return 0;
	case OPTION_BLOCKS:
		o->view.blocks = true;
		return 0;
	case OPTION_RECLAIMED:
		p->reclaimed_seen = true;
		return 0;
	case OPTION_ACK:
		return parse_ack(p, text);
	default:
		return 1;
	}
}

static int parse_common(struct parser *p, int option, const char *text)
{
	struct options *o = p->options;

	switch (option) {
	case OPTION_ADMIN:
		o->admin = text;
		return 0;
	case OPTION_SERVER:
		o->server = text;
		return target_parse(text, &o->target, p->errinfo) ? -EINVAL : 0;
	case OPTION_PORT:
		return parse_port(p, text);
	case 'j':
		o->json = true;
		return 0;
	case OPTION_TIMEOUT:
		return parse_timeout(p, text);
	case OPTION_VERSION:
		o->action = ACTION_VERSION;
		return 0;
	case 'h':
		o->action = ACTION_HELP;
		return 0;
	default:
		return 1;
	}
}

static int parse_options(struct parser *p, int argc, char **argv)
{
	int option, err;

	opterr = 0;
	/* 0: start over, with a fresh permutation, however often this was called */
	optind = 0;
	while ((option = getopt_long(argc, argv, ":hjqT:o:", long_options, NULL)) != -1) {
		/* the word that option was in, unless it holds several letters */
		const char *word = argv[optind - 1];

		if (option == ':')
			return errinfo_set(p->errinfo, -EINVAL, "%s wants a value", word);
		if (option == '?' && strncmp(word, "--", 2) == 0)
			return errinfo_set(p->errinfo, -EINVAL,
				"no such option, or not with a value: %s", word);
		if (option == '?')
			return errinfo_set(p->errinfo, -EINVAL, "no such option: -%c", optopt);
		for (size_t i = 0; i < NBELONGS; i++)
			p->seen |= belongs[i].option == option ? 1U << i : 0;
		err = parse_common(p, option, optarg);
		if (err > 0)
			err = parse_view(p, option, optarg);
		if (err)
			return err;
	}
	return 0;
}

static int parse_command(struct parser *p, const char *word)
{
	for (unsigned i = 0; i < REPORT_COMMANDS; i++) {
		if (strcmp(word, report_words((enum report)i)) == 0) {
			p->options->report = (enum report)i;
			p->options->has_report = true;
			return 0;
		}
	}
	return errinfo_set(p->errinfo, -EINVAL,
		"no such command: %s (there are status, leaks, sessions, map and who-holds)", word);
}

static int parse_addr(struct parser *p, const char *text)
{
	bool hex = strncasecmp(text, "0x", 2) == 0;

	if (parse_number(text, hex ? 16 : 10, UINT64_MAX, &p->options->addr) == 0)
		return 0;
	return errinfo_set(p->errinfo, -EINVAL,
		"who-holds %s: want a remote address like 0x9e00000000001000", text);
}

static int parse_operands(struct parser *p, int n, char **words)
{
	struct options *o = p->options;
	int wanted = 1, err;

	if (n == 0)
		return o->action == ACTION_REPORT ? errinfo_set(p->errinfo, -EINVAL,
							    "want a command: status, leaks, "
							    "sessions, map or who-holds ADDR")
						  : 0;
	err = parse_command(p, words[0]);
	if (err || o->action != ACTION_REPORT)
		return err;
	if (o->report == REPORT_WHO_HOLDS)
		wanted = 2;
	if (n < wanted)
		return errinfo_set(p->errinfo, -EINVAL, "who-holds wants an address");
	if (n > wanted)
		return errinfo_set(p->errinfo, -EINVAL, "too many words: %s", words[wanted]);
	return wanted == 2 ? parse_addr(p, words[1]) : 0;
}

/* Which report of leaks that is. */
static int choose_report(struct parser *p)
{
	struct options *o = p->options;

	if (!o->has_report || o->report != REPORT_LEAKS)
		return 0;
	if (p->ack_seen && p->reclaimed_seen)
		return errinfo_set(p->errinfo, -EINVAL, "--ack and --reclaimed: want one of them");
	if (p->ack_seen)
		o->report = REPORT_ACKNOWLEDGE;
	if (p->reclaimed_seen)
		o->report = REPORT_RECLAIMED;
	return 0;
}

static int check_together(const struct parser *p)
{
	struct options *o = p->options;

	for (size_t i = 0; i < NBELONGS; i++) {
		if ((p->seen & 1U << i) && o->has_report && !(belongs[i].reports & BIT(o->report)))
			return errinfo_set(p->errinfo, -EINVAL, "%s is an option of %s, not of %s",
				belongs[i].text, belongs[i].where, report_words(o->report));
	}
	if (o->admin && o->server)
		return errinfo_set(p->errinfo, -EINVAL, "--admin and --server: want one of them");
	if (o->admin && p->port_seen)
		return errinfo_set(
			p->errinfo, -EINVAL, "--admin and --port: the socket says it all");
	if (o->server && p->port_seen) {
		if (o->target.port != TARGET_DEFAULT_PORT && o->target.port != o->port)
			return errinfo_set(p->errinfo, -EINVAL,
				"--server %s and --port %u: want one port", o->server, o->port);
		o->target.port = o->port;
	}
	return 0;
}

int options_parse(int argc, char **argv, struct options *out, struct errinfo *errinfo)
{
	struct parser p = { .options = out, .errinfo = errinfo };
	int err;

	*out = (struct options){ .port = TARGET_DEFAULT_PORT,
		.timeout_ms = DEFAULT_TIMEOUT_MS,
		.view = VIEW_INIT,
		.fail_on = KINDS_FAIL };
	err = parse_options(&p, argc, argv);
	/* a program chooses for itself, unless it asks us to */
	if (out->json && !p.kinds_seen)
		out->view.kinds = KINDS_ALL;
	if (err == 0)
		err = parse_operands(&p, argc - optind, argv + optind);
	if (err == 0)
		err = choose_report(&p);
	if (out->limit == 0)
		out->limit = out->report == REPORT_RECLAIMED ? DEFAULT_LINES : DEFAULT_BLOCKS;
	return err ? err : check_together(&p);
}
