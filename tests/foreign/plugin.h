/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RMEM_TESTS_FOREIGN_PLUGIN_H
#define RMEM_TESTS_FOREIGN_PLUGIN_H

#define PLUGIN_API __attribute__((visibility("default")))

/* Fails always: with -EINVAL, or earlier. */
PLUGIN_API int plugin_open(void);
PLUGIN_API const char *plugin_errmsg(void);

#endif
