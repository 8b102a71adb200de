/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where rmemd and rmemctl meet when nobody says otherwise: one rule for both, so that they agree.
 * Only makes the path; creates and checks nothing. Any thread (reads the environment).
 *
 * ERRORS: -ENAMETOOLONG, and buf is unchanged, when the path does not fit into size.
 */
#ifndef RMEM_COMMON_RUNDIR_H
#define RMEM_COMMON_RUNDIR_H

#include <stddef.h>
#include <stdint.h>

/* Enough for every path that fits into a struct sockaddr_un. */
#define RUNDIR_PATH_SIZE 108

/*
 * The admin socket of the rmemd on that port: $XDG_RUNTIME_DIR/rmemd/PORT.sock for users other than
 * root who have such a directory, else that of the system's rmemd.
 */
int rundir_admin_socket(uint16_t port, char *buf, size_t size);

/* The admin socket of the system's rmemd, for every user: /run/rmemd/PORT.sock. */
int rundir_system_socket(uint16_t port, char *buf, size_t size);

/* The directory of arenas and ledger: /dev/shm/rmemd-PORT. */
int rundir_data_dir(uint16_t port, char *buf, size_t size);

#endif
