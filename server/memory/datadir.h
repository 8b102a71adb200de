/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data directory: where the arenas and the tables live between runs. hugetlbfs takes arenas only (its
 * files come in whole huge pages), so the tables then go to the default directory on tmpfs.
 *
 * The directories are ours alone: what is in them is clients' memory. One process has them at a time: they
 * are locked before anything in them is looked at. rmemd opens them before any device, so that a killed
 * one's locks end after all that its devices could still write (the kernel closes what was opened last first).
 */
#ifndef RMEM_SERVER_MEMORY_DATADIR_H
#define RMEM_SERVER_MEMORY_DATADIR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rundir.h"
#include "common/why.h"

/* The tables' files. */
#define DATADIR_POOL "pool"
#define DATADIR_LEDGER "ledger"
#define DATADIR_SESSIONS "sessions"
#define DATADIR_SITES "sites"
#define DATADIR_TIME "time"
#define DATADIR_HISTORY "history"

struct datadir {
	int arenas, tables; /* open directories; the same one unless on hugetlbfs */
	char arenas_path[RUNDIR_PATH_SIZE], tables_path[RUNDIR_PATH_SIZE];
	bool made, made_tables; /* the arenas' one, a tables' one apart: they did not exist */
};

/* Make them if they are not there, and lock them. port names the default directory. -EBUSY: in use. */
int datadir_open(struct datadir *d, const char *path, uint16_t port, struct why *why);

/* The files stay. Of one that is not open (fds -1) is fine. */
void datadir_close(struct datadir *d);

/*
 * Delete a pool's files, which must hold nothing: in an order in which a kill leaves behind what a start
 * takes for what it is. The history may be kept: it is about memory that was taken back, and of no pool.
 */
void datadir_remove_files(const struct datadir *d, uint64_t pool, bool keep_history);

/* Delete the directories if nothing is in them: all of them, or those that were made here. */
void datadir_remove(const struct datadir *d, bool all);

/* A command that deletes everything, for somebody who wants that: the last way out that a message names. */
#define DATADIR_COMMAND_SIZE (2 * RUNDIR_PATH_SIZE + 96)
const char *datadir_command(const struct datadir *d, char buf[DATADIR_COMMAND_SIZE]);

#endif
