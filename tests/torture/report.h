/* SPDX-License-Identifier: BSD-3-Clause */
/* The counts of a run: those of several hosts added up, printed and judged. */
#ifndef RMEM_TESTS_TORTURE_REPORT_H
#define RMEM_TESTS_TORTURE_REPORT_H

#include <stdbool.h>

#include "tests/torture/board.h"

/* What has to have happened. */
struct report_scope {
	bool wire, clock;
};

/* To a file (it appears whole), and added from one. 0 or -errno. */
int report_save(const char *path);
int report_add(const char *path);

/* Nothing was wrong so far. */
bool report_clean(void);

/* Print everything. True: nothing was wrong, and everything happened. */
bool report_print(const struct report_scope *scope);

#endif
