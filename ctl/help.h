/* SPDX-License-Identifier: BSD-3-Clause */
/* What --help prints. */
#ifndef RMEM_CTL_HELP_H
#define RMEM_CTL_HELP_H

#include <stdio.h>

/* Of a command of ctl/menu.h; MENU_COMMANDS: of all. */
void help_put(FILE *out, unsigned command);

#endif
