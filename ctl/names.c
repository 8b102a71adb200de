/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/symbol.h"

/* Files that are open at once; the frames of further ones stay without names. */
#define FILES_MAX 32

struct module {
	const char *path; /* borrowed from the answer */
	uint8_t build_id[BUILD_ID_SIZE];
	struct symbol_file *file; /* NULL: cannot be used */
};

struct modules {
	struct module item[FILES_MAX];
	size_t n;
};

static int parse_build_id(const char *hex, uint8_t out[BUILD_ID_SIZE])
{
	uint8_t id[BUILD_ID_SIZE] = { 0 };
	size_t digits = strlen(hex);

	if (digits == 0 || digits > (size_t)2 * BUILD_ID_SIZE || digits % 2 ||
		strspn(hex, "0123456789abcdefABCDEF") != digits || strspn(hex, "0") == digits)
		return -EINVAL;
	for (size_t i = 0; i < digits / 2; i++) {
		const char byte[] = { hex[2 * i], hex[2 * i + 1], '\0' };

		id[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	memcpy(out, id, sizeof(id));
	return 0;
}

static int parse_offset(const char *text, uint64_t *out)
{
	char *end;

	if (strncmp(text, "0x", 2) != 0)
		return -EINVAL;
	errno = 0;
	*out = strtoull(text, &end, 16);
	return errno || *end || end == text + 2 ? -EINVAL : 0;
}

static bool trustworthy(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (st.st_uid == 0 || st.st_uid == geteuid());
}

/* Look first, then open what was looked at, not what the name may mean by then. */
static struct symbol_file *open_module(const char *path, const uint8_t build_id[BUILD_ID_SIZE])
{
	struct symbol_file *file = NULL;
	char self[32];
	int fd;

	if (path[0] != '/')
		return NULL;
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (!trustworthy(fd) || symbol_open(self, build_id, NULL, &file, NULL) != 0)
		file = NULL;
	close(fd);
	return file;
}

static struct symbol_file *find_module(
	struct modules *all, const char *path, const uint8_t build_id[BUILD_ID_SIZE])
{
	struct module *m;

	for (size_t i = 0; i < all->n; i++) {
		m = &all->item[i];
		if (strcmp(m->path, path) == 0 && memcmp(m->build_id, build_id, BUILD_ID_SIZE) == 0)
			return m->file;
	}
	if (all->n == FILES_MAX)
		return NULL;
	m = &all->item[all->n++];
	m->path = path;
	memcpy(m->build_id, build_id, BUILD_ID_SIZE);
	m->file = open_module(path, build_id);
	return m->file;
}

static void resolve_frame(struct modules *all, json_t *frame)
{
	const char *path = json_string_value(json_object_get(frame, "module"));
	const char *hex = json_string_value(json_object_get(frame, "build_id"));
	const char *offset_text = json_string_value(json_object_get(frame, "offset"));
	uint8_t build_id[BUILD_ID_SIZE];
	struct symbol_file *file;
	struct site_name name;
	uint64_t offset;

	if (json_is_string(json_object_get(frame, "function")) || !path || !hex || !offset_text ||
		parse_build_id(hex, build_id) || parse_offset(offset_text, &offset))
		return;
	file = find_module(all, path, build_id);
	if (!file || symbol_lookup(file, offset, &name, NULL) != 0)
		return;
	/* without memory, or for a name that is not UTF-8, the frame stays as it was */
	if (json_object_set_new(frame, "function", json_string(name.function)) == 0 &&
		name.file[0]) {
		json_object_set_new(frame, "file", json_string(name.file));
		json_object_set_new(frame, "line", json_integer(name.line));
	}
}

static void resolve_stack(struct modules *all, json_t *stack)
{
	json_t *frame;
	size_t i;

	json_array_foreach(stack, i, frame) resolve_frame(all, frame);
}

void names_resolve(json_t *answer)
{
	struct modules all = { .n = 0 };
	json_t *record;
	size_t i;

	resolve_stack(&all, json_object_get(answer, "stack"));
	json_array_foreach(json_object_get(answer, "records"), i, record)
		resolve_stack(&all, json_object_get(record, "stack"));
	for (i = 0; i < all.n; i++)
		symbol_close(all.item[i].file);
}
