/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/poll_budget.h"

#define TYPICAL_GUESS_NS 50000ULL /* until it is known */
#define TYPICAL_MAX_NS 1000000000ULL
#define TYPICAL_STEP 16 /* it moves by this part of itself, whatever a single wait takes */

#define SHORT_NS 500000ULL /* beyond, a sleep adds little to what the wait takes anyway */
#define FREE_NS 1000000ULL /* where waits are short */

#define CREDIT_MULTIPLE 64 /* of what is typical: to be later than that, something is wrong */
/* Up to here, all time outside of waits is credit; the longer waits typically take, the less of it. */
#define CREDIT_FULL_NS 1000000ULL
#define ASLEEP_PART 16 /* of the time slept is credit */

#define BRIEF_NS 2000ULL /* polled in any case */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What may be polled without credit. */
static uint64_t free_ns(const struct poll_budget *b)
{
	return b->typical_ns < SHORT_NS ? FREE_NS : 0;
}

static void earn(struct poll_budget *b, uint64_t ns)
{
	const uint64_t most = least(b->typical_ns * CREDIT_MULTIPLE, POLL_BUDGET_WAIT_NS);

	b->credit_ns = least(b->credit_ns + ns, most);
}

/* A running median. A wait that takes a thousand times as long is one wait. */
static void learn(struct poll_budget *b, uint64_t took_ns)
{
	const uint64_t step = b->typical_ns / TYPICAL_STEP;

	if (took_ns < b->typical_ns)
		b->typical_ns -= step;
	else if (b->typical_ns < TYPICAL_MAX_NS)
		b->typical_ns += step + 1;
}

void poll_budget_init(struct poll_budget *b, uint64_t now_ns)
{
	*b = (struct poll_budget){ .typical_ns = TYPICAL_GUESS_NS, .since_ns = now_ns };
}

uint64_t poll_budget_begin(struct poll_budget *b, uint64_t now_ns, bool alone)
{
	uint64_t outside = least(now_ns - b->since_ns, TYPICAL_MAX_NS);

	if (b->typical_ns > CREDIT_FULL_NS)
		outside = outside * CREDIT_FULL_NS / b->typical_ns;
	earn(b, outside);
	b->since_ns = now_ns;
	b->limit_ns = free_ns(b) + (alone ? b->credit_ns : 0);
	if (b->limit_ns < BRIEF_NS)
		b->limit_ns = BRIEF_NS;
	return b->limit_ns;
}

void poll_budget_end(struct poll_budget *b, uint64_t now_ns, bool came)
{
	const uint64_t took = now_ns - b->since_ns, polled = least(took, b->limit_ns);
	const uint64_t gratis = free_ns(b);

	if (polled > gratis)
		b->credit_ns -= least(polled - gratis, b->credit_ns);
	earn(b, (took - polled) / ASLEEP_PART);
	b->since_ns = now_ns;
	/* Of a wait that ended at the first look, or was given up, its length is not known. */
	if ((came && took) || took > b->typical_ns)
		learn(b, took);
}
