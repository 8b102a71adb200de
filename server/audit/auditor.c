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
#include "server/lease/session.h"

/* Between the two scans of an audit on demand: long enough for a dying process to be gone. */
static const struct timeval scan_gap = { .tv_usec = 50L * 1000 };

struct auditor {
	struct leases *leases;
	const struct sites *sites;
	struct event *timer;       /* periodic audits */
	struct event *second_scan; /* of an audit on demand */
	struct audit_scan *previous;
	struct wait *waits;                /* who waits for the audit on demand that has begun */
	const struct audit_result *result; /* while they are told */
	struct auditor_facts facts;
};

size_t auditor_nodes(const struct pool *pool, struct audit_node out[ADDR_MAX_NODES])
{
	for (unsigned i = 0; i < pool->nnodes; i++) {
		const struct pool_node *n = &pool->nodes[i];

		out[i] = (struct audit_node){ .node = n->node,
			.registered_bytes = n->arena.bytes,
			.free_bytes = buddy_free_bytes(n->buddy),
			.metadata_bytes =
				0 }; /* sessions, sites and ledger are outside the arenas */
	}
	return pool->nnodes;
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

/* Look at the holders, scan, and keep the scan for the next one to be compared with. */
static void scan(struct auditor *a)
{
	struct audit_node nodes[ADDR_MAX_NODES];
	struct audit_scan *fresh;
	struct audit_input in;

	session_check_liveness(a->leases);
	in = input_of(a, nodes);
	if (audit_scan_create(&in, &fresh)) {
		log_error("no memory for an audit");
		return;
	}
	audit_scan_destroy(a->previous);
	a->previous = fresh;
}

/* What an audit has counted on a node, and what status and map show. */
static void complain_of_sums(const struct ledger *ledger, const struct audit_node *node)
{
	const struct ledger_share *sums = ledger_account(ledger, node->node)->classes;

	log_error("node %u: the sums that are kept are WRONG: live %" PRIu64 ", courtesy %" PRIu64
		  ", quarantine %" PRIu64 ", zombie %" PRIu64 "; the ledger has %" PRIu64
		  ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 ": please report this with the output of "
		  "rmemctl leaks --json and rmemctl status --json",
		node->node, sums[CLASS_LIVE].block_bytes, sums[CLASS_COURTESY].block_bytes,
		sums[CLASS_QUARANTINE].block_bytes, sums[CLASS_ZOMBIE].block_bytes,
		node->live_bytes, node->courtesy_bytes, node->quarantine_bytes, node->zombie_bytes);
}

static void complain(const struct ledger *ledger, const struct audit_result *r)
{
	char bytes[UNITS_TEXT_SIZE];

	for (size_t i = 0; i < r->nnodes; i++) {
		if (r->nodes[i].unaccounted_bytes)
			log_error("node %u: %" PRId64 " bytes UNACCOUNTED for: please report this "
				  "with the output of rmemctl leaks --json",
				r->nodes[i].node, r->nodes[i].unaccounted_bytes);
		if (r->nodes[i].miscounted)
			complain_of_sums(ledger, &r->nodes[i]);
	}
	if (r->totals[AUDIT_DEFINITE].blocks)
		log_info("audit: %s in %" PRIu64 " blocks definitely lost (rmemctl leaks)",
			units_format_bytes(r->totals[AUDIT_DEFINITE].bytes, bytes, sizeof(bytes)),
			r->totals[AUDIT_DEFINITE].blocks);
}

/* The second scan: what both call lost is lost. */
static struct audit_result *audit(struct auditor *a)
{
	struct audit_node nodes[ADDR_MAX_NODES];
	uint64_t began_ns = clock_boot_ns();
	struct audit_result *result;
	struct audit_input in;

	session_check_liveness(a->leases);
	in = input_of(a, nodes);
	if (audit_run(&in, a->previous, &result)) {
		log_error("no memory for an audit");
		return NULL;
	}
	a->facts.serial++;
	a->facts.last_ns = in.now_ns;
	a->facts.duration_us = (clock_boot_ns() - began_ns) / NSEC_PER_USEC;
	return result;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct auditor *a = arg;
	struct audit_result *result = audit(a);

	(void)fd;
	(void)what;
	if (result)
		complain(a->leases->pool->ledger, result);
	audit_result_destroy(result);
	/* Between the two scans of an audit on demand: one now would come too soon before its second. */
	if (!a->waits)
		scan(a);
}

static void on_second_scan(evutil_socket_t fd, short what, void *arg)
{
	struct auditor *a = arg;
	struct audit_result *result = audit(a);

	(void)fd;
	(void)what;
	a->result = result;
	wait_finish(
		&a->waits, result ? 0 : -ENOMEM); /* who asks meanwhile waits for the next audit */
	a->result = NULL;
	audit_result_destroy(result);
	scan(a);
}

void auditor_wait(struct auditor *a, struct wait *w, void (*done)(struct wait *w, int result))
{
	const bool first = !a->waits;

	wait_on(&a->waits, w, done);
	if (first) {
		scan(a);
		evtimer_add(a->second_scan, &scan_gap);
	}
}

const struct audit_result *auditor_result(const struct auditor *a)
{
	return a->result;
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
	if (a->timer)
		event_free(a->timer);
	if (a->second_scan)
		event_free(a->second_scan);
	audit_scan_destroy(a->previous);
	free(a);
}
