/* SPDX-License-Identifier: BSD-3-Clause */
#include <inttypes.h>
#include <stdio.h>

#include "server/admin/report.h"
#include "server/admin/report_parts.h"

static json_t *make_frames(struct draft *d, const struct history_line *line)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < line->nframes; i++) {
		json_t *frame = json_object();

		draft_set_text(d, frame, "function", line->frames[i].function);
		draft_set_text(d, frame, "file", line->frames[i].file);
		draft_set_number(d, frame, "line", line->frames[i].line);
		draft_append(d, list, frame);
	}
	return list;
}

static json_t *make_line(struct draft *d, const struct history_line *line)
{
	const struct identity *who = &line->identity;
	json_t *o = json_object();
	char site[24] = "";

	if (line->site_hash)
		snprintf(site, sizeof(site), "%016" PRIx64, line->site_hash);
	draft_set_number(d, o, "id", line->id);
	draft_set(d, o, "acknowledged", json_boolean(line->state == HISTORY_ACKNOWLEDGED));
	draft_set_time(d, o, "taken_ns", line->taken_ns);
	draft_set_number(d, o, "taken_ago_ms", part_ago_ms(d->view, line->taken_ns));
	draft_set_time(d, o, "birth_min_ns", line->born_ns);
	draft_set_number(d, o, "blocks", line->blocks);
	draft_set_number(d, o, "bytes", line->bytes);
	draft_set_number(d, o, "block_bytes", line->block_bytes);
	draft_set_text(d, o, "exe", who->exe);
	draft_set_number(d, o, "pid", who->pid);
	draft_set_number(d, o, "uid", who->uid);
	draft_set_text(d, o, "host", who->host);
	draft_set_text(d, o, "job", who->job);
	draft_set_number(d, o, "session_serial", line->session_serial);
	draft_set(d, o, "session_state", json_string(session_state_name(line->session_state)));
	/* Without evidence, memory is taken only after the lease is over. */
	draft_set(d, o, "evidence",
		json_string(line->evidence == HOLDER_NO_EVIDENCE
				    ? "lease over, may still exist"
				    : holder_evidence_text((enum holder_evidence)line->evidence)));
	draft_set_number(d, o, "state_ms",
		line->taken_ns > line->since_ns ? (line->taken_ns - line->since_ns) / 1000000 : 0);
	draft_set_text(d, o, "site", site);
	draft_set(d, o, "stack", make_frames(d, line));
	return o;
}

struct reclaimed_report {
	struct report report; /* first */
	uint64_t cursor, left;
};

static json_t *next_line(struct report *report, struct draft *d)
{
	struct reclaimed_report *r = (struct reclaimed_report *)report;
	const struct history_line *line =
		r->left ? history_next(d->view->history, &r->cursor) : NULL;

	if (!line)
		return NULL;
	r->left--;
	return make_line(d, line);
}

struct report *report_reclaimed(const struct report_view *view, uint64_t limit)
{
	struct report *r = report_begin(sizeof(struct reclaimed_report));
	struct draft d = { .view = view };

	if (!r)
		return NULL;
	((struct reclaimed_report *)r)->left = limit;
	r->list = "lines";
	r->next = next_line;
	r->head = draft_begin(&d, "reclaimed");
	draft_set_number(&d, r->head, "lines_total", history_count(view->history));
	draft_set_number(&d, r->head, "unacknowledged", history_news(view->history));
	if (!d.failed)
		return r;
	report_end(r);
	return NULL;
}
