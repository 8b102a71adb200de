/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/denial.h"
#include "server/memory/arena.h"

#define OPEN_TRIES 10

/*
 * Open and lock a directory. *out_gone: it does not exist, or another process removed it between our open and lock.
 */
static int open_locked(
	const char *path, int *out, struct stat *st, bool *out_gone, struct errinfo *errinfo)
{
	int err, fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT) {
		*out_gone = true;
		return 0;
	}
	if (fd < 0)
		return errinfo_set(errinfo, -errno, "cannot open the data directory %s: %s", path,
			strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
		close(fd);
		if (err != -EBUSY)
			return errinfo_set(errinfo, err, "cannot lock the data directory %s: %s",
				path, strerror(-err));
		return errinfo_set(errinfo, err,
			"another rmemd is using %s: give this one a --port of its own (and with "
			"--data, a directory)",
			path);
	}
	if (fstat(fd, st) != 0) {
		err = -errno;
		close(fd);
		return errinfo_set(errinfo, err, "cannot examine the data directory %s: %s", path,
			strerror(-err));
	}
	*out_gone = st->st_nlink == 0;
	if (*out_gone)
		close(fd);
	else
		*out = fd;
	return 0;
}

static int check_owner(const char *path, const struct stat *st, struct errinfo *errinfo)
{
	if (st->st_uid != geteuid())
		return errinfo_set(errinfo, -EPERM,
			"the data directory %s belongs to uid %u, not to us: name another with "
			"--data",
			path, st->st_uid);
	/* Any user with write access could plant a forged ledger. */
	if (st->st_mode & S_IWOTH)
		return errinfo_set(errinfo, -EPERM,
			"everybody may write into the data directory %s: name one below it with "
			"--data",
			path);
	return 0;
}

static int open_own(const char *path, int *out, bool *out_made, struct errinfo *errinfo)
{
	bool gone = true;
	struct stat st;
	int err = 0;

	for (unsigned tries = 0; gone && !err && tries < OPEN_TRIES; tries++) {
		*out_made = mkdir(path, 0700) == 0;
		if (!*out_made && errno != EEXIST)
			return errinfo_set(errinfo, -errno,
				errno == ENOENT
					? "cannot make the data directory %s: %s (its parent); "
					  "make that first, or name another with --data"
					: "cannot make the data directory %s: %s; name another "
					  "with --data",
				path, strerror(errno));
		err = open_locked(path, out, &st, &gone, errinfo);
	}
	if (!err && gone)
		return errinfo_set(errinfo, -EBUSY,
			"others make and remove the data directory %s all the time: name another "
			"with --data",
			path);
	return err ? err : check_owner(path, &st, errinfo);
}

int datadir_open(struct datadir *d, const char *path, uint16_t port, struct errinfo *errinfo)
{
	uint64_t page_bytes;
	bool huge = false;
	int err;

	*d = (struct datadir){ .arenas = -1, .tables = -1 };
	snprintf(d->arenas_path, sizeof(d->arenas_path), "%s", path);
	err = open_own(path, &d->arenas, &d->made, errinfo);
	if (!err)
		err = arena_page_bytes(d->arenas, &page_bytes, &huge, errinfo);
	if (!err && !huge) {
		memcpy(d->tables_path, d->arenas_path, sizeof(d->tables_path));
		d->tables = d->arenas;
	} else if (!err) {
		err = rundir_data_dir(port, d->tables_path, sizeof(d->tables_path));
		if (!err)
			err = open_own(d->tables_path, &d->tables, &d->made_tables, errinfo);
	}
	if (err) {
		datadir_remove(d, false);
		datadir_close(d);
	}
	return err;
}

void datadir_close(struct datadir *d)
{
	if (d->tables >= 0 && d->tables != d->arenas)
		close(d->tables);
	if (d->arenas >= 0)
		close(d->arenas);
	d->arenas = d->tables = -1;
}

struct removal {
	const struct datadir *dir;
	uint64_t pool;
};

static void remove_arena(void *arg, const struct arena_entry *entry)
{
	const struct removal *r = arg;

	if (entry->pool == r->pool)
		(void)arena_remove(r->dir->arenas, entry->segment, entry->node, entry->pool);
}

/* Delete the ledger after the arenas: while an arena exists, the ledger tells its pool. */
void datadir_remove_files(const struct datadir *d, uint64_t pool, bool keep_history)
{
	static const char *const tables[] = { DATADIR_LEDGER, DATADIR_SESSIONS, DATADIR_SITES };
	struct removal r = { d, pool };

	unlinkat(d->tables, DATADIR_POOL, 0);
	(void)arena_scan(d->arenas, remove_arena, &r);
	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		unlinkat(d->tables, tables[i], 0);
	if (!keep_history)
		unlinkat(d->tables, DATADIR_HISTORY, 0);
	/* The times in the history are its times. */
	if (faccessat(d->tables, DATADIR_HISTORY, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
		unlinkat(d->tables, DATADIR_TIME, 0);
}

void datadir_remove(const struct datadir *d, bool all)
{
	if ((all || d->made_tables) && d->tables != d->arenas)
		rmdir(d->tables_path);
	if (all || d->made)
		rmdir(d->arenas_path);
}

int datadir_fail(const struct datadir *d, const char *name, int err, struct errinfo *errinfo)
{
	char buf[DENIAL_TEXT_SIZE];
	const char *remedy = denial_remedy(DENIED_FILE, err, buf);

	if (err == -ENOSPC)
		remedy = "Free some room there, or enlarge the file system (mount -o "
			 "remount,size=...)";
	else if (err == -ENOTEMPTY)
		remedy = "A directory with something in it is in its place: move it away";
	return errinfo_set(errinfo, err, "cannot make or open %s/%s: %s%s%s", d->tables_path, name,
		strerror(-err), *remedy ? ". " : "", remedy);
}

const char *datadir_command(const struct datadir *d, char buf[DATADIR_COMMAND_SIZE])
{
	if (d->tables == d->arenas)
		snprintf(buf, DATADIR_COMMAND_SIZE,
			"cd %s && rm -f arena-* pool ledger sessions sites time history",
			d->arenas_path);
	else
		snprintf(buf, DATADIR_COMMAND_SIZE,
			"rm -f %s/arena-*; cd %s && rm -f pool ledger sessions sites time history",
			d->arenas_path, d->tables_path);
	return buf;
}
