/* SPDX-License-Identifier: BSD-3-Clause */
/* Call sites: what is the same stack, names, bounds, and files full of garbage. */
#include "tests/support/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/ledger/sites.h"

#define NAME "sites"
#define SIZE sizeof(struct site_record)

static struct sites *reopen(struct sites *s)
{
	sites_close(s);
	assert_int_equal(sites_open(&s, dir, NAME), 0);
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
	uint32_t site = 0, known = 0;
	int err = sites_lookup(s, f, &known);
	uint32_t count = sites_count(s);

	assert_int_equal(sites_intern(s, f, &site), 0);
	assert_int_not_equal(site, 0);
	/* It was known exactly if nothing was added. */
	assert_int_equal(err, sites_count(s) == count ? 0 : -ENOENT);
	assert_int_equal(known, err ? 0 : site);
	assert_int_equal(sites_lookup(s, f, &known), 0);
	assert_int_equal(known, site);
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
	sites_close(s);
}

/* Record ids are made from it, so it must be the same on every machine and in every version. */
static void test_hash_is_fixed(void **state)
{
	struct sites *s = reopen(NULL);
	struct site_request f = stack(0x1000, 4);

	(void)state;
	assert_true(sites_get(s, intern(s, &f))->hash == 0x6348826fb15f6e6dULL);
	sites_close(s);
}

static void test_bad_frames(void **state)
{
	struct sites *s = reopen(NULL);
	struct site_request f = stack(1, 0);
	uint32_t site = 7;

	(void)state;
	assert_int_equal(sites_intern(s, &f, &site), -EINVAL);
	f = stack(1, 1);
	f.nframes = SITE_DEPTH_MAX + 1;
	assert_int_equal(sites_intern(s, &f, &site), -EINVAL);
	f = stack(1, 1);
	f.nmodules = SITE_DEPTH_MAX + 1;
	assert_int_equal(sites_intern(s, &f, &site), -EINVAL);
	f = stack(1, 4);
	f.frames[3].module = 2;
	assert_int_equal(sites_intern(s, &f, &site), -EINVAL);
	f.frames[3].module = 255;
	assert_int_equal(sites_intern(s, &f, &site), -EINVAL);
	f = stack(1, 4);
	f.nmodules = 0;
	assert_int_equal(sites_intern(s, &f, &site), -EINVAL);
	f = stack(1, 4);
	memset(f.modules[1].path, 'x', sizeof(f.modules[1].path));
	assert_int_equal(sites_intern(s, &f, &site), -EINVAL);
	assert_int_equal(site, 7);
	assert_int_equal(sites_count(s), 0);
	assert_null(sites_get(s, 0));
	assert_null(sites_get(s, 1));
	assert_null(sites_get(s, UINT32_MAX));
	sites_close(s);
	sites_close(NULL);
}

static void test_names(void **state)
{
	struct sites *s = reopen(NULL);
	struct site_request f = stack(0x1000, 3);
	uint32_t site = intern(s, &f);
	struct site_names_request names = names_for(site, 2);

	(void)state;
	assert_int_equal(sites_set_names(s, &names), -EINVAL);
	names = names_for(site, 4);
	assert_int_equal(sites_set_names(s, &names), -EINVAL);
	names = names_for(site, 3);
	memset(names.names[2].file, 'x', sizeof(names.names[2].file));
	assert_int_equal(sites_set_names(s, &names), -EINVAL);
	names = names_for(site + 1, 3);
	assert_int_equal(sites_set_names(s, &names), -ENOENT);
	names = names_for(0, 3);
	assert_int_equal(sites_set_names(s, &names), -ENOENT);
	assert_false(sites_named(s, site));
	assert_false(sites_named(s, 0));
	assert_false(sites_named(s, UINT32_MAX));
	names = names_for(site, 3);
	assert_int_equal(sites_set_names(s, &names), 0);
	assert_true(sites_named(s, site));
	/* The first ones stay. */
	strcpy(names.names[0].function, "forged");
	assert_int_equal(sites_set_names(s, &names), 0);
	s = reopen(s);
	assert_int_equal(sites_get(s, site)->state, 2);
	assert_string_equal(sites_get(s, site)->names.names[0].function, "f0");
	assert_int_equal(sites_get(s, site)->names.names[2].line, 42);
	sites_close(s);
}

static void test_full(void **state)
{
	struct sites *s = reopen(NULL);
	struct site_request f;
	uint32_t site = 0;

	(void)state;
	for (uint32_t i = 1; i < SITES_MAX; i++) {
		f = stack(i * 64ULL, 1 + i % SITE_DEPTH_MAX);
		assert_int_equal(intern(s, &f), i);
	}
	f = stack(1, 1);
	assert_int_equal(sites_intern(s, &f, &site), -ENOSPC);
	assert_int_equal(site, 0);
	s = reopen(s);
	assert_int_equal(sites_rejected(s), 0);
	assert_int_equal(sites_count(s), SITES_MAX - 1);
	f = stack(777 * 64ULL, 1 + 777 % SITE_DEPTH_MAX);
	assert_int_equal(intern(s, &f), 777);
	sites_close(s);
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
		{ FIELD(names.nnames), 2 },
		{ FIELD(names.nnames), 255 },
		{ FIELD(names.names[0].function), 'x' },
		{ FIELD(names.names[2].file), 'x' },
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
		assert_int_equal(sites_set_names(s, &names), 0);
		sites_close(s);
		memset(fill, bad[i].fill, sizeof(fill));
		poke(site, bad[i].offset, fill, bad[i].size);
		s = reopen(NULL);
		assert_int_equal(sites_rejected(s), 1);
		assert_int_equal(sites_count(s), 1);
		assert_null(sites_get(s, site));
		assert_int_equal(intern(s, &g), 2);
		/* The same frames get a slot of their own, not the spoilt one. */
		assert_int_equal(intern(s, &f), 3);
		sites_close(s);
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
	sites_close(s);
	poke(0, 0, &record, sizeof(record));
	poke(9, 0, &record, sizeof(record));
	s = reopen(NULL);
	assert_int_equal(sites_rejected(s), 2);
	assert_int_equal(sites_count(s), 1);
	assert_int_equal(intern(s, &f), 1);
	assert_null(sites_get(s, 0));
	assert_null(sites_get(s, 9));
	sites_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_same_and_different),
		IN_DIR(test_hash_is_fixed),
		IN_DIR(test_bad_frames),
		IN_DIR(test_names),
		IN_DIR(test_full),
		IN_DIR(test_one_bad_field),
		IN_DIR(test_misplaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
