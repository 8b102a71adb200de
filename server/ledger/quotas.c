/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/quotas.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size_class.h"
#include "common/units.h"

int quotas_create(struct quotas *q)
{
	int err = slots_create(&q->numbers, SESSIONS_MAX);

	if (!err)
		err = slotmap_create(&q->by_label, SESSIONS_MAX);
	q->holders = calloc(SESSIONS_MAX, sizeof(*q->holders));
	q->jobs = calloc(SESSIONS_MAX, sizeof(*q->jobs));
	return !q->holders || !q->jobs ? -ENOMEM : err;
}

void quotas_destroy(struct quotas *q)
{
	slots_destroy(&q->numbers);
	slotmap_destroy(&q->by_label);
	free(q->holders);
	free(q->jobs);
	memset(q, 0, sizeof(*q));
}

/* ---- jobs ---- */

static uint32_t hash_of(const char *label, uint32_t uid)
{
	uint64_t key = uid;

	for (; *label; label++)
		key = (key ^ (uint8_t)*label) * 0x100000001b3ULL;
	return slotmap_hash(key);
}

static uint32_t find_job(const struct quotas *q, const char *label, uint32_t uid)
{
	uint32_t number = slotmap_first(&q->by_label, hash_of(label, uid));

	while (number != SLOT_NONE &&
		(q->jobs[number].uid != uid || strcmp(q->jobs[number].label, label) != 0))
		number = slotmap_next(&q->by_label, number);
	return number;
}

/* SLOT_NONE: it has no label. There is room: each job has a session. */
static uint32_t join_job(struct quotas *q, const struct identity *who)
{
	uint32_t number = who->job[0] ? find_job(q, who->job, who->uid) : SLOT_NONE;

	if (who->job[0] && number == SLOT_NONE && slots_take(&q->numbers, &number) == 0) {
		q->jobs[number] = (struct quota_job){ .uid = who->uid };
		snprintf(q->jobs[number].label, QUOTA_JOB_SIZE, "%s", who->job);
		slotmap_put(&q->by_label, number, hash_of(who->job, who->uid));
	}
	if (number != SLOT_NONE)
		q->jobs[number].sessions++;
	return number;
}

static void leave_job(struct quotas *q, uint32_t number)
{
	if (number == SLOT_NONE || --q->jobs[number].sessions)
		return;
	slotmap_remove(&q->by_label, number);
	slots_give(&q->numbers, number);
}

void quotas_join(struct quotas *q, uint32_t slot, uint64_t serial, const struct identity *who)
{
	q->holders[slot] = (struct quota_holder){ .serial = serial, .job = join_job(q, who) };
}

void quotas_leave(struct quotas *q, uint32_t slot)
{
	if (q->holders[slot].serial)
		leave_job(q, q->holders[slot].job);
	q->holders[slot] = (struct quota_holder){ .serial = 0 };
}

/* ---- sums ---- */

static struct quota_use use_of(const struct allocation *a)
{
	return (struct quota_use){
		.of = { [QUOTA_BYTES] = allocation_block_bytes(a),
			[QUOTA_BLOCKS] = 1,
			[QUOTA_OBJECTS] = a->size_class ? slab_slots(a->size_class, a->bytes) : 1 }
	};
}

/* Modulo 2^64: what was added is taken away again. */
static void change(struct quota_sums *sums, const struct allocation *a, bool add)
{
	const bool comes = a->state == ALLOCATION_REVOKING || a->state == ALLOCATION_QUARANTINE;
	struct quota_use *sum = comes ? &sums->coming : &sums->held;
	const struct quota_use use = use_of(a);

	for (unsigned kind = 0; kind < QUOTA_KINDS; kind++)
		sum->of[kind] += add ? use.of[kind] : 0 - use.of[kind];
}

static void count(struct quotas *q, const struct allocation *a, bool add)
{
	struct quota_holder *h = &q->holders[a->session];

	if (h->serial != a->session_serial)
		return;
	change(&h->sums, a, add);
	if (h->job != SLOT_NONE)
		change(&q->jobs[h->job].sums, a, add);
}

void quotas_add(struct quotas *q, const struct allocation *a)
{
	count(q, a, true);
}

void quotas_remove(struct quotas *q, const struct allocation *a)
{
	count(q, a, false);
}

struct quota_use quotas_use(const struct quota_sums *sums)
{
	struct quota_use use = sums->held;

	for (unsigned kind = 0; kind < QUOTA_KINDS; kind++)
		use.of[kind] += sums->coming.of[kind];
	return use;
}

const struct quota_sums *quotas_session(const struct quotas *q, uint32_t slot)
{
	return &q->holders[slot].sums;
}

const struct quota_job *quotas_job(const struct quotas *q, uint32_t slot)
{
	const struct quota_holder *h = &q->holders[slot];

	return h->serial && h->job != SLOT_NONE ? &q->jobs[h->job] : NULL;
}

const struct quota_job *quotas_next_job(const struct quotas *q, uint32_t *cursor)
{
	const uint32_t number = slots_next(&q->numbers, *cursor);

	if (number == SLOT_NONE)
		return NULL;
	*cursor = number + 1;
	return &q->jobs[number];
}

/* ---- decisions ---- */

static bool fits(const struct quota *quota, const struct quota_use *has,
	const struct quota_use *wants, struct quota_excess *out)
{
	for (unsigned kind = 0; kind < QUOTA_KINDS; kind++) {
		const uint64_t most = quota_limit(quota, (enum quota_kind)kind);

		if (wants->of[kind] <= most && has->of[kind] <= most - wants->of[kind])
			continue;
		out->kind = (enum quota_kind)kind;
		out->has = has->of[kind];
		out->wants = wants->of[kind];
		out->most = most;
		return false;
	}
	return true;
}

bool quotas_allow(const struct quotas *q, uint32_t slot, const struct allocation *wanted,
	uint32_t giver, bool when_back, struct quota_excess *out)
{
	const struct quota_sums *own = quotas_session(q, slot);
	const struct quota_job *job = quotas_job(q, slot);
	const struct quota_use wants = use_of(wanted);
	struct quota_use has = when_back ? own->held : quotas_use(own);
	struct quota quota;

	out->job = NULL;
	if (!fits(&q->rules.session, &has, &wants, out))
		return false;
	/* What one session of a job gives to another, the job has already. */
	if (!job || (giver != SLOT_NONE && job == quotas_job(q, giver)))
		return true;
	out->job = job;
	has = when_back ? job->sums.held : quotas_use(&job->sums);
	quota = quota_of_job(&q->rules, job->label);
	return fits(&quota, &has, &wants, out);
}

bool quotas_allow_window(const struct quotas *q, uint32_t has, struct quota_excess *out)
{
	const struct quota_use use = { .of = { [QUOTA_WINDOWS] = has } };
	const struct quota_use one = { .of = { [QUOTA_WINDOWS] = 1 } };

	out->job = NULL;
	return fits(&q->rules.session, &use, &one, out);
}

/* "1.5 GiB", "17 blocks" */
static const char *put_amount(enum quota_kind kind, uint64_t n, char *buf, size_t size)
{
	if (kind == QUOTA_BYTES)
		return units_format_bytes(n, buf, size);
	snprintf(buf, size, "%" PRIu64 " %.*s", n, (int)strlen(quota_kind_name(kind)) - (n == 1),
		quota_kind_name(kind));
	return buf;
}

int quotas_explain(const struct quota_excess *e, struct errinfo *errinfo)
{
	const char *remedy = e->kind == QUOTA_WINDOWS ? "detach or free some" : "free something";
	char has[40], most[40], wants[40];

	put_amount(e->kind, e->has, has, sizeof(has));
	put_amount(e->kind, e->most, most, sizeof(most));
	put_amount(e->kind, e->wants, wants, sizeof(wants));
	if (!e->job)
		return errinfo_set(errinfo, -EDQUOT,
			"this session's quota is used up: it has %s of at most %s, and asks for %s "
			"more; "
			"%s, or have the server's operator raise the quota (rmemctl quota "
			"--session %s=...)",
			has, most, wants, remedy, quota_kind_name(e->kind));
	return errinfo_set(errinfo, -EDQUOT,
		"the quota of job %s of uid %u is used up: its %u session%s %s of at most %s, and "
		"this "
		"one asks for %s more; %s, or have the server's operator raise the quota (rmemctl "
		"quota --job %s:%s=...)",
		e->job->label, e->job->uid, e->job->sessions,
		e->job->sessions == 1 ? " has" : "s have together", has, most, wants, remedy,
		e->job->label, quota_kind_name(e->kind));
}
