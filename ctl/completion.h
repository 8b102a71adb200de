/* SPDX-License-Identifier: BSD-3-Clause */
/* A script for bash that completes command lines of rmemctl, made from ctl/menu.h. */
#ifndef RMEM_CTL_COMPLETION_H
#define RMEM_CTL_COMPLETION_H

#include <stdio.h>

void completion_put_bash(FILE *out);

#endif
