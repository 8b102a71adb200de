/* SPDX-License-Identifier: BSD-3-Clause */
/* Arenas of segments that have their node's number. */
#ifndef RMEM_TESTS_ARENAS_H
#define RMEM_TESTS_ARENAS_H

#include "server/memory/arena.h"

/* Open and populate an arena; if that fails, a new file is gone again. */
static inline int arena_make_ready(
	struct arena *out, struct arena_config config, struct errinfo *errinfo)
{
	struct arena a;
	int err;

	config.segment = config.node;
	err = arena_open(&a, &config, errinfo);
	if (err)
		return err;
	err = arena_populate(&a, config.topology, NULL, NULL, errinfo);
	if (!err) {
		*out = a;
		return 0;
	}
	if (a.created)
		(void)arena_remove(config.data_dir, a.segment, a.node, config.pool);
	arena_close(&a);
	return err;
}

#endif
