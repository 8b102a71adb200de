/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/audit/auditor.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"
#include "server/audit/pass.h"
#include "server/lease/slab.h"
#include "server/lease/session.h"

/* Minimum time between compared scans: long enough for a dying process to disappear. */
#define SCAN_GAP_NS (50 * NSEC_PER_MSEC)

struct auditor {
	struct event_base *base;
	struct leases *leases;
	const struct sites *sites;
	struct event *timer;       /* periodic audits */
	struct event *second_scan; /* of an audit on demand */
	bool failed;               /* the last one did not begin */
	struct pass *pass;         /* in progress; or NULL */
	uint64_t began_ns;         /* when the last pass began; boot clock */
	uint64_t time_ns;          /* the same moment in server time */
	struct audit_scan *previous;
	struct audit_scan *stale;    /* the one before it: the next pass frees it */
	struct wait *asked;          /* waits for an audit whose second scan has not begun */
	struct wait *served;         /* waits for the full audit in progress */
	struct audit_result *result; /* set while served is being called */
	struct audit_result *last;   /* kept for reports; or NULL */
	bool compares;               /* the pass in progress has a scan to compare with */
	struct auditor_facts facts;
};

size_t auditor_nodes(const struct pool *pool, struct audit_node out[ADDR_MAX_NODES])
{
	const unsigned n = pool->nnodes;
	unsigned cursor = 0;

	for (unsigned i = 0; i < n; i++)
		out[i] = (struct audit_node){ .node = pool->nodes[i].node };
	for (struct segment *s; (s = pool_next_segment(pool, &cursor)) != NULL;) {
		for (unsigned i = 0; i < n; i++) {
			if (out[i].node != s->node)
				continue;
			out[i].registered_bytes += s->arena.bytes;
			out[i].free_bytes += buddy_free_bytes(s->buddy);
		}
	}
	return n;
}

static struct audit_input input_of(const struct auditor *a, struct audit_node nodes[ADDR_MAX_NODES])
{
	return (struct audit_input){ .ledger = a->leases->pool->ledger,
		.sessions = a->leases->records,
		.sites = a->sites,
		.now_ns = leases_time_ns(a->leases),
		.nodes = nodes,
		.nnodes = auditor_nodes(a->leases->pool, nodes) };
}

/* status and map show kept_bytes; the audit counted the other sums. */
static void complain_of_sums(const struct audit_node *node)
{
	log_error("node %u: the sums that are kept are WRONG: live %" PRIu64 ", courtesy %" PRIu64
		  ", quarantine %" PRIu64 ", zombie %" PRIu64 "; the ledger has %" PRIu64
		  ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 ": please report this with the output of "
		  "rmemctl leaks --json and rmemctl status --json",
		node->node, node->kept_bytes[CLASS_LIVE], node->kept_bytes[CLASS_COURTESY],
		node->kept_bytes[CLASS_QUARANTINE], node->kept_bytes[CLASS_ZOMBIE],
		node->counted_bytes[CLASS_LIVE], node->counted_bytes[CLASS_COURTESY],
		node->counted_bytes[CLASS_QUARANTINE], node->counted_bytes[CLASS_ZOMBIE]);
}

static void complain(const struct audit_result *r)
{
	char bytes[UNITS_TEXT_SIZE];

	for (size_t i = 0; i < r->nnodes; i++) {
		if (r->nodes[i].unaccounted_bytes)
			log_error("node %u: %" PRId64 " bytes UNACCOUNTED for: please report this "
				  "with the output of rmemctl leaks --json",
				r->nodes[i].node, r->nodes[i].unaccounted_bytes);
		if (r->nodes[i].miscounted)
			complain_of_sums(&r->nodes[i]);
	}
	if (r->corrupt_records)
		log_warn("audit: %" PRIu64
			 " records that clients keep of their objects are corrupt "
			 "(rmemctl leaks)",
			r->corrupt_records);
	if (r->totals[AUDIT_DEFINITE].blocks)
		log_info("audit: %s in %" PRIu64 " allocations definitely lost (rmemctl leaks)",
			units_format_bytes(r->totals[AUDIT_DEFINITE].bytes, bytes, sizeof(bytes)),
			r->totals[AUDIT_DEFINITE].blocks);
}

static struct audit_scan *take_stale(struct auditor *a)
{
	struct audit_scan *stale = a->stale;

	a->stale = NULL;
	return stale;
}

static int begin(struct auditor *a, enum audit_depth depth,
	void (*done)(void *arg, const struct pass_outcome *outcome))
{
	const struct pass_source source = { .ledger = a->leases->pool->ledger,
		.read = depth == AUDIT_FULL ? slab_read : NULL,
		.arg = a->leases };
	struct audit_node nodes[ADDR_MAX_NODES];
	struct audit_input in;
	struct audit *audit;
	int err;

	session_check_liveness(a->leases);
	a->began_ns = clock_boot_ns();
	in = input_of(a, nodes);
	a->time_ns = in.now_ns;
	a->compares = a->previous != NULL;
	err = audit_begin(&in, a->previous, depth, &audit);
	if (!err)
		err = pass_start(a->base, &source, audit, take_stale(a), done, a, &a->pass);
	if (err && !a->failed)
		log_error("no audit is made: %s", strerror(-err));
	a->failed = err; /* one line, until it works again */
	return err;
}

/* End the pass and keep its scan, to compare the next one with. */
static void end(struct auditor *a, const struct pass_outcome *o)
{
	pass_stop(a->pass);
	a->pass = NULL;
	if (o->err) {
		log_error("no audit is made: %s", strerror(-o->err));
		return;
	}
	a->stale = a->previous;
	a->previous = o->scan;
}

static void begin_on_demand(struct auditor *a);

/* The first timed audit has nothing to compare with: it confirms nothing, so it is not shown to anybody. */
static void keep(struct auditor *a, struct audit_result *result)
{
	if (!a->compares)
		return;
	audit_result_release(a->last);
	a->last = audit_result_hold(result);
}

static void whole_audit_done(void *arg, const struct pass_outcome *o)
{
	struct auditor *a = arg;

	end(a, o);
	if (o->result) {
		a->facts.serial++;
		a->facts.last_ns = a->time_ns;
		a->facts.duration_us = (clock_boot_ns() - a->began_ns) / NSEC_PER_USEC;
		if (!a->served)
			complain(o->result); /* timed: perhaps nobody asks for it */
		keep(a, o->result);
	}
	a->result = o->result;
	wait_finish(&a->served, o->err);
	a->result = NULL;
	audit_result_release(o->result);
	if (a->asked && !a->pass)
		begin_on_demand(a);
}

/* Fail all waits. */
static void fail(struct auditor *a, int err)
{
	struct wait *waits;

	wait_move(&a->asked, &waits);
	wait_finish(&waits, err);
	wait_finish(&a->served, err);
}

static void on_second_scan(evutil_socket_t fd, short what, void *arg)
{
	struct auditor *a = arg;
	int err;

	(void)fd;
	(void)what;
	wait_move(&a->asked, &a->served); /* requests from now on need a later audit */
	err = begin(a, AUDIT_FULL, whole_audit_done);
	if (err)
		fail(a, err);
}

static void first_scan_done(void *arg, const struct pass_outcome *o)
{
	static const struct timeval gap = { .tv_usec = SCAN_GAP_NS / NSEC_PER_USEC };
	struct auditor *a = arg;

	end(a, o);
	if (o->err || evtimer_add(a->second_scan, &gap))
		fail(a, o->err ? o->err : -ENOMEM);
}

static void begin_on_demand(struct auditor *a)
{
	int err = begin(a, AUDIT_SCAN, first_scan_done);

	if (err)
		fail(a, err);
}

static bool is_busy(const struct auditor *a)
{
	return a->pass || event_pending(a->second_scan, EV_TIMEOUT, NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct auditor *a = arg;

	(void)fd;
	(void)what;
	/* Skip while another audit runs, and right after it: scans too close together prove nothing. */
	if (is_busy(a) || clock_boot_ns() - a->began_ns < SCAN_GAP_NS)
		return;
	(void)begin(a, AUDIT_FULL, whole_audit_done);
}

void auditor_wait(struct auditor *a, struct wait *w, void (*done)(struct wait *w, int result))
{
	wait_on(&a->asked, w, done);
	if (!is_busy(a))
		begin_on_demand(a);
}

struct audit_result *auditor_result(const struct auditor *a)
{
	return a->result;
}

struct audit_result *auditor_last(const struct auditor *a)
{
	return a->last;
}

void auditor_forget(struct auditor *a)
{
	audit_result_release(a->last);
	a->last = NULL;
}

struct auditor_facts auditor_facts(const struct auditor *a)
{
	return a->facts;
}

const struct audit_scan *auditor_scan(const struct auditor *a)
{
	return a->previous;
}

int auditor_start(struct event_base *base, struct leases *leases, const struct sites *sites,
	struct auditor **out)
{
	const uint64_t interval_ms = leases->options->audit_interval_ms;
	const struct timeval interval = { .tv_sec = (time_t)(interval_ms / 1000),
		.tv_usec = (suseconds_t)(interval_ms % 1000 * 1000) };
	struct auditor *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->base = base;
	a->leases = leases;
	a->sites = sites;
	a->timer = event_new(base, -1, EV_PERSIST, on_timer, a);
	a->second_scan = evtimer_new(base, on_second_scan, a);
	if (!a->timer || !a->second_scan || (interval_ms && evtimer_add(a->timer, &interval))) {
		auditor_stop(a);
		return -ENOMEM;
	}
	*out = a;
	return 0;
}

void auditor_stop(struct auditor *a)
{
	if (!a)
		return;
	pass_stop(a->pass);
	if (a->timer)
		event_free(a->timer);
	if (a->second_scan)
		event_free(a->second_scan);
	audit_scan_destroy(a->previous);
	audit_scan_destroy(a->stale);
	audit_result_release(a->last);
	free(a);
}
