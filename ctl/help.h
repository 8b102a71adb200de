/* SPDX-License-Identifier: BSD-3-Clause */
/* What --help prints. */
#ifndef RMEM_CTL_HELP_H
#define RMEM_CTL_HELP_H

#include <stdio.h>

#include "ctl/options.h"

/* Of the command, if one was given. */
void help_put(FILE *out, const struct options *o);

#endif
