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
	const struct symbol_file *f, const uint8_t wanted[BUILD_ID_SIZE], struct errinfo *errinfo)
{
	uint8_t found[BUILD_ID_SIZE] = { 0 };
	const unsigned char *bits = NULL;
	GElf_Addr addr;
	int n;

	n = dwfl_module_build_id(f->module, &bits, &addr);
	if (n > 0 && bits)
		memcpy(found, bits, n < BUILD_ID_SIZE ? (size_t)n : BUILD_ID_SIZE);
	if (memcmp(found, wanted, BUILD_ID_SIZE) == 0)
		return 0;
	return errinfo_set(errinfo, -ESTALE, "%s is another build than the one that ran", f->path);
}

static int open_locked(struct symbol_file *f, int fd, const uint8_t build_id[BUILD_ID_SIZE],
	struct errinfo *errinfo)
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

int symbol_open(const char *path, const uint8_t build_id[BUILD_ID_SIZE], struct symbol_file **out,
	struct errinfo *errinfo)
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

/* The function that the line of addr belongs to, which may be inlined in the one of the symbol table. */
static const char *find_function(struct symbol_file *f, GElf_Addr addr)
{
	Dwarf_Addr bias;
	const Dwarf_Die *unit = dwfl_module_addrdie(f->module, addr, &bias);
	const char *name = unit ? inlining_name(&f->inlining, unit, addr - bias) : NULL;

	return name ? name : dwfl_module_addrname(f->module, addr);
}

int symbol_lookup(
	struct symbol_file *f, uint64_t offset, struct site_name *out, struct errinfo *errinfo)
{
	GElf_Addr addr = offset + f->bias;
	struct site_name name = { 0 };
	const char *function, *file = NULL;
	Dwfl_Line *line;
	int number = 0;

	pthread_mutex_lock(&libdw_lock);
	function = find_function(f, addr);
	line = dwfl_module_getsrc(f->module, addr);
	if (line)
		file = dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL);
	if (function)
		copy_text(name.function, sizeof(name.function), function);
	if (file)
		copy_text(name.file, sizeof(name.file), base_name(file));
	if (file && number > 0)
		name.line = (uint32_t)number;
	pthread_mutex_unlock(&libdw_lock);
	if (!function && !file)
		return errinfo_set(errinfo, -ENOENT, "%s has no symbol for 0x%llx", f->path,
			(unsigned long long)offset);
	*out = name;
	return 0;
}
