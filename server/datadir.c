/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/arena.h"

static int open_own(const char *path, int *out, bool *out_made, struct why *why)
{
	struct stat st;
	int fd;

	*out_made = mkdir(path, 0700) == 0;
	if (!*out_made && errno != EEXIST)
		return why_set(why, -errno,
			"cannot make the data directory %s: %s; name another with --data", path,
			strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st)) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return why_set(
			why, err, "cannot open the data directory %s: %s", path, strerror(-err));
	}
	if (st.st_uid != geteuid()) {
		close(fd);
		return why_set(why, -EPERM,
			"the data directory %s belongs to uid %u, not to us: name another with "
			"--data",
			path, st.st_uid);
	}
	/* Whoever may put files there could put a ledger of their own making there. */
	if (st.st_mode & S_IWOTH) {
		close(fd);
		return why_set(why, -EPERM,
			"everybody may write into the data directory %s: name one below it with "
			"--data",
			path);
	}
	*out = fd;
	return 0;
}

int datadir_open(struct datadir *d, const char *path, uint16_t port, struct why *why)
{
	uint64_t page_bytes;
	bool huge = false, made;
	int err;

	*d = (struct datadir){ .arenas = -1, .tables = -1 };
	snprintf(d->arenas_path, sizeof(d->arenas_path), "%s", path);
	err = open_own(path, &d->arenas, &d->made, why);
	if (!err)
		err = arena_page_bytes(d->arenas, &page_bytes, &huge, why);
	if (!err && !huge) {
		memcpy(d->tables_path, d->arenas_path, sizeof(d->tables_path));
		d->tables = d->arenas;
	} else if (!err) {
		err = rundir_data_dir(port, d->tables_path, sizeof(d->tables_path));
		if (!err)
			err = open_own(d->tables_path, &d->tables, &made, why);
	}
	if (err) {
		datadir_close(d);
		if (d->made)
			rmdir(path);
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

void datadir_remove(struct datadir *d)
{
	static const char *const files[] = { "ledger", "sessions", "sites", "time" };

	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlinkat(d->tables, files[i], 0);
	rmdir(d->tables_path);
	rmdir(d->arenas_path);
}
