/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/symbol.h"

#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/inlining.h"
#include "common/site_names.h"

_Static_assert(SYMBOL_NAMES_MAX <= INLINING_MAX, "room for what is inlined");

struct symbol_file {
	Dwfl *dwfl;
	Dwfl_Module *module;
	GElf_Addr bias; /* from link-time addresses to those that libdwfl made up */
	struct inlining inlining;
	char *path;
};

static pthread_mutex_t libdw_lock = PTHREAD_MUTEX_INITIALIZER;

/*
 * Separate debug information only where its build id says it must be. The standard search would
 * also ask debuginfod servers on the network, which is not for a library to do.
 */
static const Dwfl_Callbacks callbacks = {
	.find_elf = dwfl_build_id_find_elf,
	.find_debuginfo = dwfl_build_id_find_debuginfo,
	.section_address = dwfl_offline_section_address,
};

static int check_build_id(
	const struct symbol_file *f, const uint8_t *wanted, struct errinfo *errinfo)
{
	static const uint8_t none[BUILD_ID_SIZE];
	uint8_t found[BUILD_ID_SIZE] = { 0 };
	const unsigned char *bits = NULL;
	GElf_Addr addr;
	int n;

	n = dwfl_module_build_id(f->module, &bits, &addr);
	if (n > 0 && bits)
		memcpy(found, bits, n < BUILD_ID_SIZE ? (size_t)n : BUILD_ID_SIZE);
	if (memcmp(found, wanted ? wanted : none, BUILD_ID_SIZE) == 0)
		return 0;
	return errinfo_set(errinfo, -ESTALE, "%s is another build than the one that ran", f->path);
}

static int open_locked(
	struct symbol_file *f, int fd, const uint8_t *build_id, struct errinfo *errinfo)
{
	f->dwfl = dwfl_begin(&callbacks);
	if (f->dwfl) {
		dwfl_report_begin(f->dwfl);
		f->module = dwfl_report_offline(f->dwfl, f->path, f->path, fd);
	}
	if (!f->module) {
		close(fd);
		return errinfo_set(
			errinfo, f->dwfl ? -ENOEXEC : -ENOMEM, "%s: %s", f->path, dwfl_errmsg(-1));
	}
	/* From here on libdwfl owns fd. */
	dwfl_report_end(f->dwfl, NULL, NULL);
	if (!dwfl_module_getelf(f->module, &f->bias))
		return errinfo_set(errinfo, -ENOEXEC, "%s: %s", f->path, dwfl_errmsg(-1));
	return check_build_id(f, build_id, errinfo);
}

int symbol_open(const char *path, const uint8_t build_id[BUILD_ID_SIZE],
	const struct mapped_file *mapped, struct symbol_file **out, struct errinfo *errinfo)
{
	struct symbol_file *f;
	int fd, rc;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		rc = -errno;
		if (!path[0])
			return errinfo_set(errinfo, rc, "code outside any file");
		return errinfo_set(errinfo, rc, "%s: %s", path, errinfo_errno(-rc));
	}
	if (!build_id && !mapped_file_is(mapped, fd)) {
		close(fd);
		return errinfo_set(errinfo, -ESTALE,
			"%s has no build id, and was replaced since it was loaded", path);
	}
	f = calloc(1, sizeof(*f));
	if (f)
		f->path = strdup(path);
	if (!f || !f->path) {
		close(fd);
		free(f);
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	}
	pthread_mutex_lock(&libdw_lock);
	rc = open_locked(f, fd, build_id, errinfo);
	pthread_mutex_unlock(&libdw_lock);
	if (rc) {
		symbol_close(f);
		return rc;
	}
	*out = f;
	return 0;
}

void symbol_close(struct symbol_file *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&libdw_lock);
	inlining_clear(&f->inlining);
	if (f->dwfl)
		dwfl_end(f->dwfl);
	pthread_mutex_unlock(&libdw_lock);
	free(f->path);
	free(f);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void copy_text(char *out, size_t size, const char *text)
{
	size_t n = strnlen(text, size - 1);

	memcpy(out, text, n);
	memset(out + n, 0, size - n);
}

static void fill(struct site_name *out, const char *function, const char *file, int line)
{
	memset(out, 0, sizeof(*out));
	if (function)
		site_names_cut(out->function, sizeof(out->function), function);
	if (file)
		copy_text(out->file, sizeof(out->file), base_name(file));
	if (file && line > 0)
		out->line = (uint32_t)line;
}

/* Returns how many; 0: neither name nor line. */
static unsigned look_up(struct symbol_file *f, GElf_Addr addr, struct site_name *out)
{
	struct inlining_level levels[SYMBOL_NAMES_MAX] = { { .line = 0 } };
	const char *function = dwfl_module_addrname(f->module, addr);
	Dwfl_Line *line = dwfl_module_getsrc(f->module, addr);
	unsigned n = 0;
	Dwarf_Addr bias;
	const Dwarf_Die *unit = dwfl_module_addrdie(f->module, addr, &bias);

	if (unit)
		n = inlining_find(&f->inlining, unit, addr - bias, levels, SYMBOL_NAMES_MAX);
	if (line)
		levels[0].file = dwfl_lineinfo(line, NULL, &levels[0].line, NULL, NULL, NULL);
	if (n == 0 && (function || levels[0].file))
		n = 1;
	for (unsigned i = 0; i < n; i++) {
		fill(&out[i], i + 1 < n ? levels[i].name : function, levels[i].file,
			levels[i].line);
		out[i].inlined = i + 1 < n;
	}
	return n;
}

int symbol_lookup(struct symbol_file *f, uint64_t offset, struct site_name out[SYMBOL_NAMES_MAX],
	struct errinfo *errinfo)
{
	unsigned n;

	pthread_mutex_lock(&libdw_lock);
	n = look_up(f, offset + f->bias, out);
	pthread_mutex_unlock(&libdw_lock);
	if (n == 0)
		return errinfo_set(errinfo, -ENOENT, "%s has no symbol for 0x%llx", f->path,
			(unsigned long long)offset);
	return (int)n;
}
