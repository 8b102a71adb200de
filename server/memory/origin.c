/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/origin.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/ledger/ledger.h"
#include "server/ledger/sessions.h"
#include "server/ledger/sites.h"
#include "server/memory/arena.h"
#include "server/memory/proof.h"

#define TABLES 4
#define SIZES_TEXT_SIZE 128

struct expected {
	const char *name, magic[9];
	uint32_t version, oldest; /* that is read */
};

static const struct expected expected[TABLES] = {
	{ DATADIR_POOL, "rmempool", PROOF_FORMAT, PROOF_OLDEST },
	{ DATADIR_LEDGER, "rmemledg", LEDGER_FORMAT, LEDGER_OLDEST },
	{ DATADIR_SESSIONS, "rmemsess", SESSIONS_FORMAT, SESSIONS_OLDEST },
	{ DATADIR_SITES, "rmemsite", SITES_FORMAT, SITES_OLDEST },
};

enum { POOL, LEDGER };

struct finding {
	const struct datadir *dir;
	struct origin *origin;
	struct table_facts tables[TABLES];
	bool present[TABLES]; /* with a header */
	struct proof proofs[SEGMENTS_MAX];
	bool old_arena; /* from before pools had ids */
	bool any_arena;
	bool doubled;                  /* two arenas of one segment */
	char foreign[ARENA_NAME_SIZE]; /* an arena of another pool */
	uint64_t foreign_pool;
};

/* ---- error messages ---- */

static int refuse_version(
	const struct finding *f, const char *name, bool older, struct errinfo *errinfo)
{
	char command[DATADIR_COMMAND_SIZE];

	if (!older)
		return errinfo_set(errinfo, -EUCLEAN,
			"%s/%s is of a later version of rmemd, or no file of rmemd's at all: use "
			"that version, or another --data and --port. Nothing was changed",
			f->dir->tables_path, name);
	return errinfo_set(errinfo, -EUCLEAN,
		"an earlier version of rmemd left the files in %s: start that one again with the "
		"options it had, stop it when nobody holds anything (it removes its files then), "
		"and start this one; or use another --data and --port. Only to lose what is lent, "
		"remove them: %s",
		f->dir->tables_path, datadir_command(f->dir, command));
}

static int refuse_damaged(const struct finding *f, const char *name, struct errinfo *errinfo)
{
	char command[DATADIR_COMMAND_SIZE];

	return errinfo_set(errinfo, -EUCLEAN,
		"%s/%s is damaged, or no file of rmemd's: put back the one that belongs there, or "
		"use another --data and --port. Only to lose what is lent: %s",
		f->dir->tables_path, name, datadir_command(f->dir, command));
}

/* Find the port whose default directory has the pool's tables (hugetlbfs keeps tables apart). 0: none. */
static unsigned find_port(uint64_t pool)
{
	static const char prefix[] = "rmemd-";
	char path[RUNDIR_PATH_SIZE], *slash;
	const struct dirent *entry;
	unsigned found = 0;
	DIR *list;

	if (rundir_data_dir(0, path, sizeof(path)) != 0)
		return 0;
	slash = strrchr(path, '/');
	*slash = '\0';
	list = opendir(path);
	while (list && !found && (entry = readdir(list)) != NULL) {
		struct table_facts facts;
		unsigned long port;

		if (strncmp(entry->d_name, prefix, sizeof(prefix) - 1) != 0)
			continue;
		port = strtoul(entry->d_name + sizeof(prefix) - 1, NULL, 10);
		if (port == 0 || port > UINT16_MAX)
			continue;
		snprintf(path, sizeof(path), "%s%lu/" DATADIR_POOL, prefix, port);
		if (table_look(dirfd(list), path, &facts) == 0 && facts.mark.pool == pool)
			found = (unsigned)port;
	}
	if (list)
		closedir(list);
	return found;
}

static int refuse_foreign(const struct finding *f, struct errinfo *errinfo)
{
	unsigned port = find_port(f->foreign_pool);

	if (port)
		return errinfo_set(errinfo, -EUCLEAN,
			"%s/%s is memory of another pool, whose tables are those of --port %u: "
			"start with that --port, or use another --data",
			f->dir->arenas_path, f->foreign, port);
	if (f->any_arena)
		return errinfo_set(errinfo, -EUCLEAN,
			"%s/%s is memory of another pool than the other arenas there and the "
			"tables in %s: move it away to where it came from (only to lose what it "
			"holds, remove it)",
			f->dir->arenas_path, f->foreign, f->dir->tables_path);
	return errinfo_set(errinfo, -EUCLEAN,
		"%s/%s is memory of a pool whose tables are not in %s: start with the --port and "
		"--data it had, or put its pool, ledger, sessions and sites there, or use another "
		"--data. Only to lose what is lent: rm %s/arena-*",
		f->dir->arenas_path, f->foreign, f->dir->tables_path, f->dir->arenas_path);
}

static int refuse_missing(
	const struct finding *f, const char *path, const char *name, struct errinfo *errinfo)
{
	char command[DATADIR_COMMAND_SIZE];

	return errinfo_set(errinfo, -ENOENT,
		"%s/%s is missing, without which nobody knows what the other files hold: put it "
		"back, or use another --data and --port. Only to lose what is lent: %s",
		path, name, datadir_command(f->dir, command));
}

/* ---- examining files ---- */

/* Read the headers of all tables; refuse damaged ones and other versions. */
static int read_headers(struct finding *f, struct errinfo *errinfo)
{
	for (unsigned i = 0; i < TABLES; i++) {
		const struct expected *e = &expected[i];
		struct table_facts *facts = &f->tables[i];
		int err = table_look(f->dir->tables, e->name, facts);

		f->present[i] = err == 0;
		if (err == -ENOENT || err == -ENODATA)
			continue;
		if (err == -EUCLEAN || (!err && memcmp(facts->magic, e->magic, 8) != 0))
			return refuse_damaged(f, e->name, errinfo);
		if (err)
			return errinfo_set(errinfo, err, "cannot read %s/%s: %s",
				f->dir->tables_path, e->name, strerror(-err));
		if (facts->version < e->oldest || facts->version > e->version)
			return refuse_version(f, e->name, facts->version < e->oldest, errinfo);
	}
	return 0;
}

/* All tables must carry the same pool id. So a missing table "pool" loses only the proofs. */
static int find_pool_id(struct finding *f, struct errinfo *errinfo)
{
	struct origin *o = f->origin;

	for (unsigned i = 0; i < TABLES; i++) {
		if (!f->present[i])
			continue;
		if (f->tables[i].mark.pool == 0)
			return refuse_damaged(f, expected[i].name, errinfo);
		if (!o->pool)
			o->pool = f->tables[i].mark.pool;
		if (f->tables[i].mark.pool != o->pool)
			return errinfo_set(errinfo, -EUCLEAN,
				"%s/%s is of another pool than the files beside it: put back the "
				"one that belongs there, or use another --data and --port",
				f->dir->tables_path, expected[i].name);
	}
	if (f->present[LEDGER]) {
		o->run = f->tables[LEDGER].mark.run;
		o->ledger_count = f->tables[LEDGER].count;
	}
	return 0;
}

static void add_arena(void *arg, const struct arena_entry *entry)
{
	struct finding *f = arg;

	if (entry->pool == 0) {
		f->old_arena = true;
	} else if (entry->pool != f->origin->pool) {
		snprintf(f->foreign, sizeof(f->foreign), "%s", entry->name);
		f->foreign_pool = entry->pool;
	} else {
		/* Two files of one number: the directory was put together from several. */
		if (f->origin->segments[entry->segment].bytes)
			f->doubled = true;
		f->any_arena = true;
		f->origin->segments[entry->segment] =
			(struct origin_segment){ entry->node, entry->bytes };
		f->origin->bytes[entry->node] += entry->bytes;
	}
}

static int check_complete(struct finding *f, struct errinfo *errinfo)
{
	char name[ARENA_NAME_SIZE];

	if (f->doubled)
		return errinfo_set(errinfo, -EUCLEAN,
			"%s has two arenas of one segment: move away the one that was put there",
			f->dir->arenas_path);
	if (f->any_arena && !f->present[LEDGER])
		return refuse_missing(f, f->dir->tables_path, DATADIR_LEDGER, errinfo);
	for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
		/* The ledger gets its run before any proof: a ledger without a run would be deleted as never lent. */
		if (f->proofs[i].state == PROOF_CLEAN && f->present[LEDGER] && f->origin->run == 0)
			return refuse_damaged(f, DATADIR_LEDGER, errinfo);
		if (f->proofs[i].state != PROOF_CLEAN || f->origin->segments[i].bytes)
			continue;
		/* Of a segment that has not its node's number, only the file's name told the node. */
		if (i < ADDR_MAX_NODES)
			arena_name(i, i, f->origin->pool, name);
		else
			snprintf(name, sizeof(name), "arena-%u-*", i);
		return refuse_missing(f, f->dir->arenas_path, name, errinfo);
	}
	return 0;
}

int origin_read(struct origin *out, const struct datadir *d, struct errinfo *errinfo)
{
	struct origin o = { .pool = 0 };
	struct finding f = { .dir = d, .origin = &o };
	int err = read_headers(&f, errinfo);

	if (!err)
		err = find_pool_id(&f, errinfo);
	if (err)
		return err;
	proof_read(d->tables, DATADIR_POOL, f.proofs);
	err = arena_scan(d->arenas, add_arena, &f);
	if (err)
		return errinfo_set(
			errinfo, err, "cannot list %s: %s", d->arenas_path, strerror(-err));
	if (f.old_arena)
		return refuse_version(&f, "", true, errinfo);
	if (f.foreign[0])
		return refuse_foreign(&f, errinfo);
	err = check_complete(&f, errinfo);
	if (!err)
		*out = o;
	return err;
}

/* ---- sizes ---- */

/* "64.0 MiB on node 0, 32.0 MiB on node 1". */
static const char *list_sizes(const struct origin *o, char text[SIZES_TEXT_SIZE])
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < ADDR_MAX_NODES && used < SIZES_TEXT_SIZE - 40; i++) {
		char size[UNITS_TEXT_SIZE];

		if (o->bytes[i] == 0)
			continue;
		used += (size_t)snprintf(text + used, SIZES_TEXT_SIZE - used, "%s%s on node %u",
			used ? ", " : "", units_format_bytes(o->bytes[i], size, sizeof(size)), i);
	}
	return text;
}

int origin_check_sizes(const struct origin *o, const struct sizes *sizes, struct errinfo *errinfo)
{
	uint64_t wanted[ADDR_MAX_NODES] = { 0 };
	char list[SIZES_TEXT_SIZE];

	if (!o->run) /* nothing was ever lent: the files will be replaced */
		return 0;
	for (size_t i = 0; i < sizes->count; i++)
		wanted[sizes->nodes[i].node] = sizes->nodes[i].bytes;
	for (unsigned i = 0; i < ADDR_MAX_NODES; i++) {
		if (o->bytes[i] <= wanted[i])
			continue;
		return errinfo_set(errinfo, -EEXIST,
			"the data directory holds the memory of an earlier run, %s, and --size "
			"gives node %u less: start without --size, which takes it as it "
			"is; `rmemctl resize` can then make it smaller. (If nobody holds anything, "
			"rmemd removes it when it stops; then any --size will do.)",
			list_sizes(o, list), i);
	}
	return 0;
}
