/* SPDX-License-Identifier: BSD-3-Clause */
/* Call sites: what is the same stack, names, bounds, and files full of garbage. */
#include "tests/support/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/addr.h"
#include "server/ledger/ledger.h"
#include "server/ledger/sites.h"

#define NAME "sites"
#define SIZE sizeof(struct site_record)

static struct ledger *ledger;     /* names no site here */
static struct site_holder holder; /* that asks, unless it is said who does */

static void close_sites(struct sites *s)
{
	if (s)
		sites_release(s, &holder);
	sites_close(s);
	ledger_close(ledger);
	ledger = NULL;
}

static struct sites *reopen(struct sites *s)
{
	close_sites(s);
	assert_int_equal(ledger_open(&ledger, dir, "ledger", 64), 0);
	assert_int_equal(sites_open(&s, dir, NAME, ledger), 0);
	return s;
}

/* A stack of depth frames in two modules; padding is filled, because it must not matter. */
static struct site_request stack(uint64_t base, unsigned depth)
{
	struct site_request f;

	memset(&f, (int)(base % 7) + 1, sizeof(f));
	f.nmodules = 2;
	f.nframes = (uint8_t)depth;
	for (unsigned i = 0; i < 2; i++) {
		memset(f.modules[i].build_id, 0x10 + (int)i, BUILD_ID_SIZE);
		snprintf(f.modules[i].path, sizeof(f.modules[i].path), "/usr/lib/module-%u", i);
	}
	for (unsigned i = 0; i < depth; i++) {
		f.frames[i].module = i % 2;
		f.frames[i].offset = base + 16ULL * i;
	}
	return f;
}

static uint32_t intern(struct sites *s, const struct site_request *f)
{
	uint32_t site = 0, again = 0;

	assert_int_equal(sites_intern(s, &holder, f, &site), 0);
	assert_int_not_equal(site, 0);
	assert_true(sites_knows(s, &holder, site));
	assert_int_equal(sites_intern(s, &holder, f, &again), 0);
	assert_int_equal(again, site);
	return site;
}

static struct site_names_request names_for(uint32_t site, unsigned n)
{
	struct site_names_request names;

	memset(&names, 0, sizeof(names));
	names.site = site;
	names.nnames = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		snprintf(names.names[i].function, sizeof(names.names[i].function), "f%u", i);
		strcpy(names.names[i].file, "main.c");
		names.names[i].line = 40 + i;
	}
	return names;
}

static void test_same_and_different(void **state)
{
	struct sites *s = reopen(NULL);
	struct site_request a = stack(0x1000, 4), b = a;
	uint32_t site = intern(s, &a);
	uint64_t hash = sites_get(s, site)->hash;

	(void)state;
	assert_int_equal(intern(s, &a), site);
	/* Another path to the same build, other padding, other numbers of the modules: the same. */
	strcpy(b.modules[0].path, "/proc/1/root/usr/lib/module-0");
	assert_int_equal(intern(s, &b), site);
	memset(&b.frames[4], 0xee, sizeof(b.frames[4]));
	assert_int_equal(intern(s, &b), site);
	b = a;
	b.modules[0] = a.modules[1];
	b.modules[1] = a.modules[0];
	for (unsigned i = 0; i < 4; i++)
		b.frames[i].module ^= 1;
	assert_int_equal(intern(s, &b), site);
	assert_int_equal(sites_count(s), 1);

	/* One bit elsewhere: another one. */
	b = a;
	b.frames[3].offset ^= 1ULL << 63;
	assert_int_not_equal(intern(s, &b), site);
	b = a;
	b.modules[1].build_id[BUILD_ID_SIZE - 1] ^= 1;
	assert_int_not_equal(intern(s, &b), site);
	b = a;
	b.nframes = 3;
	assert_int_not_equal(intern(s, &b), site);
	b = a;
	b.frames[0].module ^= 1;
	assert_int_not_equal(intern(s, &b), site);
	assert_int_equal(sites_count(s), 5);

	/* Without build ids the path has to do. */
	memset(a.modules[0].build_id, 0, BUILD_ID_SIZE);
	b = a;
	strcpy(b.modules[0].path, "/opt/other");
	assert_int_not_equal(intern(s, &a), intern(s, &b));
	s = reopen(s);
	assert_int_equal(sites_count(s), 7);
	a = stack(0x1000, 4);
	assert_int_equal(intern(s, &a), site);
	assert_true(sites_get(s, site)->hash == hash);
	close_sites(s);
}

/* Record ids are made from it, so it must be the same on every machine and in every version. */
static void test_hash_is_fixed(void **state)
{
	struct sites *s = reopen(NULL);
	struct site_request f = stack(0x1000, 4);

	(void)state;
	assert_true(sites_get(s, intern(s, &f))->hash == 0x6348826fb15f6e6dULL);
	close_sites(s);
}

static void test_bad_frames(void **state)
{
	struct sites *s = reopen(NULL);
	struct site_request f = stack(1, 0);
	uint32_t site = 7;

	(void)state;
	assert_int_equal(sites_intern(s, &holder, &f, &site), -EINVAL);
	f = stack(1, 1);
	f.nframes = SITE_DEPTH_MAX + 1;
	assert_int_equal(sites_intern(s, &holder, &f, &site), -EINVAL);
	f = stack(1, 1);
	f.nmodules = SITE_DEPTH_MAX + 1;
	assert_int_equal(sites_intern(s, &holder, &f, &site), -EINVAL);
	f = stack(1, 4);
	f.frames[3].module = 2;
	assert_int_equal(sites_intern(s, &holder, &f, &site), -EINVAL);
	f.frames[3].module = 255;
	assert_int_equal(sites_intern(s, &holder, &f, &site), -EINVAL);
	f = stack(1, 4);
	f.nmodules = 0;
	assert_int_equal(sites_intern(s, &holder, &f, &site), -EINVAL);
	f = stack(1, 4);
	memset(f.modules[1].path, 'x', sizeof(f.modules[1].path));
	assert_int_equal(sites_intern(s, &holder, &f, &site), -EINVAL);
	assert_int_equal(site, 7);
	assert_int_equal(sites_count(s), 0);
	assert_null(sites_get(s, 0));
	assert_null(sites_get(s, 1));
	assert_null(sites_get(s, UINT32_MAX));
	close_sites(s);
	sites_close(NULL);
}

static void expect_names(
	const struct sites *s, uint32_t site, const struct site_names_request expected)
{
	struct site_name name;
	unsigned cursor = 0;

	for (unsigned i = 0; i < expected.nnames; i++) {
		assert_true(sites_next_name(sites_get(s, site), &cursor, &name));
		assert_string_equal(name.function, expected.names[i].function);
		assert_string_equal(name.file, expected.names[i].file);
		assert_int_equal(name.line, expected.names[i].line);
		assert_int_equal(name.inlined, expected.names[i].inlined);
	}
	assert_false(sites_next_name(sites_get(s, site), &cursor, &name));
}

static void test_names(void **state)
{
	struct sites *s = reopen(NULL);
	struct site_request f = stack(0x1000, 3);
	uint32_t site = intern(s, &f);
	struct site_names_request names = names_for(site, 2);

	(void)state;
	assert_int_equal(sites_set_names(s, &holder, &names), -EINVAL);
	names = names_for(site, 4);
	assert_int_equal(sites_set_names(s, &holder, &names), -EINVAL);
	names = names_for(site, 3);
	memset(names.names[2].file, 'x', sizeof(names.names[2].file));
	assert_int_equal(sites_set_names(s, &holder, &names), -EINVAL);
	names = names_for(site + 1, 3);
	assert_int_equal(sites_set_names(s, &holder, &names), -ENOENT);
	names = names_for(0, 3);
	assert_int_equal(sites_set_names(s, &holder, &names), -ENOENT);
	assert_false(sites_named(s, site));
	assert_false(sites_named(s, 0));
	assert_false(sites_named(s, UINT32_MAX));
	names = names_for(site, 3);
	assert_int_equal(sites_set_names(s, &holder, &names), 0);
	assert_true(sites_named(s, site));
	/* The first ones stay. */
	strcpy(names.names[0].function, "forged");
	assert_int_equal(sites_set_names(s, &holder, &names), 0);
	s = reopen(s);
	assert_int_equal(sites_get(s, site)->state, SITE_PACKED);
	expect_names(s, site, names_for(site, 3));
	close_sites(s);
}

/* A frame may have several names; the last of each is no inlined one. */
static void test_inlined_names(void **state)
{
	struct sites *s = reopen(NULL);
	struct site_request f = stack(0x1000, 2);
	uint32_t site = intern(s, &f);
	struct site_names_request names = names_for(site, 3);

	(void)state;
	names.names[2].inlined = 1;
	assert_int_equal(sites_set_names(s, &holder, &names), -EINVAL);
	names.names[2].inlined = 0;
	names.names[0].inlined = 2;
	assert_int_equal(sites_set_names(s, &holder, &names), -EINVAL);
	names.names[0].inlined = 1;
	names.names[0].line = 1U << 31;
	assert_int_equal(sites_set_names(s, &holder, &names), -EINVAL);
	names.names[0].line = (1U << 31) - 1;
	assert_int_equal(sites_set_names(s, &holder, &names), 0);
	s = reopen(s);
	assert_int_equal(sites_rejected(s), 0);
	expect_names(s, site, names);
	close_sites(s);
}

/* As many bytes as there may be, and one more. */
static void test_most_bytes_of_names(void **state)
{
	struct sites *s = reopen(NULL);
	struct site_request f = stack(0x1000, 8);
	uint32_t site = intern(s, &f);
	struct site_names_request names = names_for(site, 8);

	(void)state;
	for (unsigned i = 0; i < 7; i++)
		memset(names.names[i].function, 'a' + (int)i, sizeof(names.names[i].function) - 1);
	memset(names.names[7].function, 'z',
		strlen(names.names[7].function) + SITE_NAMES_BYTES - site_names_bytes(&names));
	assert_int_equal(site_names_bytes(&names), SITE_NAMES_BYTES);
	strcat(names.names[7].file, "x");
	assert_int_equal(sites_set_names(s, &holder, &names), -EINVAL);
	names.names[7].file[strlen(names.names[7].file) - 1] = '\0';
	assert_int_equal(sites_set_names(s, &holder, &names), 0);
	s = reopen(s);
	expect_names(s, site, names);
	close_sites(s);
}

/* Bring new ones as one session until that is refused. Returns how many. */
static uint32_t bring_all(struct sites *s, struct site_holder *who, uint64_t base, uint32_t max)
{
	uint32_t n, site = 0;

	for (n = 0; n < max; n++) {
		const struct site_request f = stack(base + n, 1);
		int err = sites_intern(s, who, &f, &site);

		assert_true(err == 0 || err == -ENOSPC || err == -EDQUOT);
		if (err)
			break;
	}
	return n;
}

#define BASE(i) ((uint64_t)(i) << 32) /* no two sessions bring the same */
#define TOO_MANY (SESSION_SITES_MAX + 1)

/* However many come, and as many as each may bring: there is room for the next, and when they are gone, for as many. */
static void test_greedy_sessions(void **state)
{
	static struct site_holder others[9];
	struct sites *s = reopen(NULL);

	(void)state;
	memset(others, 0, sizeof(others));
	for (unsigned i = 0; i < 8; i++)
		assert_true(bring_all(s, &others[i], BASE(i), TOO_MANY) > 400);
	assert_true(bring_all(s, &others[8], BASE(8), TOO_MANY) > 400);
	for (unsigned i = 0; i < 9; i++)
		sites_release(s, &others[i]);
	/* They are still there, until others need the room. */
	assert_true(sites_count(s) >= SITES_KEPT_MAX);
	for (unsigned round = 1; round <= 2; round++) {
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(bring_all(s, &others[i], BASE(16 * round + i), TOO_MANY),
				SESSION_SITES_MAX);
		for (unsigned i = 0; i < 3; i++)
			sites_release(s, &others[i]);
	}
	close_sites(s);
}

/* One that was refused can have what others bring: it takes no room. */
static void test_sharing_is_free(void **state)
{
	static struct site_holder one, other;
	struct sites *s = reopen(NULL);
	struct site_request f;
	uint32_t site, again;

	(void)state;
	assert_int_equal(bring_all(s, &one, BASE(1), TOO_MANY), SESSION_SITES_MAX);
	f = stack(BASE(2), 1);
	assert_int_equal(sites_intern(s, &one, &f, &site), -EDQUOT);
	/* Nor one that is there, and that nobody holds. */
	assert_int_equal(sites_intern(s, &other, &f, &again), 0);
	sites_release(s, &other);
	assert_int_equal(sites_intern(s, &one, &f, &site), -EDQUOT);
	assert_int_equal(sites_intern(s, &other, &f, &again), 0);
	assert_int_equal(sites_intern(s, &one, &f, &site), 0);
	assert_int_equal(site, again);
	/* Held together, all of them count half. */
	assert_int_equal(bring_all(s, &other, BASE(1), SESSION_SITES_MAX), SESSION_SITES_MAX);
	f = stack(BASE(3), 1);
	assert_int_equal(sites_intern(s, &one, &f, &site), 0);
	sites_release(s, &one);
	sites_release(s, &other);
	close_sites(s);
}

static void free_block(uint64_t offset)
{
	const struct allocation *a = ledger_find(ledger, addr_make(64, offset));

	assert_int_equal(ledger_set_state(ledger, a, ALLOCATION_REVOKING), 0);
	assert_int_equal(ledger_set_state(ledger, a, ALLOCATION_QUARANTINE), 0);
	assert_int_equal(ledger_set_state(ledger, a, ALLOCATION_FREE), 0);
}

/* New build ids each time, no end of it; one site of each deployment has leaked, and keeps its number. */
static void test_redeploys(void **state)
{
	enum { DEPLOYMENTS = 30, SITES_EACH = 1000 };
	static uint32_t leaked[DEPLOYMENTS];
	struct sites *s = reopen(NULL);

	(void)state;
	for (unsigned i = 0; i < DEPLOYMENTS; i++) {
		struct allocation draft = { .session = 1, .session_serial = 1, .bytes = 1 };
		const struct site_request f = stack(BASE(i) + i, 1);
		const struct allocation *a;

		assert_int_equal(bring_all(s, &holder, BASE(i), SITES_EACH), SITES_EACH);
		leaked[i] = intern(s, &f);
		draft.addr = addr_make(64, 4096ULL * i);
		draft.site = leaked[i];
		assert_int_equal(ledger_add(ledger, &draft, &a), 0);
		sites_release(s, &holder);
		if (i % 16 == 15)
			s = reopen(s);
	}
	for (unsigned i = 0; i < DEPLOYMENTS; i++)
		assert_true(sites_get(s, leaked[i])->frames.frames[0].offset == BASE(i) + i);
	assert_true(sites_count(s) < SITES_MAX);
	/* Once it is freed, it makes room too. */
	for (unsigned i = 0; i < DEPLOYMENTS; i++)
		free_block(4096ULL * i);
	for (unsigned i = 0; i < 12; i++) {
		(void)bring_all(s, &holder, BASE(100 + i), SITES_EACH);
		sites_release(s, &holder);
	}
	for (unsigned i = 0; i < DEPLOYMENTS; i++)
		assert_true(sites_get(s, leaked[i])->frames.frames[0].offset != BASE(i) + i);
	close_sites(s);
}

/* Nobody but who was told a site says what it is called. */
static void test_stranger(void **state)
{
	static struct site_holder stranger;
	struct sites *s = reopen(NULL);
	struct site_request f = stack(0x1000, 3);
	uint32_t site = intern(s, &f), told;
	const struct site_names_request names = names_for(site, 3);

	(void)state;
	assert_false(sites_knows(s, &stranger, site));
	assert_int_equal(sites_set_names(s, &stranger, &names), -ENOENT);
	assert_false(sites_named(s, site));
	assert_int_equal(sites_intern(s, &stranger, &f, &told), 0);
	assert_int_equal(told, site);
	assert_int_equal(sites_set_names(s, &stranger, &names), 0);
	sites_release(s, &stranger);
	assert_false(sites_knows(s, &stranger, site));
	close_sites(s);
}

/* Sessions from before a restart know all that was there, and keep it there. */
static void test_restart(void **state)
{
	static struct site_holder old, older, young;
	struct sites *s = reopen(NULL);
	struct site_request f = stack(0x1000, 1);
	uint32_t before = intern(s, &f), site;
	const struct site_names_request names = names_for(before, 1);

	(void)state;
	assert_true(bring_all(s, &holder, BASE(1), 100) == 100);
	s = reopen(s);
	sites_recover_holder(s, &old);
	sites_recover_holder(s, &older);
	assert_true(sites_knows(s, &old, before));
	assert_false(sites_knows(s, &young, before));
	assert_int_equal(sites_set_names(s, &young, &names), -ENOENT);
	assert_int_equal(sites_set_names(s, &older, &names), 0);
	sites_release(s, &older);
	sites_release(s, &older);
	assert_false(sites_knows(s, &older, before));
	/* No room is made of the old ones as long as one of them is left. */
	for (unsigned i = 2; i < 8; i++) {
		(void)bring_all(s, &young, BASE(i), TOO_MANY);
		sites_release(s, &young);
	}
	assert_true(sites_get(s, before)->frames.frames[0].offset == 0x1000);
	/* One that gave up is told nothing any more: its client would take new numbers for old ones. */
	assert_true(sites_are_held(&old));
	sites_give_up(s, &old);
	assert_false(sites_are_held(&old));
	assert_false(sites_knows(s, &old, before));
	assert_int_equal(sites_intern(s, &old, &f, &site), -EPERM);
	/* None is left: the old sites make room like any other. */
	for (unsigned i = 20; i < 26; i++) {
		(void)bring_all(s, &young, BASE(i), TOO_MANY);
		sites_release(s, &young);
	}
	assert_true(sites_get(s, before)->frames.frames[0].offset != 0x1000);
	close_sites(s);
}

/* The file was lost; the ledger still names what was in it: those numbers are of no other sites. */
static void test_lost_file(void **state)
{
	static const uint32_t named[] = { 1, 3, 700, SITES_MAX - 1 };
	struct sites *s = reopen(NULL);
	const struct allocation *a = NULL;
	uint32_t site = 0;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const struct allocation draft = { .session = 1,
			.session_serial = 1,
			.bytes = 1,
			.addr = addr_make(64, 4096ULL * i),
			.site = named[i] };

		assert_int_equal(ledger_add(ledger, &draft, &a), 0);
	}
	s = reopen(s);
	for (unsigned i = 0; i < 1000; i++) {
		const struct site_request f = stack(BASE(1) + i, 1);

		site = intern(s, &f);
		for (unsigned k = 0; k < 4; k++)
			assert_int_not_equal(site, named[k]);
	}
	assert_int_equal(site, 1003);
	close_sites(s);
}

static void poke(uint32_t slot, size_t offset, const void *bytes, size_t n)
{
	poke_file(NAME, (off_t)(4096 + slot * SIZE + offset), bytes, n);
}

#define FIELD(name) offsetof(struct site_record, name), sizeof(((struct site_record *)0)->name)

static void test_one_bad_field(void **state)
{
	static const struct {
		size_t offset, size;
		uint8_t fill;
	} bad[] = {
		{ FIELD(state), 3 },
		{ FIELD(state), 255 },
		{ FIELD(hash), 0 },
		{ FIELD(frames.nframes), 0 },
		{ FIELD(frames.nframes), 2 }, /* possible, but not with that hash */
		{ FIELD(frames.nframes), 17 },
		{ FIELD(frames.nframes), 255 },
		{ FIELD(frames.nmodules), 0 },
		{ FIELD(frames.nmodules), 1 },
		{ FIELD(frames.nmodules), 255 },
		{ FIELD(frames.frames[1].module), 2 },
		{ FIELD(frames.frames[1].module), 255 },
		{ FIELD(frames.frames[2].offset), 1 },
		{ FIELD(frames.modules[0].build_id), 9 },
		{ FIELD(frames.modules[1].path), 'x' },
		{ FIELD(names.packed.bytes), 0 },
		{ FIELD(names.packed.bytes), 1 },
		{ FIELD(names.packed.bytes), 255 },
		{ FIELD(names.packed.text), 0 }, /* names without texts, and more of them */
		{ FIELD(names.packed.text), 'x' },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct site_request f = stack(0x1000, 3), g = stack(0x2000, 5);
		struct site_names_request names;
		uint8_t fill[256];
		struct sites *s;
		uint32_t site;

		unlinkat(dir, NAME, 0);
		s = reopen(NULL);
		site = intern(s, &f);
		intern(s, &g);
		names = names_for(site, 3);
		assert_int_equal(sites_set_names(s, &holder, &names), 0);
		close_sites(s);
		memset(fill, bad[i].fill, sizeof(fill));
		poke(site, bad[i].offset, fill, bad[i].size);
		s = reopen(NULL);
		assert_int_equal(sites_rejected(s), 1);
		assert_int_equal(sites_count(s), 1);
		assert_null(sites_get(s, site));
		assert_int_equal(intern(s, &g), 2);
		/* The same frames get a slot of their own, not the spoilt one. */
		assert_int_equal(intern(s, &f), 3);
		close_sites(s);
	}
}

/* A record in slot 0, and the same frames in two slots. */
static void test_misplaced(void **state)
{
	static struct site_record record;
	struct sites *s = reopen(NULL);
	struct site_request f = stack(0x1000, 3);

	(void)state;
	intern(s, &f);
	record = *sites_get(s, 1);
	close_sites(s);
	poke(0, 0, &record, sizeof(record));
	poke(9, 0, &record, sizeof(record));
	s = reopen(NULL);
	assert_int_equal(sites_rejected(s), 2);
	assert_int_equal(sites_count(s), 1);
	assert_int_equal(intern(s, &f), 1);
	assert_null(sites_get(s, 0));
	assert_null(sites_get(s, 9));
	close_sites(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_hash_is_fixed),
		IN_DIR(test_bad_frames),
		IN_DIR(test_names),
		IN_DIR(test_inlined_names),
		IN_DIR(test_most_bytes_of_names),
		IN_DIR(test_stranger),
		IN_DIR(test_misplaced),
	};
	/* With as many sites as there can be: under valgrind minutes, and half a minute with a sanitizer. */
	const struct CMUnitTest with_many[] = {
		IN_DIR(test_restart),
		IN_DIR(test_lost_file),
		IN_DIR(test_greedy_sessions),
		IN_DIR(test_same_and_different),
		IN_DIR(test_sharing_is_free),
		IN_DIR(test_redeploys),
		IN_DIR(test_one_bad_field),
	};
#ifdef __SANITIZE_ADDRESS__
	const size_t many = 3;
#else
	const size_t many = sizeof(with_many) / sizeof(with_many[0]);
#endif
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	if (getenv("RMEM_TEST_VALGRIND"))
		return failed;
	return failed + _cmocka_run_group_tests("with many", with_many, many, NULL, NULL);
}
