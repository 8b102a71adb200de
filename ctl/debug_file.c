/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/debug_file.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INSTALLED "/usr/lib/debug/.build-id/"

/* Of libdebuginfod, which is not needed to build or to run. */
struct debuginfod_client;
struct debuginfod {
	struct debuginfod_client *(*begin)(void);
	int (*find)(struct debuginfod_client *, const unsigned char *id, int bytes, char **path);
	void (*end)(struct debuginfod_client *);
};

/* Build ids are hashes of 8, 16 or 20 bytes; zeros follow. */
static unsigned id_length(const uint8_t build_id[BUILD_ID_SIZE])
{
	static const uint8_t none[BUILD_ID_SIZE];

	if (memcmp(build_id + 8, none, BUILD_ID_SIZE - 8) == 0)
		return 8;
	return memcmp(build_id + 16, none, BUILD_ID_SIZE - 16) == 0 ? 16 : BUILD_ID_SIZE;
}

void debug_file_installed(const uint8_t build_id[BUILD_ID_SIZE], char out[DEBUG_FILE_PATH_SIZE])
{
	const unsigned bytes = id_length(build_id);
	int n = snprintf(out, DEBUG_FILE_PATH_SIZE, INSTALLED "%02x/", build_id[0]);

	for (unsigned i = 1; i < bytes; i++)
		n += snprintf(out + n, 3, "%02x", build_id[i]);
	snprintf(out + n, DEBUG_FILE_PATH_SIZE - (size_t)n, ".debug");
}

static bool load(struct debuginfod *out)
{
	void *library = dlopen("libdebuginfod.so.1", RTLD_NOW);

	if (!library)
		return false;
	*(void **)&out->begin = dlsym(library, "debuginfod_begin");
	*(void **)&out->find = dlsym(library, "debuginfod_find_debuginfo");
	*(void **)&out->end = dlsym(library, "debuginfod_end");
	return out->begin && out->find && out->end;
}

int debug_file_fetch(const uint8_t build_id[BUILD_ID_SIZE])
{
	const char *urls = getenv("DEBUGINFOD_URLS");
	struct debuginfod_client *client;
	struct debuginfod lib;
	int fd;

	if (!urls || !urls[0] || !load(&lib))
		return -1;
	client = lib.begin();
	if (!client)
		return -1;
	fd = lib.find(client, build_id, (int)id_length(build_id), NULL);
	lib.end(client);
	return fd >= 0 ? fd : -1;
}
