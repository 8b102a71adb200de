/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A finding may have thousands of holders in different states. Holders in the same state share one text, which gives
 * their number and the shortest and longest time.
 */
#include "server/admin/report_evidence.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/units.h"

enum group {
	DEAD_PID_GONE,
	DEAD_LEASE_OVER,
	DEAD_LET_GO,
	DEAD_UNPROVED,
	CLOSED,
	DETACHED,
	CONNECTED,
	CONNECTED_EXPIRED,
	ORPHAN,
	GROUPS
};

static const struct {
	const char *name, *reason;
	bool dated;
} groups[GROUPS] = {
	[DEAD_PID_GONE] = { "holder-dead", "pid gone, boot id same", true },
	[DEAD_LEASE_OVER] = { "holder-dead", "lease past its grace, transport dead", true },
	[DEAD_LET_GO] = { "holder-dead",
		"pid same, session given up (killed just now, exec, or a lost close)", true },
	[DEAD_UNPROVED] = { "holder-dead", "not proved", true },
	[CLOSED] = { "holder-closed", "closed without freeing", true },
	[DETACHED] = { "holder-detached", "may come back", true },
	[CONNECTED] = { "holder-connected", NULL, false },
	[CONNECTED_EXPIRED] = { "holder-connected", "its lease is over", false },
	[ORPHAN] = { "no-session", "its record is not there: a fault in rmemd", false },
};

struct tally {
	uint64_t holders;
	uint64_t shortest_ms, longest_ms;
};

static const char *const lease_names[] = { "live", "late", "courtesy", "lapsed" };

#define LEASES (sizeof(lease_names) / sizeof(lease_names[0]))

struct evidence {
	struct tally groups[GROUPS];
	struct tally leases[LEASES];
};

static enum group group_of(const struct audit_holder *h)
{
	if (h->orphan)
		return ORPHAN;
	switch (h->then.state) {
	case SESSION_CONNECTED:
		return h->then.expired_ns ? CONNECTED_EXPIRED : CONNECTED;
	case SESSION_CLOSED:
		return CLOSED;
	case SESSION_DEAD:
		if (h->then.evidence == HOLDER_PID_GONE)
			return DEAD_PID_GONE;
		if (h->then.evidence == HOLDER_LET_GO)
			return DEAD_LET_GO;
		return h->then.evidence == HOLDER_LEASE_OVER ? DEAD_LEASE_OVER : DEAD_UNPROVED;
	default:
		return DETACHED;
	}
}

static void count(struct tally *t, uint64_t for_ms)
{
	if (t->holders++ == 0 || for_ms < t->shortest_ms)
		t->shortest_ms = for_ms;
	if (for_ms > t->longest_ms)
		t->longest_ms = for_ms;
}

static void collect(
	const struct report_view *view, const struct audit_finding *f, struct evidence *e)
{
	for (size_t i = 0; i < f->nholders; i++) {
		const struct audit_holder *h = &f->holders[i];
		const struct session_record *r = part_session(view, h->session, h->session_serial);
		uint64_t lease_ms;
		const char *lease = r ? part_lease(view, h->session, r, &lease_ms) : "none";

		count(&e->groups[group_of(h)], h->orphan ? 0 : part_ago_ms(view, h->then.since_ns));
		for (size_t l = 0; l < LEASES && r && r->state == h->then.state; l++) {
			if (strcmp(lease, lease_names[l]) == 0)
				count(&e->leases[l], lease_ms);
		}
	}
}

/* " 11m", " 2m to 11m" */
static void put_time(FILE *out, const struct tally *t)
{
	char shortest[UNITS_TEXT_SIZE], longest[UNITS_TEXT_SIZE];

	units_format_duration(t->shortest_ms, shortest, sizeof(shortest));
	units_format_duration(t->longest_ms, longest, sizeof(longest));
	if (strcmp(shortest, longest) == 0)
		fprintf(out, " %s", longest);
	else
		fprintf(out, " %s to %s", shortest, longest);
}

static void put_holders(FILE *out, const struct tally *t)
{
	if (t->holders > 1)
		fprintf(out, ", %" PRIu64 " holders", t->holders);
}

#define TEXT_SIZE 192 /* longer than any text here */

static void add_text(struct draft *d, json_t *list, const char *text)
{
	draft_append(d, list, json_string(text));
}

static void add_group(struct draft *d, json_t *list, enum group g, const struct tally *t)
{
	char text[TEXT_SIZE] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	if (!out) {
		d->failed = true;
		return;
	}
	fputs(groups[g].name, out);
	if (groups[g].dated)
		put_time(out, t);
	if (groups[g].reason)
		fprintf(out, " (%s)", groups[g].reason);
	put_holders(out, t);
	fclose(out);
	add_text(d, list, text);
}

static void add_lease(struct draft *d, json_t *list, size_t lease, const struct tally *t)
{
	char text[TEXT_SIZE] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	if (!out) {
		d->failed = true;
		return;
	}
	fprintf(out, "lease %s", lease_names[lease]);
	/* For how long a lease has been live is no evidence. */
	if (lease > 0) {
		fputs(" since", out);
		put_time(out, t);
	}
	put_holders(out, t);
	fclose(out);
	add_text(d, list, text);
}

static void add_scans(struct draft *d, json_t *list, const struct audit_finding *f)
{
	char text[TEXT_SIZE];

	if (f->kind == AUDIT_DEFINITE) {
		add_text(d, list, "definite 2/2 scans");
	} else if (f->unconfirmed && f->unconfirmed == f->blocks) {
		add_text(d, list, "definite 1/2 scans");
	} else if (f->unconfirmed) {
		snprintf(text, sizeof(text), "definite 1/2 scans (%" PRIu64 " of %" PRIu64 " %s)",
			f->unconfirmed, f->blocks, f->objects ? "allocations" : "blocks");
		add_text(d, list, text);
	}
}

void evidence_journal(
	const struct report_view *view, const struct audit_finding *f, struct evidence_journal *out)
{
	*out = (struct evidence_journal){ .exact = false };
	for (size_t i = 0; i < f->nholders; i++) {
		const struct audit_holder *h = &f->holders[i];
		const uint64_t age_ns = audit_journal_age_ns(&h->then, view->now_ns);

		if (!h->objects || h->orphan)
			continue;
		out->exact |= h->then.exact;
		out->lazy |= !h->then.exact;
		if (!h->then.exact && age_ns > out->age_ns)
			out->age_ns = age_ns;
	}
}

static void add_journal(struct draft *d, json_t *list, const struct audit_finding *f)
{
	char text[TEXT_SIZE], age[UNITS_TEXT_SIZE];
	struct evidence_journal journal;

	if (f->corrupt) {
		snprintf(text, sizeof(text),
			"journal-corrupt (%" PRIu64 " record%s in %" PRIu64
			" slab%s, the first at 0x%" PRIx64 ")",
			f->objects, f->objects == 1 ? "" : "s", f->slabs, f->slabs == 1 ? "" : "s",
			f->slab_addr);
		add_text(d, list, text);
	}
	evidence_journal(d->view, f, &journal);
	if (journal.exact)
		add_text(d, list, "journal exact");
	if (!journal.lazy)
		return;
	/* Whole seconds, as the records have: not less than it is. */
	units_format_duration(
		(journal.age_ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC * 1000, age, sizeof(age));
	snprintf(text, sizeof(text), "sites up to %s old", age);
	add_text(d, list, text);
}

json_t *evidence_list(struct draft *d, const struct audit_finding *f)
{
	json_t *list = json_array();
	struct evidence e;

	memset(&e, 0, sizeof(e));
	collect(d->view, f, &e);
	if (f->kind == AUDIT_ZOMBIE)
		add_text(d, list, "revoke not confirmed");
	for (unsigned g = 0; g < GROUPS; g++) {
		if (e.groups[g].holders)
			add_group(d, list, (enum group)g, &e.groups[g]);
	}
	for (size_t l = 0; l < LEASES; l++) {
		if (e.leases[l].holders)
			add_lease(d, list, l, &e.leases[l]);
	}
	add_scans(d, list, f);
	add_journal(d, list, f);
	return list;
}
