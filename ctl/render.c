/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/render.h"

#include <errno.h>
#include <stdlib.h>

#include "ctl/field.h"
#include "ctl/reports.h"

static const struct {
	const char *name;
	render_fn *render;
} reports[REPORTS] = {
	[REPORT_STATUS] = { "status", render_status },
	[REPORT_LEAKS] = { "leaks", render_leaks },
	[REPORT_SESSIONS] = { "sessions", render_sessions },
	[REPORT_MAP] = { "map", render_map },
	[REPORT_WHO_HOLDS] = { "who-holds", render_who_holds },
};

const char *report_name(enum report report)
{
	return reports[report].name;
}

int render_report(enum report report, const json_t *answer, const struct view *view, FILE *out,
	struct why *why)
{
	struct check c = { "" };
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	int err;

	if (!stream)
		return why_set(why, -ENOMEM, "out of memory");
	err = reports[report].render(answer, view, stream, &c);
	if (fclose(stream) != 0)
		err = -ENOMEM;
	if (err)
		why_set(why, err, "out of memory");
	else if (c.what[0])
		err = why_set(
			why, -EBADMSG, "the answer %s: this is not what an rmemd says", c.what);
	else
		fwrite(text, 1, size, out);
	free(text);
	return err;
}
