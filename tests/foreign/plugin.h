/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RMEM_TESTS_FOREIGN_PLUGIN_H
#define RMEM_TESTS_FOREIGN_PLUGIN_H

#define PLUGIN_API __attribute__((visibility("default")))

/* Fails always: with -EINVAL, or earlier. */
PLUGIN_API int plugin_open(void);
PLUGIN_API const char *plugin_errmsg(void);

/* A session with memory; bytes that go there and come back; all of it given back. 0 or a negative errno. */
PLUGIN_API int plugin_begin(const char *server);
PLUGIN_API int plugin_copy(void);
PLUGIN_API int plugin_end(void);

#endif
