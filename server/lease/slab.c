/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/lease/slab.h"

#include "common/object_record.h"
#include "common/size_class.h"
#include "server/lease/session.h"

static const uint64_t *records_of(const struct leases *l, const struct allocation *slab)
{
	const uint32_t n = slab_slots(slab->size_class, slab->bytes);
	const char *memory = pool_pointer(l->pool, slab);

	return (const uint64_t *)(memory + slab_records_offset(slab->size_class, n));
}

/* The session whose call sites are to be checked; NULL: they cannot be. */
static const struct session *holder_of(const struct leases *l, const struct allocation *slab)
{
	const struct session_record *r = sessions_get(l->records, slab->session);
	const struct session *session = &l->sessions[slab->session];

	if (!r || r->serial != slab->session_serial || !session->used || session->sites.over)
		return NULL;
	return session;
}

static uint64_t check(const struct leases *l, const struct session *holder, uint64_t word)
{
	const uint32_t site = object_record_unpack(word).site;

	if (object_record_state(word) != OBJECT_LIVE || !site || !holder ||
		sites_knows(l->sites, &holder->sites, site))
		return word;
	return object_record_with_state(
		word, OBJECT_UNUSED); /* with a site, which no unused one has */
}

uint64_t slab_record(const struct leases *l, const struct allocation *slab, uint32_t slot)
{
	const uint64_t *records = records_of(l, slab);

	return check(l, holder_of(l, slab), __atomic_load_n(&records[slot], __ATOMIC_RELAXED));
}

void slab_read(void *arg, const struct allocation *slab, uint64_t *words, uint32_t n)
{
	const struct leases *l = arg;
	const struct session *holder = holder_of(l, slab);
	const uint64_t *records = records_of(l, slab);

	for (uint32_t i = 0; i < n; i++)
		words[i] = check(l, holder, __atomic_load_n(&records[i], __ATOMIC_RELAXED));
}
