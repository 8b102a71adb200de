/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Debug information for a build id, where its program is not on this machine, or has none: installed under
 * /usr/lib/debug, or had from debuginfod servers, if $DEBUGINFOD_URLS names any and libdebuginfod is there.
 */
#ifndef RMEM_CTL_DEBUG_FILE_H
#define RMEM_CTL_DEBUG_FILE_H

#include <stdint.h>

#include "common/message.h"

#define DEBUG_FILE_PATH_SIZE 128

/* Where an installed one would be. */
void debug_file_installed(const uint8_t build_id[BUILD_ID_SIZE], char out[DEBUG_FILE_PATH_SIZE]);

/*
 * From a server: a descriptor, or -1. It may take as long as its settings in the environment
 * ($DEBUGINFOD_TIMEOUT) allow.
 */
int debug_file_fetch(const uint8_t build_id[BUILD_ID_SIZE]);

#endif
