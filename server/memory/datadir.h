/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data directory keeps arenas and tables between runs. hugetlbfs files consist of whole huge pages, so on hugetlbfs
 * the tables are in the default directory on tmpfs instead.
 *
 * The directories hold clients' memory, so they must belong to this user. One process at a time uses them: rmemd locks
 * them before it reads anything in them. rmemd opens them before any device: the kernel releases a killed process's
 * files last opened first, so the locks end only after the devices can no longer write.
 */
#ifndef RMEM_SERVER_MEMORY_DATADIR_H
#define RMEM_SERVER_MEMORY_DATADIR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rundir.h"
#include "common/errinfo.h"

/* The tables' files. */
#define DATADIR_POOL "pool"
#define DATADIR_LEDGER "ledger"
#define DATADIR_SESSIONS "sessions"
#define DATADIR_SITES "sites"
#define DATADIR_TIME "time"
#define DATADIR_HISTORY "history"

struct datadir {
	int arenas, tables; /* open directories; the same except on hugetlbfs */
	char arenas_path[RUNDIR_PATH_SIZE], tables_path[RUNDIR_PATH_SIZE];
	bool made, made_tables; /* we created the arenas' directory, a separate tables' directory */
};

/* Create missing directories and lock them. port selects the default directory. -EBUSY: in use. */
int datadir_open(struct datadir *d, const char *path, uint16_t port, struct errinfo *errinfo);

/* Keeps the files. Fine if not open (fds -1). */
void datadir_close(struct datadir *d);

/*
 * Delete the files of a pool in which nothing is lent. After a kill midway, the next start still recognises the rest.
 * keep_history: the history describes reclaimed memory and belongs to no pool. As long as it exists, the file with the
 * server time stays too: without it, setting the wall clock would change how long ago memory was reclaimed.
 */
void datadir_remove_files(const struct datadir *d, uint64_t pool, bool keep_history);

/* Delete empty directories: all, or those that datadir_open() created. */
void datadir_remove(const struct datadir *d, bool all);

/* A table cannot be opened: why names the file and what helps. Returns err. */
int datadir_fail(const struct datadir *d, const char *name, int err, struct errinfo *errinfo);

/* A shell command that deletes everything; error messages offer it as the last resort. */
#define DATADIR_COMMAND_SIZE (2 * RUNDIR_PATH_SIZE + 96)
const char *datadir_command(const struct datadir *d, char buf[DATADIR_COMMAND_SIZE]);

#endif
