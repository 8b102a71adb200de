/* SPDX-License-Identifier: BSD-3-Clause */
/* The reports map and who-holds. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/size_class.h"
#include "server/admin/report.h"
#include "server/admin/report_parts.h"
#include "server/ledger/object.h"
#include "server/memory/buddy.h"

static struct report_pages count_pages(
	const struct report_view *view, uint64_t addr, uint64_t bytes)
{
	struct report_pages pages = { .checked = 0 };

	if (view->pages && bytes > 0)
		view->pages(view->arg, addr, bytes, &pages);
	return pages;
}

static struct report_pages count_node_pages(const struct report_view *view, unsigned node)
{
	struct report_pages sum = { .checked = 0 };

	for (size_t i = 0; i < view->nsegments; i++) {
		const struct report_segment *s = &view->segments[i];
		struct report_pages pages;

		if (s->node != node)
			continue;
		pages = count_pages(view, addr_make(s->number, 0), s->size_bytes);
		sum.checked += pages.checked;
		sum.on_node += pages.on_node;
		sum.elsewhere += pages.elsewhere;
		sum.absent += pages.absent;
	}
	return sum;
}

static json_t *make_node(struct draft *d, const struct audit_node *node)
{
	const struct report_node *known = part_find_node(d->view, node->node);
	const struct report_pages pages = count_node_pages(d->view, node->node);
	json_t *o = part_node(d, node);

	draft_set_number(d, o, "size_bytes", known ? known->size_bytes : 0);
	draft_set_number(d, o, "page_bytes", known ? known->page_bytes : 0);
	draft_set_number(d, o, "largest_free_bytes", known ? known->largest_free_bytes : 0);
	draft_set_number(d, o, "pages_checked", pages.checked);
	draft_set_number(d, o, "pages_on_node", pages.on_node);
	draft_set_number(d, o, "pages_elsewhere", pages.elsewhere);
	draft_set_number(d, o, "pages_absent", pages.absent);
	return o;
}

static json_t *make_nodes(struct draft *d)
{
	struct audit_node given[ADDR_MAX_NODES], nodes[ADDR_MAX_NODES];
	struct audit_input in = part_audit_input(d->view, given);
	size_t n = audit_nodes(&in, nodes);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		draft_append(d, list, make_node(d, &nodes[i]));
	return list;
}

static void set_owner(struct draft *d, json_t *o, const struct allocation *a)
{
	const struct session_record *r = part_session(d->view, a->session, a->session_serial);

	if (!r) {
		draft_set(d, o, "session", json_null());
		draft_set(d, o, "pid", json_null());
		draft_set(d, o, "exe", json_null());
		return;
	}
	part_session_id(d, o, r->id);
	draft_set_number(d, o, "pid", r->identity.pid);
	draft_set_text(d, o, "exe", r->identity.exe);
}

static void set_attached(struct draft *d, json_t *o, const struct allocation *a)
{
	draft_set_number(d, o, "attached_sessions",
		d->view->attached ? d->view->attached(d->view->arg, a) : 0);
}

static json_t *make_block(struct draft *d, const struct allocation *a)
{
	struct report_pages pages = count_pages(d->view, a->addr, allocation_block_bytes(a));
	json_t *o = json_object();

	draft_set_addr(d, o, "addr", a->addr);
	draft_set_number(d, o, "node", allocation_node(a));
	draft_set_number(d, o, "bytes", a->bytes);
	draft_set_number(d, o, "block_bytes", allocation_block_bytes(a));
	draft_set_number(d, o, "slot_bytes", size_class_bytes(a->size_class));
	draft_set(d, o, "state", json_string(allocation_state_name(a->state)));
	set_owner(d, o, a);
	draft_set_time(d, o, "birth_ns", a->birth_ns);
	draft_set_number(d, o, "age_ms", part_ago_ms(d->view, a->birth_ns));
	set_attached(d, o, a);
	draft_set_number(d, o, "pages_checked", pages.checked);
	draft_set_number(d, o, "pages_on_node", pages.on_node);
	return o;
}

struct map_report {
	struct report report; /* first */
	int node;             /* the one to list; -1: all */
	unsigned segment; /* current segment: its number, or that of the last one before it + 1 */
	uint64_t after;   /* offset in it where the next search begins */
	uint64_t limit;   /* blocks to list at most */
	uint64_t left;    /* of these, still to be listed */
};

/* The segment's next allocation by address. The allocator knows the order of blocks, the ledger their records. */
static const struct allocation *next_in_segment(struct map_report *map,
	const struct report_view *view, const struct report_segment *segment)
{
	struct buddy_range block = { .end = map->after };

	while (buddy_next_taken(segment->blocks, block.end, &block)) {
		const struct allocation *a =
			ledger_find(view->ledger, addr_make(segment->number, block.start));

		map->after = block.end;
		if (a) /* skips blocks that are unaccounted for */
			return a;
	}
	return NULL;
}

/* Segments may come and go between two calls. */
static const struct report_segment *current_segment(
	const struct map_report *map, const struct report_view *view)
{
	for (size_t i = 0; i < view->nsegments; i++) {
		const struct report_segment *s = &view->segments[i];

		if (s->number >= map->segment && (map->node < 0 || s->node == (unsigned)map->node))
			return s;
	}
	return NULL;
}

/* Blocks come and go while a report is written in pieces: a list that reached its end is the total itself. */
static void count_blocks(struct map_report *map, struct draft *d)
{
	const uint64_t listed = map->limit - map->left;
	uint64_t total = 0;

	for (unsigned i = 0; map->left == 0 && i < ADDR_MAX_NODES; i++)
		if (map->node < 0 || i == (unsigned)map->node)
			total += ledger_node_share(d->view->ledger, i).blocks;
	draft_set_number(d, map->report.tail, "blocks_total", total > listed ? total : listed);
}

static json_t *next_block(struct report *report, struct draft *d)
{
	struct map_report *map = (struct map_report *)report;
	const struct report_segment *s;

	while (map->left && (s = current_segment(map, d->view)) != NULL) {
		const struct allocation *a;

		if (s->number != map->segment)
			map->after = 0;
		map->segment = s->number;
		a = next_in_segment(map, d->view, s);
		if (a) {
			map->left--;
			return make_block(d, a);
		}
		map->segment++;
		map->after = 0;
	}
	count_blocks(map, d);
	return NULL;
}

struct report *report_map(const struct report_view *view, uint64_t limit, int node)
{
	struct map_report *map = (struct map_report *)report_begin(sizeof(*map));
	struct draft d = { .view = view };

	if (!map)
		return NULL;
	map->node = node;
	map->limit = map->left = limit;
	map->report.list = "blocks";
	map->report.next = next_block;
	map->report.head = draft_begin(&d, "map");
	map->report.tail = json_object();
	draft_set(&d, map->report.head, "nodes", make_nodes(&d));
	if (!d.failed)
		return &map->report;
	report_end(&map->report);
	return NULL;
}

/* ---- who-holds ---- */

static const struct report_segment *find_segment(const struct report_view *view, unsigned number)
{
	for (size_t i = 0; i < view->nsegments; i++) {
		if (view->segments[i].number == number)
			return &view->segments[i];
	}
	return NULL;
}

static json_t *refuse(const struct report_view *view, uint64_t addr)
{
	const struct report_segment *s = find_segment(view, addr_segment(addr));
	char message[160];
	int err = ERANGE;

	if (!addr_is_remote(addr)) {
		err = EINVAL;
		snprintf(message, sizeof(message),
			"0x%" PRIx64 " is no remote address: those begin with 0x9e", addr);
	} else if (!s || addr_offset(addr) >= s->size_bytes) {
		snprintf(message, sizeof(message),
			"0x%" PRIx64 " is outside of the pool: see rmemctl map", addr);
	} else {
		err = ENOENT;
		snprintf(message, sizeof(message), "nobody holds 0x%" PRIx64 ": it is free", addr);
	}
	return report_error(err, message);
}

static json_t *make_allocation(struct draft *d, const struct allocation *a, uint64_t addr)
{
	struct audit_node nodes[ADDR_MAX_NODES];
	struct audit_input in = part_audit_input(d->view, nodes);
	json_t *o = json_object();

	draft_set_number(d, o, "id", a->serial);
	draft_set_addr(d, o, "addr", a->addr);
	draft_set_number(d, o, "offset_bytes", addr - a->addr);
	draft_set_number(d, o, "node", allocation_node(a));
	draft_set_number(d, o, "bytes", a->bytes);
	draft_set_number(d, o, "block_bytes", allocation_block_bytes(a));
	draft_set_number(d, o, "slot_bytes", size_class_bytes(a->size_class));
	draft_set(d, o, "state", json_string(allocation_state_name(a->state)));
	draft_set(d, o, "kind", json_string(audit_kind_name(audit_judge(&in, d->view->scan, a))));
	draft_set_time(d, o, "birth_ns", a->birth_ns);
	draft_set_number(d, o, "age_ms", part_ago_ms(d->view, a->birth_ns));
	set_attached(d, o, a);
	return o;
}

/* Names of what a record says; "corrupt": it cannot be. */
static const char *object_state_name(const struct object *object, uint64_t word)
{
	static const char *const names[] = { [OBJECT_UNUSED] = "unused",
		[OBJECT_LIVE] = "live",
		[OBJECT_FREED] = "freed",
		[OBJECT_TAKEN] = "freed" };

	return object->corrupt ? "corrupt" : names[object_record_state(word)];
}

/* NULL if addr is beyond the slots, or the slab's memory cannot be read. *out_site: of the object. */
static json_t *make_object(
	struct draft *d, const struct allocation *a, uint64_t addr, uint32_t *out_site)
{
	const struct session_record *r = part_session(d->view, a->session, a->session_serial);
	const struct object_slab slab = { .slot_bytes = size_class_bytes(a->size_class),
		.opened_ns = r ? r->opened_ns : 0,
		.born_ns = a->birth_ns,
		.now_ns = d->view->now_ns };
	struct object object;
	uint64_t slot, word;
	json_t *o;

	if (!d->view->record || a->state != ALLOCATION_LIVE || !slab.slot_bytes)
		return NULL;
	slot = (addr - a->addr) / slab.slot_bytes;
	if (slot >= slab_slots(a->size_class, a->bytes))
		return NULL;
	word = d->view->record(d->view->arg, a, (uint32_t)slot);
	object = object_judge(word, &slab);
	*out_site = object.held && r && !(r->marks & SESSION_NO_SITES) ? object.site : 0;
	o = json_object();
	draft_set_addr(d, o, "addr", a->addr + slot * slab.slot_bytes);
	draft_set_number(d, o, "offset_bytes", (addr - a->addr) % slab.slot_bytes);
	draft_set_number(d, o, "slot", slot);
	draft_set_number(d, o, "slot_bytes", slab.slot_bytes);
	draft_set_number(d, o, "bytes", object.held ? object.bytes : 0);
	draft_set(d, o, "state", json_string(object_state_name(&object, word)));
	draft_set_number(
		d, o, "generation", object.corrupt ? 0 : object_record_unpack(word).generation);
	draft_set_time(d, o, "birth_ns", object.held ? object.birth_ns : 0);
	draft_set_number(d, o, "age_ms", object.held ? part_ago_ms(d->view, object.birth_ns) : 0);
	return o;
}

/* The holder's share is everything that its session holds. */
static json_t *make_holder(struct draft *d, const struct allocation *a)
{
	const struct session_record *r = part_session(d->view, a->session, a->session_serial);
	struct ledger_share share =
		ledger_session_share(d->view->ledger, a->session, a->session_serial);

	return part_holder(d, a->session, r, &share);
}

json_t *report_who_holds(const struct report_view *view, uint64_t addr)
{
	const struct allocation *a = ledger_find_containing(view->ledger, addr);
	struct draft d = { .view = view };
	json_t *answer, *object;
	uint32_t site;

	if (!a)
		return refuse(view, addr);
	site = a->site;
	object = make_object(&d, a, addr, &site);
	answer = draft_begin(&d, "who-holds");
	draft_set_addr(&d, answer, "addr", addr);
	draft_set(&d, answer, "allocation", make_allocation(&d, a, addr));
	draft_set(&d, answer, "object", object ? object : json_null());
	draft_set(&d, answer, "holder", make_holder(&d, a));
	draft_set(&d, answer, "stack", part_stack(&d, site));
	return draft_finish(&d, answer);
}
