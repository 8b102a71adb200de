/* SPDX-License-Identifier: BSD-3-Clause */
/* A module that uses librmem: a call that fails leaves a sentence for its thread, which ends with that. */
#include "tests/foreign/plugin.h"

#include <rmem/rmem.h>

int plugin_open(void)
{
	struct rmem *rm;

	return rmem_open("", NULL, &rm);
}

const char *plugin_errmsg(void)
{
	return rmem_errmsg();
}
