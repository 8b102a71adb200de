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
#include "ctl/debug_file.h"
#include "ctl/demangle.h"

/* Files that are open at once; the frames of further ones stay without names. */
#define FILES_MAX 32

struct module {
	const char *path; /* borrowed from the answer */
	uint8_t build_id[BUILD_ID_SIZE];
	struct symbol_file *file;    /* NULL: cannot be used */
	struct symbol_file *fetched; /* from a debuginfod server, or NULL */
	bool asked;
};

struct modules {
	struct module item[FILES_MAX];
	size_t n;
	struct demangler demangler;
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
static struct symbol_file *open_looked_at(int fd, const uint8_t build_id[BUILD_ID_SIZE])
{
	struct symbol_file *file = NULL;
	char self[32];

	if (fd < 0)
		return NULL;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (!trustworthy(fd) || symbol_open(self, build_id, NULL, &file, NULL) != 0)
		file = NULL;
	close(fd);
	return file;
}

/* The program itself, which libdw finds installed debug information for; or only that. */
static struct symbol_file *open_module(const char *path, const uint8_t build_id[BUILD_ID_SIZE])
{
	struct symbol_file *file = NULL;
	char installed[DEBUG_FILE_PATH_SIZE];

	if (path[0] == '/')
		file = open_looked_at(open(path, O_PATH | O_CLOEXEC), build_id);
	if (file)
		return file;
	debug_file_installed(build_id, installed);
	return open_looked_at(open(installed, O_PATH | O_CLOEXEC), build_id);
}

static struct module *find_module(
	struct modules *all, const char *path, const uint8_t build_id[BUILD_ID_SIZE])
{
	struct module *m;

	for (size_t i = 0; i < all->n; i++) {
		m = &all->item[i];
		if (strcmp(m->path, path) == 0 && memcmp(m->build_id, build_id, BUILD_ID_SIZE) == 0)
			return m;
	}
	if (all->n == FILES_MAX)
		return NULL;
	m = &all->item[all->n++];
	*m = (struct module){ .path = path };
	memcpy(m->build_id, build_id, BUILD_ID_SIZE);
	m->file = open_module(path, build_id);
	return m;
}

/* What is on this machine first; a server only for what that does not say. Returns how many, or 0. */
static int look_up(struct module *m, uint64_t offset, struct site_name names[SYMBOL_NAMES_MAX])
{
	struct site_name better[SYMBOL_NAMES_MAX];
	int n = m->file ? symbol_lookup(m->file, offset, names, NULL) : 0, more;

	if (n > 0 && names[0].line)
		return n;
	if (!m->asked)
		m->fetched = open_looked_at(debug_file_fetch(m->build_id), m->build_id);
	m->asked = true;
	more = m->fetched ? symbol_lookup(m->fetched, offset, better, NULL) : 0;
	if (more <= 0)
		return n > 0 ? n : 0;
	memcpy(names, better, (size_t)more * sizeof(better[0]));
	return more;
}

/* Without memory, or for a name that is not UTF-8, the frame stays as it was. */
static void set_name(json_t *frame, const struct site_name *name)
{
	if (json_object_set_new(frame, "function", json_string(name->function)) == 0 &&
		name->file[0]) {
		json_object_set_new(frame, "file", json_string(name->file));
		json_object_set_new(frame, "line", json_integer(name->line));
	}
}

/* Returns how many frames were put before it: those of functions that were inlined. */
static size_t resolve_frame(struct modules *all, json_t *stack, size_t at)
{
	json_t *frame = json_array_get(stack, at);
	const char *path = json_string_value(json_object_get(frame, "module"));
	const char *hex = json_string_value(json_object_get(frame, "build_id"));
	const char *offset_text = json_string_value(json_object_get(frame, "offset"));
	uint8_t build_id[BUILD_ID_SIZE];
	struct site_name names[SYMBOL_NAMES_MAX];
	struct module *module;
	uint64_t offset;
	size_t put = 0;
	int n;

	if (json_is_string(json_object_get(frame, "function")) || !path || !hex || !offset_text ||
		parse_build_id(hex, build_id) || parse_offset(offset_text, &offset))
		return 0;
	module = find_module(all, path, build_id);
	n = module ? look_up(module, offset, names) : 0;
	for (int i = 0; i < n; i++) {
		json_t *inlined = i + 1 < n ? json_copy(frame) : NULL;

		set_name(inlined ? inlined : frame, &names[i]);
		if (!inlined || json_object_set_new(inlined, "inlined", json_true()) != 0)
			json_decref(inlined);
		else if (json_array_insert_new(stack, at + put, inlined) == 0)
			put++;
	}
	return put;
}

static void demangle_frame(struct demangler *d, json_t *frame)
{
	const char *name = json_string_value(json_object_get(frame, "function"));
	char text[DEMANGLED_SIZE];

	if (name && demangle(d, name, text))
		json_object_set_new(frame, "function", json_string(text));
}

static void resolve_stack(struct modules *all, json_t *stack)
{
	json_t *frame;
	size_t i;

	for (i = 0; i < json_array_size(stack); i++)
		i += resolve_frame(all, stack, i);
	json_array_foreach(stack, i, frame) demangle_frame(&all->demangler, frame);
}

void names_resolve(json_t *answer)
{
	struct modules all = { .n = 0 };
	json_t *record;
	size_t i;

	resolve_stack(&all, json_object_get(answer, "stack"));
	json_array_foreach(json_object_get(answer, "records"), i, record)
		resolve_stack(&all, json_object_get(record, "stack"));
	json_array_foreach(json_object_get(answer, "lines"), i, record)
		resolve_stack(&all, json_object_get(record, "stack"));
	for (i = 0; i < all.n; i++) {
		symbol_close(all.item[i].file);
		symbol_close(all.item[i].fetched);
	}
	demangler_end(&all.demangler);
}
