/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Quotas: what operators may say, and that after any change of the ledger and of the session table the sums and decisions are
 * what counting would give. Also over a restart, and over slots that list memory of sessions that are not there.
 */
#include "tests/support/random.h"
#include "tests/support/rounds.h"
#include "tests/support/world.h"

#include <errno.h>

#include "common/size_class.h"
#include "server/ledger/quotas.h"

#define SLOTS 10
#define STEPS 30000
#define HELD_MAX 200

/* ---- what operators say ---- */

static void test_text(void **state)
{
	struct quota_rules r = { .nnamed = 0 };
	struct errinfo errinfo;
	struct quota q;

	(void)state;
	assert_int_equal(quota_set_session(&r, "bytes=8G,blocks=100000,windows=5", &errinfo), 0);
	assert_true(quota_limit(&r.session, QUOTA_BYTES) == 8ULL << 30);
	assert_true(quota_limit(&r.session, QUOTA_BLOCKS) == 100000);
	assert_true(quota_limit(&r.session, QUOTA_OBJECTS) == QUOTA_NONE);
	assert_true(quota_limit(&r.session, QUOTA_WINDOWS) == 5);
	/* What is not named stays. */
	assert_int_equal(quota_set_session(&r, "bytes=none,windows=default", &errinfo), 0);
	assert_true(quota_limit(&r.session, QUOTA_BYTES) == QUOTA_NONE);
	assert_true(quota_limit(&r.session, QUOTA_WINDOWS) == QUOTA_NONE);
	assert_true(quota_limit(&r.session, QUOTA_BLOCKS) == 100000);

	assert_int_equal(quota_set_job(&r, "blocks=10,bytes=1M", &errinfo), 0);
	assert_int_equal(quota_set_job(&r, "a:b:blocks=20,objects=7", &errinfo), 0);
	q = quota_of_job(&r, "a:b");
	assert_true(q.most[QUOTA_BLOCKS] == 20 && q.most[QUOTA_BYTES] == 1 << 20);
	assert_true(q.most[QUOTA_OBJECTS] == 7);
	assert_true(quota_of_job(&r, "a").most[QUOTA_BLOCKS] == 10);
	/* The limits of all jobs hold for a named one where nothing else is said of it. */
	assert_int_equal(quota_set_job(&r, "bytes=2M", &errinfo), 0);
	assert_int_equal(quota_set_job(&r, "a:b:objects=none", &errinfo), 0);
	q = quota_of_job(&r, "a:b");
	assert_true(q.most[QUOTA_BYTES] == 2 << 20 && q.most[QUOTA_OBJECTS] == QUOTA_NONE);
	assert_int_equal(quota_set_job(&r, "a:b:blocks=default,objects=default", &errinfo), 0);
	assert_int_equal(r.nnamed, 0);
	assert_true(quota_of_job(&r, "a:b").most[QUOTA_BLOCKS] == 10);
}

static void test_wrong_text(void **state)
{
	static const char *const wrong[] = { "", "bytes", "bytes=", "bytes=0", "bytes=8X", "=8G",
		"bytes=8G,", ",bytes=8G", "blocks=-1", "blocks=1K", "blocks=0", "byte=8",
		"bytes=8G blocks=1", "blocks=9223372036854775808", "bytes=8388608T",
		"blocks=99999999999999999999", "blocks=1,nonsense=2" };
	struct quota_rules r = { .nnamed = 0 }, before = r;
	struct errinfo errinfo;
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		errinfo.text[0] = '\0';
		assert_int_equal(quota_set_session(&r, wrong[i], &errinfo), -EINVAL);
		assert_non_null(strstr(errinfo.text, "quota"));
		assert_int_equal(quota_set_job(&r, wrong[i], &errinfo), -EINVAL);
		snprintf(text, sizeof(text), "job:%s", wrong[i]);
		assert_int_equal(quota_set_job(&r, text, &errinfo), -EINVAL);
	}
	assert_int_equal(quota_set_job(&r, "windows=3", &errinfo), -EINVAL);
	assert_int_equal(quota_set_job(&r, "job:windows=3", &errinfo), -EINVAL);
	assert_int_equal(quota_set_job(&r, ":blocks=3", &errinfo), -EINVAL);
	assert_int_equal(quota_set_job(&r, "a\nb:blocks=3", &errinfo), -EINVAL);
	snprintf(text, sizeof(text), "%064d:blocks=3", 1);
	assert_int_equal(quota_set_job(&r, text, &errinfo), -EINVAL);
	assert_memory_equal(&r, &before, sizeof(r));
	for (unsigned i = 0; i <= QUOTA_NAMED_MAX; i++) {
		snprintf(text, sizeof(text), "%063u:blocks=%u", i, i + 1);
		assert_int_equal(
			quota_set_job(&r, text, &errinfo), i < QUOTA_NAMED_MAX ? 0 : -ENOSPC);
	}
	snprintf(text, sizeof(text), "%063u", 9);
	assert_true(quota_of_job(&r, text).most[QUOTA_BLOCKS] == 10);
}

/* ---- sums ---- */

static bool is_coming(const struct allocation *a)
{
	return a->state == ALLOCATION_REVOKING || a->state == ALLOCATION_QUARANTINE;
}

static void tally(struct quota_sums *sums, const struct allocation *a)
{
	struct quota_use *use = is_coming(a) ? &sums->coming : &sums->held;

	use->of[QUOTA_BYTES] += (a->bytes + 4095) / 4096 * 4096;
	use->of[QUOTA_BLOCKS]++;
	use->of[QUOTA_OBJECTS] += a->size_class ? slab_slots(a->size_class, a->bytes) : 1;
}

static bool is_of(const struct session_record *r, const char *job, uint32_t uid)
{
	return strcmp(r->identity.job, job) == 0 && r->identity.uid == uid;
}

/* Of a session, or of the job that it is in, by looking at everything. */
static struct quota_sums counted(struct world *w, const struct session_record *of, bool job)
{
	struct quota_sums sums = { { { 0 } }, { { 0 } } };
	const struct allocation *a;
	uint32_t cursor = 0;

	while ((a = ledger_next(w->ledger, &cursor)) != NULL) {
		const struct session_record *r = sessions_get(w->sessions, a->session);

		if (r && r->serial == a->session_serial &&
			(job ? is_of(r, of->identity.job, of->identity.uid) : r == of))
			tally(&sums, a);
	}
	return sums;
}

static void check_sums(struct world *w)
{
	const struct quotas *q = ledger_quotas(w->ledger);
	const struct session_record *r, *other;
	uint32_t cursor = 0, slot, jobs = 0, found = 0, sessions;
	const struct quota_job *job;
	struct quota_sums sums;

	while ((r = sessions_next(w->sessions, &cursor, &slot)) != NULL) {
		uint32_t at = 0, first = SLOT_NONE, s;

		sums = counted(w, r, false);
		assert_memory_equal(quotas_session(q, slot), &sums, sizeof(sums));
		job = quotas_job(q, slot);
		assert_int_equal(!job, !r->identity.job[0]);
		if (!job)
			continue;
		assert_string_equal(job->label, r->identity.job);
		assert_int_equal(job->uid, r->identity.uid);
		sums = counted(w, r, true);
		assert_memory_equal(&job->sums, &sums, sizeof(sums));
		for (sessions = 0; (other = sessions_next(w->sessions, &at, &s)) != NULL;) {
			if (!is_of(other, r->identity.job, r->identity.uid))
				continue;
			first = first == SLOT_NONE ? s : first;
			sessions++;
		}
		assert_int_equal(job->sessions, sessions);
		jobs += first == slot;
	}
	/* None is left over. */
	for (cursor = 0; quotas_next_job(q, &cursor);)
		found++;
	assert_int_equal(found, jobs);
}

/* ---- decisions ---- */

static bool has_room(const struct quota *quota, const struct quota_sums *sums,
	const struct quota_use *wants, bool when_back)
{
	for (unsigned kind = 0; kind < QUOTA_WINDOWS; kind++) {
		const uint64_t has = sums->held.of[kind] + (when_back ? 0 : sums->coming.of[kind]);

		if (has + wants->of[kind] > quota_limit(quota, (enum quota_kind)kind))
			return false;
	}
	return true;
}

static bool may_have(struct world *w, uint32_t slot, const struct allocation *wanted,
	const struct session_record *giver, bool when_back)
{
	const struct quotas *q = ledger_quotas(w->ledger);
	const struct session_record *r = sessions_get(w->sessions, slot);
	const struct quota quota = quota_of_job(&q->rules, r->identity.job);
	struct quota_sums own = counted(w, r, false), job = counted(w, r, true),
			  wants = { { { 0 } }, { { 0 } } };

	tally(&wants, wanted);
	if (!has_room(&q->rules.session, &own, &wants.held, when_back))
		return false;
	if (!r->identity.job[0] || (giver && is_of(giver, r->identity.job, r->identity.uid)))
		return true;
	return has_room(&quota, &job, &wants.held, when_back);
}

static bool allows(struct world *w, uint32_t slot, const struct allocation *wanted, uint32_t giver)
{
	const struct quotas *q = ledger_quotas(w->ledger);
	const struct session_record *from = sessions_get(w->sessions, giver);
	struct quota_excess excess;
	struct errinfo errinfo;
	bool allowed = false;

	for (unsigned when_back = 0; when_back < 2; when_back++) {
		const bool yes = quotas_allow(q, slot, wanted, giver, when_back, &excess);

		assert_int_equal(yes, may_have(w, slot, wanted, from, when_back));
		allowed |= yes && !when_back;
		if (yes)
			continue;
		assert_true(excess.has > excess.most - excess.wants || excess.wants > excess.most);
		assert_int_equal(quotas_explain(&excess, &errinfo), -EDQUOT);
		assert_non_null(strstr(errinfo.text, quota_kind_name(excess.kind)));
		assert_int_equal(!!excess.job, strstr(errinfo.text, "the quota of job") != NULL);
	}
	return allowed;
}

static void join(struct world *w, uint64_t *seed)
{
	static const char *const jobs[] = { "", "job a", "job b", "job c" };

	add_session_of(w, jobs[random_below(seed, 4)], (uint32_t)random_below(seed, 2));
}

static const struct allocation *any_block(struct world *w, uint64_t *seed)
{
	uint32_t cursor = (uint32_t)random_below(seed, HELD_MAX);
	const struct allocation *a = ledger_next(w->ledger, &cursor);

	cursor = 0;
	return a ? a : ledger_next(w->ledger, &cursor);
}

static void advance(struct world *w, const struct allocation *a, uint64_t *seed)
{
	static const uint32_t last = ALLOCATION_QUARANTINE;

	if (a->state == ALLOCATION_LIVE)
		set_state(w, a, ALLOCATION_REVOKING);
	else if (a->state == ALLOCATION_REVOKING)
		set_state(w, a, random_below(seed, 4) ? ALLOCATION_QUARANTINE : ALLOCATION_ZOMBIE);
	else if (a->state == ALLOCATION_ZOMBIE)
		set_state(w, a, ALLOCATION_QUARANTINE);
	else if (a->state == last)
		set_state(w, a, ALLOCATION_FREE);
}

/* As the server does: ask, then add. Now and then memory of a session that is not there, as after damage. */
static void add(struct world *w, uint32_t slot, uint64_t *seed)
{
	const bool foreign = random_below(seed, 32) == 0;
	struct allocation d;
	const struct allocation *out;

	memset(&d, 0, sizeof(d));
	d.session = slot;
	d.session_serial =
		foreign ? 1 + random_below(seed, 40) : sessions_get(w->sessions, slot)->serial;
	d.addr = addr_make(0, random_below(seed, 1 << 16) << 20);
	d.bytes = 1 + random_below(seed, 20000);
	if (random_below(seed, 3) == 0) {
		d.size_class = (uint8_t)(1 + random_below(seed, 30));
		d.bytes = BLOCK_MIN_BYTES * (1 + random_below(seed, 5));
	}
	if ((foreign || allows(w, slot, &d, SLOT_NONE)) &&
		!ledger_find_containing(w->ledger, d.addr))
		assert_int_equal(ledger_add(w->ledger, &d, &out), 0);
}

static void hand_over(struct world *w, const struct allocation *a, uint32_t to)
{
	const uint32_t giver = a->session;
	const struct session_record *r = sessions_get(w->sessions, giver);

	if (a->state == ALLOCATION_LIVE && r && r->serial == a->session_serial && giver != to &&
		allows(w, to, a, giver))
		assert_int_equal(ledger_hand_over(w->ledger, a, to,
					 sessions_get(w->sessions, to)->serial, 0, &a),
			0);
}

static void change_rules(struct world *w, uint64_t *seed)
{
	struct quota_rules changed = ledger_quotas(w->ledger)->rules, *rules = &changed;
	struct errinfo errinfo;
	char text[80];

	snprintf(text, sizeof(text), "bytes=%u,blocks=%u,objects=%u",
		4096 * (unsigned)(1 + random_below(seed, 60)), 1 + (unsigned)random_below(seed, 40),
		1 + (unsigned)random_below(seed, 4000));
	assert_int_equal(quota_set_session(rules, text, &errinfo), 0);
	snprintf(text, sizeof(text), "%sbytes=%u,blocks=%u,objects=%u",
		random_below(seed, 2) ? "job b:" : "",
		4096 * (unsigned)(1 + random_below(seed, 90)), 1 + (unsigned)random_below(seed, 60),
		1 + (unsigned)random_below(seed, 9000));
	assert_int_equal(quota_set_job(rules, text, &errinfo), 0);
	ledger_set_quotas(w->ledger, rules);
}

static void step(struct world *w, uint64_t *seed)
{
	const struct allocation *a = any_block(w, seed);
	uint32_t slot = (uint32_t)random_below(seed, SLOTS);
	const struct session_record *r = sessions_get(w->sessions, slot);

	switch (random_below(seed, 10)) {
	case 0:
	case 1:
		if (a)
			advance(w, a, seed);
		break;
	case 2:
		if (sessions_count(w->sessions) < SLOTS)
			join(w, seed);
		else if (random_below(seed, 4) == 0)
			sessions_remove(w->sessions, slot);
		break;
	case 3:
		if (r && a)
			hand_over(w, a, slot);
		break;
	case 4:
		if (random_below(seed, 100) == 0)
			change_rules(w, seed);
		break;
	default:
		if (r && ledger_count(w->ledger) < HELD_MAX)
			add(w, slot, seed);
	}
}

/* Another process finds the same sums: nothing of them is stored. */
static void restart(struct world *w)
{
	const struct quota_rules rules = ledger_quotas(w->ledger)->rules;

	ledger_close(w->ledger);
	sessions_close(w->sessions);
	assert_int_equal(ledger_open(&w->ledger, w->dir, "ledger", 4096), 0);
	assert_int_equal(sessions_open(&w->sessions, w->dir, "sessions"), 0);
	sessions_tell(w->sessions, w->ledger);
	ledger_set_quotas(w->ledger, &rules);
}

static void test_any_order(void **state)
{
	struct world *w = *state;
	uint64_t seed = 5;

	change_rules(w, &seed);
	for (unsigned i = 0; i < rounds(STEPS); i++) {
		step(w, &seed);
		if (i % 2048 == 2047)
			restart(w);
		if (i % 8 == 7)
			check_sums(w);
	}
	assert_true(ledger_count(w->ledger) > 50);
}

/* ---- who is told what ---- */

static void explain(
	struct world *w, uint32_t slot, const struct allocation *wanted, struct errinfo *errinfo)
{
	struct quota_excess excess;

	assert_false(
		quotas_allow(ledger_quotas(w->ledger), slot, wanted, SLOT_NONE, false, &excess));
	quotas_explain(&excess, errinfo);
}

static void test_sentences(void **state)
{
	struct world *w = *state;
	const struct quotas *q = ledger_quotas(w->ledger);
	struct quota_rules rules = { .nnamed = 0 };
	const uint32_t first = add_session_of(w, "train", 7),
		       second = add_session_of(w, "train", 7),
		       stranger = add_session_of(w, "train", 8);
	const struct allocation wanted = { .bytes = 8192 };
	struct quota_excess excess;
	struct errinfo errinfo;

	add_block(w, first, 0, 8192, 0, 0);
	assert_int_equal(quota_set_session(&rules, "bytes=12K,windows=1", &errinfo), 0);
	assert_int_equal(quota_set_job(&rules, "blocks=1", &errinfo), 0);
	ledger_set_quotas(w->ledger, &rules);
	explain(w, first, &wanted, &errinfo);
	assert_string_equal(errinfo.text,
		"this session's quota is used up: it has 8.0 KiB of at most 12.0 KiB, and asks for "
		"8.0 KiB more; free something, or have the server's operator raise the quota "
		"(rmemctl quota --session bytes=...)");
	explain(w, second, &wanted, &errinfo);
	assert_string_equal(errinfo.text,
		"the quota of job train of uid 7 is used up: its 2 sessions have together 1 block "
		"of at most 1 block, and this one asks for 1 block more; free something, or have "
		"the server's operator raise the quota (rmemctl quota --job train:blocks=...)");
	/* Another user's job may have the same label: it neither takes from this one nor hears of it. */
	assert_true(quotas_allow(q, stranger, &wanted, SLOT_NONE, false, &excess));
	assert_true(quotas_allow_window(q, 0, &excess));
	assert_false(quotas_allow_window(q, 1, &excess));
	quotas_explain(&excess, &errinfo);
	assert_non_null(strstr(errinfo.text, "it has 1 window of at most 1 window"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_wrong_text),
		IN_WORLD(test_any_order),
		IN_WORLD(test_sentences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
