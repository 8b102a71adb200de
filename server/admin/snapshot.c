/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/snapshot.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "numa/pages.h"
#include "rmem/rmem.h"
#include "server/grant/access.h"
#include "server/audit/auditor.h"
#include "server/lease/session.h"

#define PAGES_CHECKED_MAX 65536      /* of one range, evenly spread: about 15 ms */
#define BLOCK_PAGES_MAX (1ULL << 20) /* of all blocks of an answer: a quarter of a second */

static bool lease_of(void *arg, uint32_t slot, enum lease_state *out, uint64_t *out_for_ms)
{
	struct server *s = ((struct view *)arg)->server;
	const struct session *session = &s->sessions[slot];
	uint64_t now_ns = clock_boot_ns();
	const struct session_record *r = sessions_get(s->records, slot);

	if (!session->used || !r || r->state == SESSION_CLOSED)
		return false;
	*out = session->lease.state;
	*out_for_ms = lease_since(&session->lease, now_ns) / NSEC_PER_MSEC;
	return true;
}

static unsigned channels_of(void *arg, uint32_t slot)
{
	const struct session *session = &((struct view *)arg)->server->sessions[slot];

	return session->used ? session->nchannels : 0;
}

static unsigned attached_to(void *arg, const struct allocation *a)
{
	return access_count_others(((struct view *)arg)->server, a);
}

static void count_pages(void *arg, uint64_t addr, uint64_t bytes, struct report_pages *out)
{
	struct view *v = arg;
	const struct pool_node *n = pool_find_node(&v->server->pool, addr_node(addr));
	uint64_t max = PAGES_CHECKED_MAX;
	struct pages_count count;

	if (!n || addr_offset(addr) > n->arena.bytes || bytes > n->arena.bytes - addr_offset(addr))
		return;
	if (bytes < n->arena.bytes && v->block_pages < max)
		max = v->block_pages;
	if (max == 0 || pages_locate(n->arena.base + addr_offset(addr), bytes, n->arena.page_bytes,
				n->node, max, &count))
		return;
	if (bytes < n->arena.bytes)
		v->block_pages -= count.checked < v->block_pages ? count.checked : v->block_pages;
	*out = (struct report_pages){ .checked = count.checked,
		.on_node = count.on_node,
		.elsewhere = count.elsewhere,
		.absent = count.absent };
}

static void fill_nodes(struct view *v, struct server *s)
{
	struct audit_node given[ADDR_MAX_NODES];

	v->report.nnodes = auditor_nodes(s, given);
	v->report.nodes = v->nodes;
	for (size_t i = 0; i < v->report.nnodes; i++) {
		const struct pool_node *n = &s->pool.nodes[i];

		v->nodes[i] = (struct report_node){ .given = given[i],
			.size_bytes = n->arena.bytes,
			.page_bytes = n->arena.page_bytes,
			.largest_free_bytes = buddy_largest_free_bytes(n->buddy) };
	}
}

static void fill_devices(struct view *v, struct server *s)
{
	v->report.ndevices = s->ndevices;
	v->report.devices = v->devices;
	for (unsigned i = 0; i < s->ndevices; i++) {
		const struct device *d = &s->devices[i];

		if (!inet_ntop(AF_INET, &d->address, v->addresses[i], sizeof(v->addresses[i])))
			v->addresses[i][0] = '\0';
		v->devices[i] = (struct report_device){ .name = device_name(d),
			.address = v->addresses[i],
			.protection = protection_name(d->protection),
			.other_queue_pair = probe_outcome_name(d->probe.other_queue_pair),
			.revoked_key = probe_outcome_name(d->probe.revoked_key),
			.outside_window = probe_outcome_name(d->probe.outside_window),
			.caution = device_caution(d) };
	}
}

static struct report_counters counters_of(const struct server *s)
{
	const struct server_counters *c = &s->counters;

	return (struct report_counters){ .allocs = c->allocs,
		.frees = c->frees,
		.attaches = c->attaches,
		.resumes = c->resumes,
		.expiries = c->expiries,
		.reclaimed_blocks = c->reclaimed_blocks,
		.reclaimed_bytes = c->reclaimed_bytes,
		.refused_requests = c->refused_requests,
		.stalls = c->stalls,
		.stalled_ms = c->stalled_ns / NSEC_PER_MSEC };
}

void view_fill(struct view *v, struct server *s)
{
	const struct auditor_facts audits = auditor_facts(s->auditor);
	struct report_view *r = &v->report;

	memset(v, 0, sizeof(*v));
	r->ledger = s->pool.ledger;
	r->sessions = s->records;
	r->sites = s->sites;
	r->scan = auditor_scan(s->auditor);
	r->now_ns = server_time_ns(s);
	r->now_real_ns = clock_real_ns();
	r->server = (struct report_server){ .version = RMEM_VERSION,
		.host = s->host,
		.data_dir = s->options.data_dir,
		.admin_socket = s->options.admin_socket,
		.pid = (uint32_t)getpid(),
		.port = s->options.port,
		.started_ns = timeline_at(s->timeline, s->started_boot_ns),
		.uptime_ms = (clock_boot_ns() - s->started_boot_ns) / NSEC_PER_MSEC };
	fill_nodes(v, s);
	fill_devices(v, s);
	r->terms = (struct report_terms){ .ttl_ms = s->options.ttl_ms,
		.courtesy_ms = s->options.courtesy_ms,
		.audit_interval_ms = s->options.audit_interval_ms,
		.max_alloc_bytes = pool_max_alloc_bytes(&s->pool, RMEM_NODE_ANY),
		.reclaim = reclaim_text(&s->options, v->reclaim, sizeof(v->reclaim)) };
	r->counters = counters_of(s);
	r->damage = (struct report_damage){ .allocations = s->pool.rejected,
		.sessions = sessions_rejected(s->records),
		.sites = sites_rejected(s->sites),
		.wiped_bytes = s->pool.unproven_bytes };
	r->audits = (struct report_audits){ .serial = audits.serial,
		.last_ns = audits.last_ns,
		.duration_us = audits.duration_us };
	v->server = s;
	v->block_pages = BLOCK_PAGES_MAX;
	r->arg = v;
	r->lease = lease_of;
	r->channels = channels_of;
	r->attached = attached_to;
	r->pages = count_pages;
}
