/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/view.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "numa/pages.h"
#include "rmem/rmem.h"
#include "server/grant/access.h"
#include "server/audit/auditor.h"
#include "server/lease/slab.h"
#include "server/lease/reclaim.h"
#include "server/lease/session.h"
#include "server/memory/growth.h"
#include "server/rpc/handlers.h"

/* Pages sampled, evenly spread: about 1 ms for a node, less for a block. */
#define NODE_PAGES_MAX 4096
#define BLOCK_PAGES_MAX 1024

static bool lease_of(void *arg, uint32_t slot, enum lease_state *out, uint64_t *out_for_ms)
{
	const struct leases *l = ((struct view *)arg)->from->leases;
	const struct session *session = &l->sessions[slot];
	uint64_t now_ns = clock_boot_ns();
	const struct session_record *r = sessions_get(l->records, slot);

	if (!session->used || !r || r->state == SESSION_CLOSED)
		return false;
	*out = session->lease.state;
	*out_for_ms = lease_since(&session->lease, now_ns) / NSEC_PER_MSEC;
	return true;
}

static unsigned windows_of(void *arg, uint32_t slot)
{
	const struct session *session = &((struct view *)arg)->from->leases->sessions[slot];

	return session->used ? session->grantee.nwindows : 0;
}

static unsigned channels_of(void *arg, uint32_t slot)
{
	const struct session *session = &((struct view *)arg)->from->leases->sessions[slot];

	return session->used ? session->nchannels : 0;
}

static unsigned attached_to(void *arg, const struct allocation *a)
{
	const struct sources *from = ((struct view *)arg)->from;

	return access_count_others(from->access, a, &from->leases->sessions[a->session].grantee);
}

static uint64_t record_of(void *arg, const struct allocation *slab, uint32_t slot)
{
	return slab_record(((struct view *)arg)->from->leases, slab, slot);
}

static void count_pages(void *arg, uint64_t addr, uint64_t bytes, struct report_pages *out)
{
	const struct view *v = arg;
	const struct segment *n = pool_find_segment(v->from->leases->pool, addr);
	struct pages_count count;

	if (!n || addr_offset(addr) > n->arena.bytes || bytes > n->arena.bytes - addr_offset(addr))
		return;
	if (pages_locate(n->arena.base + addr_offset(addr), bytes, n->arena.page_bytes, n->node,
		    bytes < n->arena.bytes ? BLOCK_PAGES_MAX : NODE_PAGES_MAX, &count))
		return;
	*out = (struct report_pages){ .checked = count.checked,
		.on_node = count.on_node,
		.elsewhere = count.elsewhere,
		.absent = count.absent };
}

static struct report_node *node_of(struct view *v, unsigned node)
{
	for (size_t i = 0; i < v->report.nnodes; i++) {
		if (v->nodes[i].given.node == node)
			return &v->nodes[i];
	}
	return NULL;
}

/* What auditor_nodes() does not say. */
static void add_segment(struct view *v, const struct segment *s)
{
	const uint64_t largest_free_bytes = buddy_largest_free_bytes(s->buddy);
	struct report_node *n = node_of(v, s->node);

	v->segments[v->report.nsegments++] = (struct report_segment){ .number = s->number,
		.node = s->node,
		.size_bytes = s->arena.bytes,
		.blocks = s->buddy };
	n->size_bytes += s->arena.bytes;
	n->page_bytes = s->arena.page_bytes;
	if (largest_free_bytes > n->largest_free_bytes)
		n->largest_free_bytes = largest_free_bytes;
}

static void fill_nodes(struct view *v, const struct pool *pool)
{
	struct audit_node given[ADDR_MAX_NODES];
	unsigned cursor = 0;

	v->report.nnodes = auditor_nodes(pool, given);
	v->report.nodes = v->nodes;
	v->report.segments = v->segments;
	for (size_t i = 0; i < v->report.nnodes; i++)
		v->nodes[i] = (struct report_node){ .given = given[i],
			.numastat = pool->stats[given[i].node] };
	for (struct segment *s; (s = pool_next_segment(pool, &cursor)) != NULL;)
		add_segment(v, s);
}

/* What memory of the nodes is good for. */
static void fill_memory(struct view *v, const struct pool *pool)
{
	struct ranking_node facts[ADDR_MAX_NODES];
	const unsigned n = pool_facts(pool, facts);

	for (unsigned i = 0; i < n; i++) {
		const struct topology_node *known = topology_find(pool->topology, facts[i].node);

		v->nodes[i].cpus = known ? known->cpus : 0;
		v->nodes[i].memory_bytes = facts[i].values[PLACEMENT_CAPACITY];
		v->nodes[i].bandwidth_mib_s = facts[i].values[PLACEMENT_BANDWIDTH];
		v->nodes[i].latency_ns = facts[i].values[PLACEMENT_LATENCY];
	}
	for (unsigned a = PLACEMENT_CAPACITY; a < PLACEMENT_ATTRIBUTES; a++) {
		const uint64_t best = ranking_best(facts, n, a);

		for (unsigned i = 0; i < n; i++)
			v->nodes[i].best_in |= (best >> facts[i].node & 1) << a;
	}
}

static void fill_devices(struct view *v, const struct net *net)
{
	v->report.ndevices = net->ndevices;
	v->report.devices = v->devices;
	for (unsigned i = 0; i < net->ndevices; i++) {
		const struct device *d = &net->devices[i];

		if (!inet_ntop(AF_INET, &d->address, v->addresses[i], sizeof(v->addresses[i])))
			v->addresses[i][0] = '\0';
		v->devices[i] = (struct report_device){ .name = device_name(d),
			.address = v->addresses[i],
			.protection = protection_name(d->protection),
			.other_queue_pair = probe_outcome_name(d->probe.other_queue_pair),
			.revoked_key = probe_outcome_name(d->probe.revoked_key),
			.outside_window = probe_outcome_name(d->probe.outside_window),
			.caution = device_caution(d),
			.node = d->node };
	}
}

static struct report_counters counters_of(const struct sources *from)
{
	const struct leases *l = from->leases;

	return (struct report_counters){ .allocs = from->rpc->allocs,
		.frees = from->rpc->frees,
		.attaches = from->rpc->attaches,
		.keys_given = from->rpc->keys_given,
		.resumes = l->resumes,
		.expiries = l->expiries,
		.reclaimed_blocks = from->reclaim->blocks,
		.reclaimed_bytes = from->reclaim->bytes,
		.refused_requests = from->rpc->refused_requests,
		.channels = l->nchannels,
		.stalls = l->stalls,
		.stalled_ms = l->stalled_ns / NSEC_PER_MSEC };
}

static void fill_server(struct view *v, const struct sources *from)
{
	const struct options *o = from->options;
	const struct leases *l = from->leases;

	v->report.server = (struct report_server){ .version = RMEM_VERSION,
		.host = from->host,
		.data_dir = o->data_dir,
		.admin_socket = o->admin_socket,
		.pid = (uint32_t)getpid(),
		.port = o->port,
		.started_ns = timeline_at(l->timeline, l->started_boot_ns),
		.uptime_ms = (clock_boot_ns() - l->started_boot_ns) / NSEC_PER_MSEC };
	v->report.terms = (struct report_terms){ .ttl_ms = o->ttl_ms,
		.courtesy_ms = o->courtesy_ms,
		.audit_interval_ms = o->audit_interval_ms,
		.max_alloc_bytes = pool_max_alloc_bytes(l->pool, POOL_ALL_NODES),
		.reclaim = reclaim_text(o, v->reclaim, sizeof(v->reclaim)) };
}

void view_fill(struct view *v, const struct sources *from)
{
	const struct auditor_facts audits = auditor_facts(from->auditor);
	const struct leases *l = from->leases;
	struct report_view *r = &v->report;

	memset(v, 0, sizeof(*v));
	r->ledger = l->pool->ledger;
	r->sessions = l->records;
	r->sites = from->sites;
	r->history = from->history;
	r->scan = auditor_scan(from->auditor);
	r->now_ns = leases_time_ns(l);
	r->now_real_ns = clock_real_ns();
	fill_server(v, from);
	fill_nodes(v, l->pool);
	fill_memory(v, l->pool);
	fill_devices(v, from->net);
	r->counters = counters_of(from);
	r->damage = (struct report_damage){ .allocations = l->pool->rejected,
		.sessions = sessions_rejected(l->records),
		.sites = sites_rejected(from->sites),
		.wiped_bytes = l->pool->unproven_bytes };
	r->audits = (struct report_audits){ .serial = audits.serial,
		.last_ns = audits.last_ns,
		.duration_us = audits.duration_us };
	r->growth.failure = from->growth->failure.text;
	r->growth.coming_bytes = growth_coming_bytes(from->growth, &r->growth.ready_bytes);
	v->from = from;
	r->arg = v;
	r->lease = lease_of;
	r->windows = windows_of;
	r->channels = channels_of;
	r->attached = attached_to;
	r->record = record_of;
	r->pages = count_pages;
}
