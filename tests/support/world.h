/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small server without a network, for the tests of what decides: two arenas' allocators and the real
 * tables, in a directory of their own. Each test includes it and so has its own copy.
 */
#ifndef TESTS_SUPPORT_WORLD_H
#define TESTS_SUPPORT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/units.h"
#include "server/audit/audit.h"
#include "tests/support/audits.h"
#include "server/memory/buddy.h"

#define ARENA (64 * MIB)
#define NODES 2
#define NOW (1000 * NSEC_PER_SEC)

struct world {
	int dir;
	char path[40];
	struct ledger *ledger;
	struct sessions *sessions;
	struct sites *sites;
	struct site_holder holder; /* of all of them */
	struct buddy *buddies[NODES];
	struct audit_node nodes[NODES];
	uint32_t next_id;
};

static inline int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		return -1;
	*state = w;
	strcpy(w->path, "/dev/shm/rmem-test-world-XXXXXX");
	if (!mkdtemp(w->path))
		return -1;
	w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < NODES; i++) {
		if (buddy_create(ARENA, &w->buddies[i]) != 0)
			return -1;
	}
	if (ledger_open(&w->ledger, w->dir, "ledger", 4096) ||
		sessions_open(&w->sessions, w->dir, "sessions") ||
		sites_open(&w->sites, w->dir, "sites", w->ledger))
		return -1;
	sessions_tell(w->sessions, w->ledger);
	return 0;
}

static inline int remove_world(void **state)
{
	struct world *w = *state;

	sites_release(w->sites, &w->holder);
	sites_close(w->sites);
	ledger_close(w->ledger);
	sessions_close(w->sessions);
	for (unsigned i = 0; i < NODES; i++)
		buddy_destroy(w->buddies[i]);
	unlinkat(w->dir, "ledger", 0);
	unlinkat(w->dir, "sessions", 0);
	unlinkat(w->dir, "sites", 0);
	close(w->dir);
	rmdir(w->path);
	free(w);
	return 0;
}

static inline uint32_t add_session_of(struct world *w, const char *job, uint32_t uid)
{
	uint8_t id[ID_SIZE] = { 0 }, secret[ID_SIZE] = { 0 };
	struct identity who;
	uint32_t slot;

	memset(&who, 0, sizeof(who));
	who.uid = uid;
	snprintf(who.job, sizeof(who.job), "%s", job);
	w->next_id++;
	memcpy(id, &w->next_id, sizeof(w->next_id));
	assert_int_equal(sessions_add(w->sessions, id, secret, &who, NOW / 2, &slot), 0);
	return slot;
}

static inline uint32_t add_session(struct world *w)
{
	return add_session_of(w, "", 0);
}

static inline uint32_t add_site(struct world *w, uint64_t offset)
{
	struct site_request f;
	uint32_t site;

	memset(&f, 0, sizeof(f));
	f.nmodules = f.nframes = 1;
	f.modules[0].build_id[0] = 7;
	f.frames[0].offset = offset;
	assert_int_equal(sites_intern(w->sites, &w->holder, &f, &site), 0);
	return site;
}

static inline const struct allocation *add_block(struct world *w, uint32_t session, uint32_t site,
	uint64_t bytes, unsigned node, uint64_t age_ns)
{
	const struct session_record *r = sessions_get(w->sessions, session);
	const struct allocation *out;
	struct allocation d;
	uint64_t offset;

	memset(&d, 0, sizeof(d));
	assert_int_equal(buddy_alloc(w->buddies[node], bytes, &offset), 0);
	d.session = session;
	d.session_serial = r ? r->serial : 99;
	d.addr = addr_make(64 + node, offset);
	d.bytes = bytes;
	d.birth_ns = NOW - age_ns;
	d.site = site;
	assert_int_equal(ledger_add(w->ledger, &d, &out), 0);
	return out;
}

static inline const struct allocation *add_slab(struct world *w, uint32_t session,
	uint8_t size_class, uint64_t bytes, unsigned node, uint64_t age_ns)
{
	const struct session_record *r = sessions_get(w->sessions, session);
	struct allocation d = { .session = session,
		.session_serial = r ? r->serial : 99,
		.bytes = bytes,
		.birth_ns = NOW - age_ns,
		.size_class = size_class };
	const struct allocation *out;
	uint64_t offset;

	assert_int_equal(buddy_alloc(w->buddies[node], bytes, &offset), 0);
	d.addr = addr_make(64 + node, offset);
	assert_int_equal(ledger_add(w->ledger, &d, &out), 0);
	return out;
}

static inline struct audit_input input(struct world *w)
{
	for (unsigned i = 0; i < NODES; i++)
		w->nodes[i] = (struct audit_node){ .node = i,
			.registered_bytes = ARENA,
			.free_bytes = buddy_free_bytes(w->buddies[i]) };
	return (struct audit_input){ .ledger = w->ledger,
		.sessions = w->sessions,
		.sites = w->sites,
		.now_ns = NOW,
		.nodes = w->nodes,
		.nnodes = NODES };
}

static inline struct audit_scan *scan(const struct world *w, const struct audit_input *in)
{
	struct audit_result *none = NULL;
	struct audit_scan *out = NULL;

	assert_int_equal(audit_whole(w->ledger, in, NULL, AUDIT_SCAN, &out, &none), 0);
	assert_null(none);
	return out;
}

/* An audit that is compared with that scan, or with NULL. */
static inline struct audit_result *audit(
	const struct world *w, const struct audit_input *in, const struct audit_scan *previous)
{
	struct audit_result *r = NULL;
	struct audit_scan *next = NULL;

	assert_int_equal(audit_whole(w->ledger, in, previous, AUDIT_FULL, &next, &r), 0);
	audit_scan_destroy(next);
	return r;
}

/* The state as it is, seen twice. */
static inline struct audit_result *audit_twice(const struct world *w, const struct audit_input *in)
{
	struct audit_scan *first = scan(w, in);
	struct audit_result *r = audit(w, in, first);

	audit_scan_destroy(first);
	return r;
}

/* A record, to plant what no function of the server puts there. */
static inline struct session_record *plant(struct sessions *s, uint32_t slot)
{
	return (struct session_record *)sessions_get(s, slot);
}

static inline void set_state(
	struct world *w, const struct allocation *a, enum allocation_state state)
{
	assert_int_equal(ledger_set_state(w->ledger, a, state), 0);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, make_world, remove_world)

#endif
