/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/site.h"

#include <elf.h>
#include <execinfo.h>
#include <inttypes.h>
#include <link.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "common/symbol.h"

#define OWN_FRAMES_MAX 8 /* between backtrace() and the application */
#define CODE_SIZE 112
#define BUCKETS (SITES_CACHED * 2)

struct entry {
	struct stack stack;
	struct site site;
};

struct code {
	struct code *next;
	char text[];
};

struct sites {
	struct entry *buckets[BUCKETS]; /* open addressing, never more than half full */
	unsigned count;
	unsigned long long unloads; /* when the cache was last right */
	struct code *codes;         /* a text stays valid as long as the sites */
	unsigned ncodes;
};

void stack_prepare(void)
{
	void *frame;

	(void)backtrace(&frame, 1);
}

static int count_unloads(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(unsigned long long *)arg = info->dlpi_subs;
	return 1;
}

void stack_capture(struct stack *out, void *caller)
{
	void *frames[OWN_FRAMES_MAX + SITE_DEPTH_MAX];
	int n = backtrace(frames, OWN_FRAMES_MAX + SITE_DEPTH_MAX);
	int first = 0;

	while (first < n && frames[first] != caller)
		first++;
	out->depth = 0;
	out->unloads = 0;
	dl_iterate_phdr(count_unloads, &out->unloads);
	if (first == n) /* the caller's frames cannot be unwound: its own address is what we have */
		out->addresses[out->depth++] = caller;
	for (; first < n && out->depth < SITE_DEPTH_MAX; first++)
		if (frames[first])
			out->addresses[out->depth++] = frames[first];
}

/* What dl_iterate_phdr looks for and finds. */
struct search {
	uintptr_t address;
	struct site_module *module;
	char **path;
	uint64_t bias;
	bool found;
};

/* The GNU build id among the notes of a loaded segment. */
static void read_build_id(const uint8_t *notes, size_t size, uint8_t out[BUILD_ID_SIZE])
{
	while (size >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const void *)notes;
		size_t name = (note->n_namesz + 3UL) & ~3UL, desc = (note->n_descsz + 3UL) & ~3UL;
		size_t all = sizeof(*note) + name + desc;

		if (all > size)
			return;
		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
			memcmp(notes + sizeof(*note), "GNU", 4) == 0) {
			memcpy(out, notes + sizeof(*note) + name,
				note->n_descsz < BUILD_ID_SIZE ? note->n_descsz : BUILD_ID_SIZE);
			return;
		}
		notes += all;
		size -= all;
	}
}

/* Is that range, of at least one byte, inside one loaded segment? */
static bool covers(const struct dl_phdr_info *info, uintptr_t address, size_t size)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t offset = address - (info->dlpi_addr + p->p_vaddr);

		if (p->p_type == PT_LOAD && offset < p->p_memsz && size <= p->p_memsz - offset)
			return true;
	}
	return false;
}

/* The main program has no name of its own. */
static char *module_path(const struct dl_phdr_info *info)
{
	char path[PATH_MAX];
	ssize_t n;

	if (info->dlpi_name && info->dlpi_name[0])
		return strdup(info->dlpi_name);
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return strdup(path);
}

static int visit(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *s = arg;
	size_t length, cut;

	(void)size;
	if (!covers(info, s->address, 1))
		return 0;
	s->found = true;
	s->bias = info->dlpi_addr;
	*s->path = module_path(info);
	if (*s->path) {
		/* The end of a path says more than its beginning. */
		length = strlen(*s->path);
		cut = length < sizeof(s->module->path) ? 0 : length - sizeof(s->module->path) + 1;
		memcpy(s->module->path, *s->path + cut, length - cut + 1);
	}
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t notes = info->dlpi_addr + p->p_vaddr;

		/* Notes need not be loaded; then there is nothing at that address, or something else. */
		if (p->p_type == PT_NOTE && covers(info, notes, p->p_memsz))
			read_build_id((const uint8_t *)notes, p->p_memsz, s->module->build_id);
	}
	return 1;
}

/* Index of a module that is in the list already, or the number of modules. */
static unsigned known_module(const struct site_description *d, const struct site_module *m)
{
	unsigned i;

	for (i = 0; i < d->request.nmodules; i++)
		if (memcmp(&d->request.modules[i], m, sizeof(*m)) == 0)
			break;
	return i;
}

struct site_description *site_describe(const struct stack *stack)
{
	struct site_description *d = calloc(1, sizeof(*d));

	for (unsigned i = 0; d && i < stack->depth; i++) {
		struct site_module module = { 0 };
		char *path = NULL;
		/* The return address may belong to the next line, or even the next function. */
		struct search s = {
			.address = (uintptr_t)stack->addresses[i] - 1,
			.module = &module,
			.path = &path,
		};
		unsigned m;

		dl_iterate_phdr(visit, &s);
		m = known_module(d, &module);
		if (m == d->request.nmodules) {
			d->request.modules[m] = module;
			d->paths[m] = path;
			d->request.nmodules++;
		} else {
			free(path);
		}
		d->request.frames[i].module = (uint8_t)m;
		d->request.frames[i].offset = s.address - s.bias;
		d->request.nframes++;
	}
	return d;
}

void site_description_destroy(struct site_description *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < SITE_DEPTH_MAX; i++)
		free(d->paths[i]);
	free(d);
}

struct sites *sites_create(void)
{
	return calloc(1, sizeof(struct sites));
}

void sites_clear(struct sites *s)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		free(s->buckets[i]);
		s->buckets[i] = NULL;
	}
	s->count = 0;
}

void sites_destroy(struct sites *s)
{
	struct code *code, *next;

	if (!s)
		return;
	sites_clear(s);
	LL_FOREACH_SAFE (s->codes, code, next)
		free(code);
	free(s);
}

static bool same_stack(const struct stack *a, const struct stack *b)
{
	return a->depth == b->depth &&
	       memcmp(a->addresses, b->addresses, a->depth * sizeof(*a->addresses)) == 0;
}

/* The bucket that holds the stack, or the empty one where it belongs. */
static struct entry **bucket_of(struct sites *s, const struct stack *stack)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	unsigned i;

	for (i = 0; i < stack->depth; i++)
		hash = (hash ^ (uintptr_t)stack->addresses[i]) * 0x9e3779b97f4a7c15ULL;
	for (i = (unsigned)(hash >> 40) % BUCKETS; s->buckets[i]; i = (i + 1) % BUCKETS)
		if (same_stack(&s->buckets[i]->stack, stack))
			break;
	return &s->buckets[i];
}

bool sites_find(struct sites *s, const struct stack *stack, struct site *out)
{
	struct entry **bucket;

	if (stack->unloads != s->unloads)
		sites_clear(s);
	s->unloads = stack->unloads;
	bucket = bucket_of(s, stack);
	if (!*bucket)
		return false;
	*out = (*bucket)->site;
	return true;
}

bool sites_add(struct sites *s, const struct stack *stack, struct site site)
{
	struct entry **bucket = bucket_of(s, stack);

	if (*bucket || s->count >= SITES_CACHED)
		return false;
	*bucket = malloc(sizeof(**bucket));
	if (!*bucket)
		return false;
	(*bucket)->stack = *stack;
	(*bucket)->site = site;
	s->count++;
	return true;
}

const char *sites_code(struct sites *s, const struct site_description *d)
{
	const char *path = d->paths[0] ? d->paths[0] : "", *slash = strrchr(path, '/');
	char text[CODE_SIZE];
	struct code *code;
	int n;

	if (!d->request.nframes || !*path)
		return NULL;
	n = snprintf(text, sizeof(text), "%.80s+0x%" PRIx64, slash ? slash + 1 : path,
		d->request.frames[0].offset);
	LL_FOREACH (s->codes, code)
		if (strcmp(code->text, text) == 0)
			return code->text;
	if (s->ncodes >= SITES_CACHED)
		return NULL;
	code = malloc(sizeof(*code) + (size_t)n + 1);
	if (!code)
		return NULL;
	memcpy(code->text, text, (size_t)n + 1);
	LL_PREPEND(s->codes, code);
	s->ncodes++;
	return code->text;
}

void site_resolve(const struct site_description *d, uint32_t number, struct site_names_request *out)
{
	memset(out, 0, sizeof(*out));
	out->site = number;
	out->nnames = d->request.nframes;
	for (unsigned m = 0; m < d->request.nmodules; m++) {
		struct symbol_file *file = NULL;
		struct errinfo errinfo = { "" };
		int rc;

		rc = symbol_open(d->paths[m] ? d->paths[m] : "", d->request.modules[m].build_id,
			&file, &errinfo);
		for (unsigned i = 0; i < d->request.nframes; i++) {
			struct site_name *name = &out->names[i];

			if (d->request.frames[i].module != m)
				continue;
			if (rc || symbol_lookup(file, d->request.frames[i].offset, name, &errinfo))
				snprintf(name->file, sizeof(name->file), "%.*s",
					(int)sizeof(name->file) - 1, errinfo.text);
		}
		symbol_close(file);
	}
}
