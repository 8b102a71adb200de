/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/cgroup.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_u64(const char *text, uint64_t *out)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || text[0] == '-')
		return false;
	*out = value;
	return true;
}

/* The number after key in the first line that starts with key. false: "max", or no such file or line. */
static bool read_value(const char *dir, const char *file, const char *key, uint64_t *out)
{
	char path[PATH_MAX], line[128];
	bool found = false;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return false;
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f))
		found = strncmp(line, key, strlen(key)) == 0 && parse_u64(line + strlen(key), out);
	fclose(f);
	return found;
}

static uint64_t free_bytes_here(const char *dir)
{
	uint64_t max, used, active = 0, inactive = 0, cache;

	if (!read_value(dir, "memory.max", "", &max) ||
		!read_value(dir, "memory.current", "", &used))
		return CGROUP_NO_LIMIT;
	(void)read_value(dir, "memory.stat", "active_file ", &active);
	(void)read_value(dir, "memory.stat", "inactive_file ", &inactive);
	cache = active + inactive;
	used -= cache < used ? cache : used;
	return used < max ? max - used : 0;
}

uint64_t cgroup_free_bytes_of(const char *root, const char *group)
{
	uint64_t least = CGROUP_NO_LIMIT;
	size_t root_length = strlen(root);
	char dir[PATH_MAX];

	if (group[0] != '/' || snprintf(dir, sizeof(dir), "%s%s", root, group) >= (int)sizeof(dir))
		return CGROUP_NO_LIMIT;
	for (;;) {
		uint64_t here = free_bytes_here(dir);
		char *slash = strrchr(dir, '/');

		least = here < least ? here : least;
		if (!slash || slash < dir + root_length)
			return least;
		*slash = '\0';
	}
}

uint64_t cgroup_free_bytes(void)
{
	uint64_t least = CGROUP_NO_LIMIT;
	char line[PATH_MAX];
	FILE *f = fopen("/proc/self/cgroup", "re");

	if (!f)
		return CGROUP_NO_LIMIT;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "0::", 3) != 0) /* a version 1 hierarchy */
			continue;
		line[strcspn(line, "\n")] = '\0';
		least = cgroup_free_bytes_of(CGROUP_ROOT, line + 3);
	}
	fclose(f);
	return least;
}
