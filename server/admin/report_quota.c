/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/report_quota.h"

#include "server/ledger/quotas.h"

/* null: no limit */
static json_t *make_limits(struct draft *d, const struct quota *quota)
{
	json_t *o = json_object();

	for (unsigned kind = 0; kind < QUOTA_KINDS; kind++) {
		const uint64_t most = quota_limit(quota, (enum quota_kind)kind);

		draft_set_known(d, o, quota_kind_name((enum quota_kind)kind),
			most == QUOTA_NONE ? 0 : most);
	}
	return o;
}

static json_t *make_use(struct draft *d, const struct quota_sums *sums, uint64_t windows)
{
	struct quota_use use = quotas_use(sums);
	json_t *o = json_object();

	use.of[QUOTA_WINDOWS] = windows;
	for (unsigned kind = 0; kind < QUOTA_KINDS; kind++)
		draft_set_number(d, o, quota_kind_name((enum quota_kind)kind), use.of[kind]);
	return o;
}

static json_t *make_quota(
	struct draft *d, const struct quota_sums *sums, uint64_t windows, const struct quota *quota)
{
	json_t *o = json_object();

	draft_set(d, o, "used", make_use(d, sums, windows));
	draft_set(d, o, "limit", make_limits(d, quota));
	return o;
}

/* Keys are not counted per job. */
static json_t *make_job_quota(struct draft *d, const struct quotas *q, const struct quota_job *job)
{
	const struct quota quota = quota_of_job(&q->rules, job->label);

	return make_quota(d, &job->sums, 0, &quota);
}

void part_quotas(struct draft *d, json_t *session, uint32_t slot)
{
	const struct report_view *view = d->view;
	const struct quotas *q = ledger_quotas(view->ledger);
	const struct quota_job *job = quotas_job(q, slot);

	draft_set(d, session, "quota",
		make_quota(d, quotas_session(q, slot),
			view->windows ? view->windows(view->arg, slot) : 0, &q->rules.session));
	draft_set(d, session, "job_quota", job ? make_job_quota(d, q, job) : json_null());
}

static json_t *make_named(struct draft *d, const struct quota_rules *rules)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < rules->nnamed; i++) {
		const struct quota quota = quota_of_job(rules, rules->named[i].job);
		json_t *o = json_object();

		draft_set_text(d, o, "job", rules->named[i].job);
		draft_set(d, o, "limit", make_limits(d, &quota));
		draft_append(d, list, o);
	}
	return list;
}

json_t *part_quota_rules(struct draft *d)
{
	const struct quota_rules *rules = &ledger_quotas(d->view->ledger)->rules;
	json_t *o = json_object();

	draft_set(d, o, "session", make_limits(d, &rules->session));
	draft_set(d, o, "job", make_limits(d, &rules->job));
	draft_set(d, o, "named", make_named(d, rules));
	return o;
}

static json_t *make_job(struct draft *d, const struct quotas *q, const struct quota_job *job)
{
	json_t *o = json_object();

	draft_set_text(d, o, "job", job->label);
	draft_set_number(d, o, "uid", job->uid);
	draft_set_number(d, o, "sessions", job->sessions);
	draft_set(d, o, "quota", make_job_quota(d, q, job));
	return o;
}

json_t *report_quota(const struct report_view *view)
{
	const struct quotas *q = ledger_quotas(view->ledger);
	struct draft d = { .view = view };
	json_t *answer = draft_begin(&d, "quota"), *jobs = json_array();
	const struct quota_job *job;
	uint32_t cursor = 0;
	uint64_t n = 0;

	for (; (job = quotas_next_job(q, &cursor)) != NULL; n++)
		if (n < REPORT_JOBS_MAX)
			draft_append(&d, jobs, make_job(&d, q, job));
	draft_set(&d, answer, "quotas", part_quota_rules(&d));
	draft_set_number(&d, answer, "jobs_total", n);
	draft_set(&d, answer, "jobs", jobs);
	return draft_finish(&d, answer);
}
