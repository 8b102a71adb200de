/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * main() of a fuzz target without libFuzzer: every file named, or in a directory named, goes
 * through the target once. No file at all is a failure, lest an empty corpus pass as a tested one.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static int run_file(const char *path, size_t size)
{
	uint8_t *data = malloc(size ? size : 1);
	FILE *f = fopen(path, "rb");
	int ret = -1;

	if (data && f && fread(data, 1, size, f) == size) {
		LLVMFuzzerTestOneInput(data, size);
		ret = 0;
	} else {
		fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
	}
	if (f)
		fclose(f);
	free(data);
	return ret;
}

static int run_dir(const char *path, int *runs);

static int run_path(const char *path, int *runs)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	if (S_ISDIR(st.st_mode))
		return run_dir(path, runs);
	(*runs)++;
	return run_file(path, (size_t)st.st_size);
}

static int run_dir(const char *path, int *runs)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int ret = 0;

	if (!dir) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	while (ret == 0 && (entry = readdir(dir))) {
		char name[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		ret = run_path(name, runs);
	}
	closedir(dir);
	return ret;
}

int main(int argc, char **argv)
{
	int runs = 0;

	for (int i = 1; i < argc; i++) {
		if (run_path(argv[i], &runs) < 0)
			return 1;
	}
	printf("%d inputs\n", runs);
	return runs ? 0 : 1;
}
