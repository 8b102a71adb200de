/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/site.h"

#include <elf.h>
#include <inttypes.h>
#include <link.h>
#include <stdatomic.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>
#include <utlist.h>

#include "common/site_names.h"
#include "common/symbol.h"

#define OWN_FRAMES_MAX 8 /* between stack_capture() and the application */
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
	struct heap *heap;
	struct entry *buckets[BUCKETS]; /* open addressing, never more than half full */
	unsigned count;
	_Atomic uint64_t *version;
	unsigned long long unloads;        /* when the cache was last right */
	uint64_t quiet_until_ns, quiet_ns; /* the server refused a number; 0: not the last time */
	struct code *codes;                /* a text stays valid as long as the heap */
	unsigned ncodes;
};

/* A stack that is being unwound. */
struct walk {
	struct stack *stack;
	void *caller;
	unsigned own; /* frames of ours so far */
	bool found;   /* the caller's frame */
};

/*
 * Where is the return address stored that leads into this frame? On x86-64 it is below the frame that it was called
 * from; elsewhere it need not be in memory.
 */
static const void *const *place_of(struct _Unwind_Context *context, const void *address)
{
#ifdef __x86_64__
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): that is what the unwinder has */
	const void *const *place = (const void *const *)(_Unwind_GetCFA(context) - sizeof(void *));

	return *place == address ? place : NULL;
#else
	(void)context;
	(void)address;
	return NULL;
#endif
}

static _Unwind_Reason_Code visit_frame(struct _Unwind_Context *context, void *arg)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	void *address = (void *)_Unwind_GetIP(context);
	struct walk *w = arg;
	struct stack *s = w->stack;

	w->found |= address == w->caller;
	if (!w->found)
		return ++w->own > OWN_FRAMES_MAX ? _URC_END_OF_STACK : _URC_NO_REASON;
	if (!address)
		return _URC_NO_REASON;
	if (s->depth > 0 && s->depth <= STACK_PLACES)
		s->places[s->depth - 1] = place_of(context, address);
	s->addresses[s->depth++] = address;
	return s->depth == SITE_DEPTH_MAX ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static _Unwind_Reason_Code visit_none(struct _Unwind_Context *context, void *arg)
{
	(void)context;
	(void)arg;
	return _URC_END_OF_STACK;
}

void stack_prepare(void)
{
	_Unwind_Backtrace(visit_none, NULL);
}

static int count_unloads(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	*(unsigned long long *)arg = info->dlpi_subs;
	return 1;
}

void stack_capture(struct stack *out, void *caller)
{
	struct walk w = { .stack = out, .caller = caller, .found = !caller };

	*out = (struct stack){ 0 };
	_Unwind_Backtrace(visit_frame, &w);
	dl_iterate_phdr(count_unloads, &out->unloads);
	if (!w.found) /* the caller's frames cannot be unwound: its own address is what there is */
		out->addresses[out->depth++] = caller;
}

/* What dl_iterate_phdr looks for and finds. */
struct search {
	uintptr_t address;
	struct site_module *module;
	char path[PATH_MAX]; /* no memory is allocated with the loader's lock */
	uintptr_t bias;
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
static void module_path(const struct dl_phdr_info *info, char out[PATH_MAX])
{
	ssize_t n = 0;

	if (info->dlpi_name && info->dlpi_name[0])
		n = snprintf(out, PATH_MAX, "%s", info->dlpi_name);
	else
		n = readlink("/proc/self/exe", out, PATH_MAX - 1);
	/* A longer one could not have been opened. */
	out[n > 0 && n < PATH_MAX ? n : 0] = '\0';
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
	module_path(info, s->path);
	/* The end of a path says more than its beginning. */
	length = strlen(s->path);
	cut = length < sizeof(s->module->path) ? 0 : length - sizeof(s->module->path) + 1;
	memcpy(s->module->path, s->path + cut, length - cut + 1);
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
static unsigned known_module(
	const struct site_description *d, const struct site_module *m, uintptr_t bias)
{
	unsigned i;

	for (i = 0; i < d->request.nmodules; i++)
		if (d->files[i].bias == bias && strcmp(d->request.modules[i].path, m->path) == 0)
			break;
	return i;
}

/*
 * What stands in for a build id that a module does not have: it begins with zeros, which no build id does, and tells
 * versions of a file apart, so that one is not given the names of the other. All zero if nothing is known of the file.
 */
static void stand_in(struct site_module *m, const struct site_module_file *file)
{
	uint64_t hash = mapped_file_hash(&file->mapped);

	for (unsigned i = 0; i < sizeof(hash); i++)
		m->build_id[BUILD_ID_SIZE - 1 - i] = (uint8_t)(hash >> (8 * i));
}

static char *copy_text(struct heap *heap, const char *text)
{
	const size_t bytes = strlen(text) + 1;
	char *copy = heap_alloc(heap, bytes);

	return copy ? memcpy(copy, text, bytes) : NULL;
}

static void add_module(struct site_description *d, struct site_module *m, const struct search *s)
{
	static const uint8_t none[BUILD_ID_SIZE];
	struct site_module_file *file = &d->files[d->request.nmodules];

	file->path = s->found ? copy_text(d->heap, s->path) : NULL;
	file->bias = s->bias;
	file->no_build_id = memcmp(m->build_id, none, BUILD_ID_SIZE) == 0;
	if (file->no_build_id && file->path &&
		mapped_file_find(s->address, file->path, &file->mapped) == 0)
		stand_in(m, file);
	d->request.modules[d->request.nmodules++] = *m;
}

static void add_frame(struct site_description *d, void *address)
{
	struct site_frame *frame = &d->request.frames[d->request.nframes++];
	struct site_module module = { 0 };
	struct search s;
	unsigned m;

	/* The return address may belong to the next line, or even the next function. */
	s.address = (uintptr_t)address - 1;
	s.module = &module;
	s.bias = 0;
	s.found = false;
	dl_iterate_phdr(visit, &s);
	m = known_module(d, &module, s.bias);
	if (m == d->request.nmodules)
		add_module(d, &module, &s);
	frame->module = (uint8_t)m;
	frame->offset = s.address - s.bias;
}

struct site_description *site_describe(struct heap *heap, const struct stack *stack)
{
	struct site_description *d = heap_alloc(heap, sizeof(*d));

	if (!d)
		return NULL;
	d->heap = heap;
	for (unsigned i = 0; i < stack->depth; i++)
		add_frame(d, stack->addresses[i]);
	return d;
}

struct site_description *site_description_copy(struct heap *heap, const struct site_description *d)
{
	struct site_description *copy = heap_alloc(heap, sizeof(*copy));
	bool failed = false;

	if (!copy)
		return NULL;
	*copy = *d;
	copy->heap = heap;
	for (unsigned i = 0; i < d->request.nmodules; i++) {
		copy->files[i].path = d->files[i].path ? copy_text(heap, d->files[i].path) : NULL;
		failed |= d->files[i].path && !copy->files[i].path;
	}
	if (!failed)
		return copy;
	site_description_destroy(copy);
	return NULL;
}

void site_description_destroy(struct site_description *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < d->request.nmodules; i++)
		if (d->files[i].path)
			heap_free(d->heap, d->files[i].path, strlen(d->files[i].path) + 1);
	heap_free(d->heap, d, sizeof(*d));
}

struct sites *sites_create(struct heap *heap, _Atomic uint64_t *version)
{
	struct sites *s = heap_alloc(heap, sizeof(*s));

	if (s) {
		s->heap = heap;
		s->version = version;
	}
	return s;
}

static void forget_stacks(struct sites *s)
{
	atomic_fetch_add(s->version, 1);
	for (unsigned i = 0; i < BUCKETS; i++) {
		heap_free(s->heap, s->buckets[i], sizeof(*s->buckets[i]));
		s->buckets[i] = NULL;
	}
	s->count = 0;
}

void sites_clear(struct sites *s)
{
	forget_stacks(s);
	s->quiet_until_ns = 0;
	s->quiet_ns = 0;
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

bool sites_may_ask(const struct sites *s, uint64_t now_ns)
{
	return now_ns >= s->quiet_until_ns;
}

bool sites_find(struct sites *s, const struct stack *stack, uint64_t now_ns, struct site *out)
{
	struct entry **bucket;

	if (stack->unloads != s->unloads)
		forget_stacks(s);
	s->unloads = stack->unloads;
	bucket = bucket_of(s, stack);
	if (!*bucket || (!(*bucket)->site.number && sites_may_ask(s, now_ns)))
		return false;
	*out = (*bucket)->site;
	return true;
}

bool sites_add(struct sites *s, const struct stack *stack, struct site site)
{
	struct entry **bucket = bucket_of(s, stack);

	if (!*bucket && s->count == SITES_CACHED) {
		forget_stacks(s);
		bucket = bucket_of(s, stack);
	}
	if (!*bucket) {
		*bucket = heap_alloc(s->heap, sizeof(**bucket));
		if (!*bucket)
			return false;
		(*bucket)->stack = *stack;
		s->count++;
	}
	(*bucket)->site = site;
	if (site.number)
		s->quiet_ns = 0;
	return true;
}

void sites_refused(struct sites *s, uint64_t now_ns)
{
	s->quiet_ns = s->quiet_ns ? 2 * s->quiet_ns : SITES_QUIET_NS;
	if (s->quiet_ns > SITES_QUIET_MAX_NS)
		s->quiet_ns = SITES_QUIET_MAX_NS;
	s->quiet_until_ns = now_ns + s->quiet_ns;
}

bool sites_stack(const struct sites *s, uint32_t number, struct stack *out)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		if (s->buckets[i] && s->buckets[i]->site.number == number) {
			*out = s->buckets[i]->stack;
			return true;
		}
	return false;
}

int site_frame(const struct site_description *d, unsigned frame, char *out, size_t size)
{
	const char *path, *slash;

	if (frame >= d->request.nframes)
		return 0;
	path = d->files[d->request.frames[frame].module].path;
	if (!path || !*path)
		return 0;
	slash = strrchr(path, '/');
	return snprintf(out, size, "%.80s+0x%" PRIx64, slash ? slash + 1 : path,
		d->request.frames[frame].offset);
}

const char *sites_code(struct sites *s, const struct site_description *d)
{
	char text[CODE_SIZE];
	struct code *code;
	const int n = site_frame(d, 0, text, sizeof(text));

	if (n == 0)
		return NULL;
	LL_FOREACH (s->codes, code)
		if (strcmp(code->text, text) == 0)
			return code->text;
	if (s->ncodes >= SITE_CODES_MAX)
		return NULL;
	code = heap_alloc(s->heap, sizeof(*code) + (size_t)n + 1);
	if (!code)
		return NULL;
	memcpy(code->text, text, (size_t)n + 1);
	LL_PREPEND(s->codes, code);
	s->ncodes++;
	return code->text;
}

/* What is read to name the frames of a stack: by module. */
struct resolver {
	struct symbol_file *files[SITE_DEPTH_MAX];
	bool opened[SITE_DEPTH_MAX];
	int rc[SITE_DEPTH_MAX];
	struct errinfo errinfo[SITE_DEPTH_MAX];
};

static int open_symbols(const struct site_description *d, unsigned module, struct symbol_file **out,
	struct errinfo *errinfo)
{
	const struct site_module_file *file = &d->files[module];
	const char *path = file->path ? file->path : "";

	return symbol_open(path, file->no_build_id ? NULL : d->request.modules[module].build_id,
		&file->mapped, out, errinfo);
}

/* The names of a frame, or why it has none. Returns how many. */
static unsigned resolve_frame(
	const struct site_description *d, unsigned i, struct resolver *r, struct site_name *out)
{
	unsigned m = d->request.frames[i].module;
	int n;

	if (!r->opened[m])
		r->rc[m] = open_symbols(d, m, &r->files[m], &r->errinfo[m]);
	r->opened[m] = true;
	n = r->rc[m] ? r->rc[m]
		     : symbol_lookup(r->files[m], d->request.frames[i].offset, out, &r->errinfo[m]);
	if (n > 0)
		return (unsigned)n;
	memset(out, 0, sizeof(*out));
	snprintf(out->file, sizeof(out->file), "%.*s", (int)sizeof(out->file) - 1,
		r->errinfo[m].text);
	return 1;
}

/* There is room for a name for each frame still to come; what has none is left out, the innermost but the first. */
static void add_names(struct site_names_request *out, const struct site_name *names, unsigned n,
	unsigned frames_to_come)
{
	unsigned room = SITE_NAMES_MAX - out->nnames - frames_to_come;

	for (unsigned i = n > room ? n - room : 0; i < n; i++)
		out->names[out->nnames++] = names[i];
}

void site_resolve(const struct site_description *d, uint32_t number, struct site_names_request *out)
{
	struct site_name names[SYMBOL_NAMES_MAX];
	struct resolver *r = calloc(1, sizeof(*r));

	memset(out, 0, sizeof(*out));
	out->site = number;
	for (unsigned i = 0; r && i < d->request.nframes; i++) {
		unsigned n = resolve_frame(d, i, r, names);

		add_names(out, names, n, d->request.nframes - i - 1U);
	}
	for (unsigned m = 0; r && m < d->request.nmodules; m++)
		symbol_close(r->files[m]);
	free(r);
	site_names_fit(out);
}
