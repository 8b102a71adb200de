/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "common/units.h"
#include "ctl/menu.h"
#include "ctl/words.h"

#define DEFAULT_TIMEOUT_MS 10000
#define MAX_TIMEOUT_MS (24ULL * 3600 * 1000)
#define DEFAULT_WATCH_MS 2000
#define DEFAULT_BLOCKS 1000
#define DEFAULT_LINES 256

struct parser {
	struct options *options;
	struct words words;
	bool port_seen, kinds_seen, limit_seen;
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
	return 0;
}

static int parse_kinds(const struct parser *p, const char *option, const char *text, unsigned *out)
{
	if (kind_parse_list(text, out) == 0)
		return 0;
	return errinfo_set(p->errinfo, -EINVAL,
		"--%s %s: want a list of definite, indirect, possible, idle, reachable, limbo, "
		"zombie, suppressed; or all",
		option, text);
}

static int parse_duration(
	const struct parser *p, const char *option, const char *text, uint64_t *out_ms)
{
	if (units_parse_duration(text, out_ms) == 0)
		return 0;
	return errinfo_set(
		p->errinfo, -EINVAL, "--%s %s: want a duration like 90s, 10m or 2h", option, text);
}

static bool is_session(const char *text)
{
	const size_t digits = strspn(text, "0123456789abcdefABCDEF");

	return digits > 0 && digits <= 32 && !text[digits];
}

static int parse_session(const struct parser *p, const char *text)
{
	if (!is_session(text))
		return errinfo_set(p->errinfo, -EINVAL,
			"--session %s: want the first digits of a session's number, in hexadecimal",
			text);
	p->options->view.session = text;
	return 0;
}

/* Whose, and in which order and form. */
static int parse_filter(struct parser *p, const struct menu_option *known, const char *text)
{
	struct view *view = &p->options->view;

	/* of a map, only blocks are chosen or sorted */
	view->blocks = true;
	switch (known->id) {
	case OPTION_SESSION:
		return parse_session(p, text);
	case OPTION_JOB:
		view->job = text;
		return 0;
	case OPTION_HOST:
		view->host = text;
		return 0;
	case OPTION_UID:
		if (parse_number(text, 10, UINT32_MAX, &view->uid))
			return errinfo_set(p->errinfo, -EINVAL, "--uid %s: want a number", text);
		view->has_uid = true;
		return 0;
	case OPTION_SITE:
		if (!text[0])
			return errinfo_set(p->errinfo, -EINVAL,
				"--site: want a function, a file, a file with a line, or a call "
				"site's number");
		view->site = text;
		return 0;
	case OPTION_SORT:
		view->sort = text;
		return 0;
	case OPTION_COLUMNS:
		if (!render_knows_columns(text))
			return errinfo_set(p->errinfo, -EINVAL,
				"--%s %s: want wide, or a list of: %s", known->name, text,
				known->words);
		view->columns = text;
		return 0;
	default:
		return 0; /* --reclaimed */
	}
}

static int parse_watch(struct parser *p, const char *text)
{
	uint64_t ms = DEFAULT_WATCH_MS;

	if (text && (units_parse_duration(text, &ms) || ms == 0 || ms > MAX_TIMEOUT_MS))
		return errinfo_set(p->errinfo, -EINVAL,
			"--watch %s: want a duration like 5s, 1m or 500ms", text);
	p->options->watch_ms = ms;
	return 0;
}

/* Those of some reports only. */
static int parse_view(struct parser *p, const struct menu_option *known, const char *text)
{
	struct view *view = &p->options->view;
	uint64_t n = 0;

	switch (known->id) {
	case OPTION_KINDS:
		p->kinds_seen = true;
		return parse_kinds(p, known->name, text, &view->kinds);
	case OPTION_FAIL_ON:
		return parse_kinds(p, known->name, text, &p->options->gate.kinds);
	case OPTION_MIN_BYTES:
		if (units_parse_bytes(text, &view->min_bytes))
			return errinfo_set(p->errinfo, -EINVAL,
				"--min-bytes %s: want a size like 64K or 1G", text);
		view->blocks = true;
		return 0;
	case OPTION_QUIET:
		p->options->quiet = true;
		return 0;
	case OPTION_OLDER:
		view->blocks = true;
		return parse_duration(p, known->name, text, &view->older_ms);
	case OPTION_LIMIT:
		if (parse_number(text, 10, INT32_MAX, &view->limit) || view->limit == 0)
			return errinfo_set(p->errinfo, -EINVAL, "--%s %s: want a number from 1",
				known->name, text);
		view->blocks = true;
		return 0;
	case OPTION_NODE:
		if (parse_number(text, 10, ADDR_MAX_NODES - 1, &n))
			return errinfo_set(p->errinfo, -EINVAL,
				"--node %s: want a number from 0 to %d", text, ADDR_MAX_NODES - 1);
		view->node = (int)n;
		return 0;
	case OPTION_BLOCKS:
		view->blocks = true;
		return 0;
	case OPTION_YES:
		p->options->yes = true;
		return 0;
	case OPTION_SIZE:
		if (!isdigit((unsigned char)*text))
			return errinfo_set(p->errinfo, -EINVAL,
				"--size %s: want a size like 4G, or by node like 0:4G,1:2G", text);
		p->options->size = text;
		return 0;
	case OPTION_QUOTA_SESSION:
		p->options->quota_session = text;
		return 0;
	case OPTION_QUOTA_JOB:
		p->options->quota_job = text;
		return 0;
	case OPTION_WATCH:
		return parse_watch(p, text);
	case OPTION_AUDIT:
		view->audit = true;
		return 0;
	case OPTION_ACK:
		return parse_ack(p, text);
	case OPTION_FAIL_OLDER:
		return parse_duration(p, known->name, text, &p->options->gate.older_ms);
	case OPTION_FAIL_SHOWN:
		p->options->gate.shown = true;
		return 0;
	default:
		return parse_filter(p, known, text);
	}
}

static int parse_option(struct parser *p, const struct menu_option *known, const char *text)
{
	struct options *o = p->options;

	switch (known->id) {
	case OPTION_ADMIN:
		o->admin = text;
		return 0;
	case OPTION_SERVER:
		o->server = text;
		return target_parse(text, &o->target, p->errinfo) ? -EINVAL : 0;
	case OPTION_PORT:
		return parse_port(p, text);
	case OPTION_JSON:
		o->json = true;
		return 0;
	case OPTION_TIMEOUT:
		return parse_timeout(p, text);
	case OPTION_VERSION:
		o->action = ACTION_VERSION;
		return 0;
	case OPTION_HELP:
		o->action = ACTION_HELP;
		return 0;
	default:
		return parse_view(p, known, text);
	}
}

static bool was_given(const struct parser *p, enum option_id id, enum report report)
{
	for (size_t i = 0; i < p->words.ngiven; i++) {
		const struct given *given = &p->words.given[i];
		const struct menu_option *known = menu_find(given->name, given->letter, report);

		if (known && known->id == id)
			return true;
	}
	return false;
}

/* ---- what they mean together ---- */

static int complain_of_owner(const struct parser *p, const struct given *given)
{
	const struct menu_option *elsewhere = NULL;
	char owners[256];

	for (unsigned i = 0; i < REPORTS && !elsewhere; i++)
		elsewhere = menu_find(given->name, given->letter, (enum report)i);
	menu_put_owners(elsewhere, owners, sizeof(owners));
	return errinfo_set(p->errinfo, -EINVAL, "--%s is an option of %s, not of %s",
		elsewhere->name, owners,
		p->options->command == MENU_COMPLETION ? "completion"
						       : report_words(p->options->report));
}

static int parse_options(struct parser *p)
{
	const unsigned command = p->options->command;
	const bool any = command >= REPORT_COMMANDS;

	for (size_t i = 0; i < p->words.ngiven; i++) {
		const struct given *given = &p->words.given[i];
		const struct menu_option *known =
			menu_find(given->name, given->letter, p->options->report);
		int err;

		if (any && known && known->reports != REPORT_BITS_ALL)
			known = NULL;
		if (!known && command == MENU_COMMANDS)
			continue; /* without a command, only help is left */
		if (!known)
			return complain_of_owner(p, given);
		if (menu_is_choice(known) &&
			!menu_has_word(known->words, given->text, strlen(given->text)))
			return errinfo_set(p->errinfo, -EINVAL, "--%s %s: want one of: %s",
				known->name, given->text, known->words);
		err = parse_option(p, known, given->text);
		if (err)
			return err;
	}
	return 0;
}

static int parse_addr(struct parser *p, const char *text)
{
	bool hex = strncasecmp(text, "0x", 2) == 0;

	if (parse_number(text, hex ? 16 : 10, UINT64_MAX, &p->options->addr) == 0)
		return 0;
	return errinfo_set(p->errinfo, -EINVAL,
		"%s %s: want a remote address like 0x9e00000000001000",
		report_words(p->options->report), text);
}

static int parse_victim(struct parser *p, const char *text)
{
	if (!is_session(text))
		return errinfo_set(p->errinfo, -EINVAL,
			"evict %s: want the first digits of a session's number, in hexadecimal",
			text);
	snprintf(p->options->session, sizeof(p->options->session), "%s", text);
	return 0;
}

static int parse_operand(struct parser *p, const char *word)
{
	const struct menu_command *c = &menu_commands[p->options->command];

	if (c->words && !menu_has_word(c->words, word, strlen(word)))
		return errinfo_set(
			p->errinfo, -EINVAL, "%s %s: want one of: %s", c->name, word, c->words);
	switch (p->options->report) {
	case REPORT_WHO_HOLDS:
	case REPORT_REVOKE:
		return parse_addr(p, word);
	case REPORT_EVICT:
		return parse_victim(p, word);
	default:
		p->options->level = word;
		return 0;
	}
}

/* All commands: "status, leaks, … and completion". */
static const char *list_commands(char *buf, size_t size)
{
	size_t used = 0;

	for (unsigned i = 0; i < MENU_COMMANDS && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s",
			i == 0                  ? ""
			: i + 1 < MENU_COMMANDS ? ", "
						: " and ",
			menu_commands[i].name);
	return buf;
}

static int find_command(struct parser *p)
{
	const struct words *w = &p->words;
	char list[256];

	if (w->noperands == 0)
		return 0;
	p->options->command = menu_find_command(w->operands[0]);
	if (p->options->command < REPORT_COMMANDS)
		p->options->report = (enum report)p->options->command;
	if (p->options->command == MENU_COMPLETION)
		p->options->action = ACTION_COMPLETION;
	if (p->options->command == MENU_COMMANDS)
		return errinfo_set(p->errinfo, -EINVAL, "no such command: %s (there are %s)",
			w->operands[0], list_commands(list, sizeof(list)));
	return 0;
}

static int parse_operands(struct parser *p)
{
	const struct options *o = p->options;
	const int n = p->words.noperands;
	char *const *words = p->words.operands;
	int wanted = 1;
	char list[256];

	if (o->action == ACTION_HELP || o->action == ACTION_VERSION)
		return 0;
	if (n == 0)
		return errinfo_set(p->errinfo, -EINVAL, "want a command: %s",
			list_commands(list, sizeof(list)));
	if (menu_commands[o->command].operand)
		wanted = 2;
	if (n < wanted)
		return errinfo_set(p->errinfo, -EINVAL, "%s wants %s",
			menu_commands[o->command].name, menu_commands[o->command].operand);
	if (n > wanted)
		return errinfo_set(p->errinfo, -EINVAL, "too many words: %s", words[wanted]);
	if (o->report == REPORT_RESIZE && !o->size)
		return errinfo_set(p->errinfo, -EINVAL, "resize wants --size SIZE");
	return wanted == 2 ? parse_operand(p, words[1]) : 0;
}

/* Which report of leaks that is. */
static int choose_report(struct parser *p)
{
	struct options *o = p->options;
	const bool ack = was_given(p, OPTION_ACK, REPORT_ACKNOWLEDGE);
	const bool reclaimed = was_given(p, OPTION_RECLAIMED, REPORT_RECLAIMED);

	if (o->command != REPORT_LEAKS)
		return 0;
	if (ack && reclaimed)
		return errinfo_set(p->errinfo, -EINVAL, "--ack and --reclaimed: want one of them");
	if (ack)
		o->report = REPORT_ACKNOWLEDGE;
	if (reclaimed)
		o->report = REPORT_RECLAIMED;
	return 0;
}

static int check_server(const struct parser *p)
{
	struct options *o = p->options;

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

static void set_defaults(const struct parser *p)
{
	struct options *o = p->options;

	/* a program chooses for itself, unless it asks us to */
	if (o->json && !p->kinds_seen)
		o->view.kinds = KINDS_ALL;
	if (o->view.limit == 0 && o->report == REPORT_RECLAIMED)
		o->view.limit = DEFAULT_LINES;
	if (o->view.limit == 0 && o->report == REPORT_MAP)
		o->view.limit = DEFAULT_BLOCKS;
}

int options_parse(int argc, char **argv, struct options *out, struct errinfo *errinfo)
{
	struct parser p = { .options = out, .errinfo = errinfo };
	int err;

	*out = (struct options){ .port = TARGET_DEFAULT_PORT,
		.timeout_ms = DEFAULT_TIMEOUT_MS,
		.command = MENU_COMMANDS,
		.view = VIEW_INIT,
		.gate = { .kinds = KINDS_FAIL } };
	err = words_read(&p.words, argc, argv, errinfo);
	if (err == 0)
		err = find_command(&p);
	if (err == 0)
		err = choose_report(&p);
	if (err == 0)
		err = parse_options(&p);
	if (err == 0)
		err = parse_operands(&p);
	if (err == 0)
		err = check_server(&p);
	set_defaults(&p);
	return err;
}
