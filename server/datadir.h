/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data directory: where the arenas and the tables live between runs. hugetlbfs takes arenas only (its
 * files come in whole huge pages), so the tables then go to the default directory on tmpfs.
 *
 * The directories are ours alone: what is in them is clients' memory.
 */
#ifndef RMEM_SERVER_DATADIR_H
#define RMEM_SERVER_DATADIR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rundir.h"
#include "common/why.h"

struct datadir {
	int arenas, tables; /* open directories; the same one unless on hugetlbfs */
	char arenas_path[RUNDIR_PATH_SIZE], tables_path[RUNDIR_PATH_SIZE];
	bool made; /* the arenas' one did not exist: nobody holds anything in it */
};

/* Make them if they are not there. port names the default directory. */
int datadir_open(struct datadir *d, const char *path, uint16_t port, struct why *why);

/* The files stay. Of one that is not open (fds -1) is fine. */
void datadir_close(struct datadir *d);

/* Delete the tables and, if nothing else is in them, the directories. */
void datadir_remove(struct datadir *d);

#endif
