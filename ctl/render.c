/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/render.h"

#include <errno.h>
#include <stdlib.h>

#include "ctl/field.h"
#include "ctl/reports.h"

static const struct {
	const char *words, *request, *answer;
	render_fn *render;
} reports[REPORTS] = {
	[REPORT_STATUS] = { "status", "status", "status", render_status },
	[REPORT_LEAKS] = { "leaks", "leaks", "leaks", render_leaks },
	[REPORT_SESSIONS] = { "sessions", "sessions", "sessions", render_sessions },
	[REPORT_MAP] = { "map", "map", "map", render_map },
	[REPORT_WHO_HOLDS] = { "who-holds", "who-holds", "who-holds", render_who_holds },
	[REPORT_NUMASTAT] = { "numastat", "numastat", "numastat", render_numastat },
	[REPORT_BUDDYINFO] = { "buddyinfo", "buddyinfo", "buddyinfo", render_buddyinfo },
	[REPORT_SLABINFO] = { "slabinfo", "slabinfo", "slabinfo", render_slabinfo },
	[REPORT_AUDIT] = { "audit", "audit", "audit", render_audit },
	[REPORT_EVICT] = { "evict", "evict", "evict", render_evict },
	[REPORT_REVOKE] = { "revoke", "revoke", "revoke", render_revoke },
	[REPORT_RECLAIM] = { "reclaim", "reclaim", "reclaim", render_reclaim },
	[REPORT_RESIZE] = { "resize", "resize", "resize", render_resize },
	[REPORT_QUOTA] = { "quota", "quota", "quota", render_quota },
	[REPORT_LOG_LEVEL] = { "log-level", "log-level", "log-level", render_log_level },
	[REPORT_RECLAIMED] = { "leaks --reclaimed", "reclaimed", "reclaimed", render_reclaimed },
	/* the answer is the report without its lines */
	[REPORT_ACKNOWLEDGE] = { "leaks --ack", "acknowledge", "reclaimed", render_acknowledge },
};

const char *report_words(enum report report)
{
	return reports[report].words;
}

const char *report_request(enum report report)
{
	return reports[report].request;
}

const char *report_answer(enum report report)
{
	return reports[report].answer;
}

int render_report(enum report report, const json_t *answer, const struct view *view, FILE *out,
	struct errinfo *errinfo)
{
	struct check c = { "" };
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	int err;

	if (!stream)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	err = reports[report].render(answer, view, stream, &c);
	if (fclose(stream) != 0)
		err = -ENOMEM;
	if (err)
		errinfo_set(errinfo, err, "out of memory");
	else if (c.what[0])
		err = errinfo_set(
			errinfo, -EBADMSG, "the answer %s: this is not what an rmemd says", c.what);
	else
		fwrite(text, 1, size, out);
	free(text);
	return err;
}
