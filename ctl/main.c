/* SPDX-License-Identifier: BSD-3-Clause */
/* rmemctl: ask, print, and say with the exit status what it means. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>

#include "common/outlet.h"
#include "ctl/completion.h"
#include "ctl/help.h"
#include "ctl/names.h"
#include "ctl/options.h"
#include "ctl/order.h"
#include "ctl/reply.h"
#include "ctl/select.h"
#include "ctl/source.h"
#include "ctl/text.h"
#include "ctl/verdict.h"
#include "ctl/watch.h"

static enum exit_status complain(enum exit_status status, const struct errinfo *errinfo)
{
	fputs("rmemctl: ", stderr);
	/* parts of it may come from a peer */
	text_put(stderr, errinfo->text);
	putc('\n', stderr);
	if (status == STATUS_USAGE)
		fputs("Try 'rmemctl --help'.\n", stderr);
	return status;
}

static int flush(struct errinfo *errinfo)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return errinfo_set(errinfo, -EIO, "cannot write the report: %m");
}

static void print_json(const json_t *answer)
{
	json_dumpf(answer, stdout, JSON_INDENT(2));
	putchar('\n');
}

/* That nobody holds an address is an answer: said where answers are. */
static int print_free(const struct options *o, const json_t *answer, struct errinfo *errinfo)
{
	if (o->quiet)
		return 0;
	if (o->json) {
		print_json(answer);
	} else {
		watch_put_time(o);
		text_put(stdout, errinfo->text);
		putchar('\n');
	}
	return flush(errinfo);
}

/* The verdict first: what cannot be judged is not to look like a report. */
static int print(const struct options *o, json_t *answer, bool *out_leaks, struct errinfo *errinfo)
{
	int failed, err = reply_check(answer, o->report, errinfo);

	*out_leaks = err == -EREMOTEIO && o->report == REPORT_WHO_HOLDS && verdict_is_free(answer);
	if (*out_leaks)
		return print_free(o, answer, errinfo);
	if (err == 0 && o->report == REPORT_LEAKS)
		err = verdict_leaks(answer, &o->gate, &o->view, out_leaks, errinfo);
	if (err == 0)
		err = select_items(o->report, answer, &o->view, errinfo);
	if (err == 0 && o->report == REPORT_MAP)
		err = verdict_map(answer, o->view.node, errinfo);
	if (o->quiet)
		return err;
	if (o->json && (err == 0 || err == -EREMOTEIO)) {
		print_json(answer);
	} else if (err == 0) {
		watch_put_time(o);
		names_resolve(answer);
		err = render_report(o->report, answer, &o->view, stdout, errinfo);
	}
	failed = flush(err ? NULL : errinfo);
	return err ? err : failed;
}

static enum exit_status report(const struct options *o)
{
	struct errinfo errinfo = { "" };
	json_t *answer = NULL;
	bool leaks = false;
	int err = source_ask(o, &answer, &errinfo);

	watch_hold();
	if (err == 0)
		err = print(o, answer, &leaks, &errinfo);
	json_decref(answer);
	if (err && o->watch_ms && watch_is_alone())
		return STATUS_UNCHECKED; /* nothing to complain of */
	if (err)
		return complain(STATUS_UNCHECKED, &errinfo);
	return leaks ? STATUS_LEAKS : STATUS_CLEAN;
}

/* An order is given, or not: that is its exit status. */
static enum exit_status act(struct options *o)
{
	struct errinfo errinfo = { "" };
	int err = order_confirm(o, &errinfo);

	if (err == 0)
		return report(o);
	return complain(err == -ECANCELED ? STATUS_DECLINED
			: err == -EINVAL  ? STATUS_USAGE
					  : STATUS_UNCHECKED,
		&errinfo);
}

int main(int argc, char **argv)
{
	struct options options;
	struct errinfo errinfo = { "" };

	outlet_reserve();
	setlocale(LC_CTYPE, "");
	if (options_parse(argc, argv, &options, &errinfo))
		return complain(STATUS_USAGE, &errinfo);
	switch (options.action) {
	case ACTION_HELP:
		help_put(stdout, options.command);
		return STATUS_CLEAN;
	case ACTION_COMPLETION:
		completion_put_bash(stdout);
		return STATUS_CLEAN;
	case ACTION_VERSION:
		puts("rmemctl " RMEM_VERSION);
		return STATUS_CLEAN;
	default:
		return options.watch_ms ? watch_run(&options, report) : act(&options);
	}
}
