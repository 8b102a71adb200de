/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEPTH 24
#define FRAME_MAX (1UL << 20) /* bytes */
#define BUCKETS 4096
#define NODES 65536

struct range {
	uintptr_t start, end, base;
	const char *name;
};

static struct fault_plan *plan;
static struct range owner, program; /* whose calls count, and who calls it */

/* ---- who calls ---- */

static int look_at_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char *wanted = arg;
	bool is_program = info->dlpi_name[0] == '\0';
	struct range r = { .start = UINTPTR_MAX, .base = info->dlpi_addr };

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type != PT_LOAD)
			continue;
		if (start < r.start)
			r.start = start;
		if (start + info->dlpi_phdr[i].p_memsz > r.end)
			r.end = start + info->dlpi_phdr[i].p_memsz;
	}
	r.name = is_program ? "program" : wanted;
	if (is_program)
		program = r;
	if (*wanted ? strstr(info->dlpi_name, wanted) != NULL : is_program)
		owner = r;
	return 0;
}

static const struct range *range_of(const void *address)
{
	uintptr_t a = (uintptr_t)address;

	if (a >= owner.start && a < owner.end)
		return &owner;
	return a >= program.start && a < program.end ? &program : NULL;
}

bool fault_is_ours(struct origin origin)
{
	return plan && range_of(origin.address) == &owner;
}

/* Our own code keeps frame pointers; behind the first frame that is not ours nothing is known. */
static int walk(struct origin origin, void *stack[DEPTH])
{
	void **frame = origin.frame;
	int n = 0;

	while (n < DEPTH) {
		void *address = frame[1], **next = frame[0];

		if (!range_of(address))
			break;
		stack[n++] = address;
		if (next <= frame || (uintptr_t)next - (uintptr_t)frame > FRAME_MAX ||
			(uintptr_t)next % sizeof(void *))
			break;
		frame = next;
	}
	return n;
}

static size_t print_place(char *out, size_t size, const void *address)
{
	const struct range *r = range_of(address);
	int n = snprintf(out, size, " %s+0x%lx", r ? r->name : "?",
		(unsigned long)((uintptr_t)address - (r ? r->base : 0)));

	return n < 0 ? 0 : (size_t)n >= size ? size - 1 : (size_t)n;
}

/* ---- the call that fails ---- */

/* A number for a stack that is the same in every run; never 0. */
static uint32_t place_of(struct origin origin)
{
	uint32_t hash = 2166136261U;
	void *stack[DEPTH];
	int n = walk(origin, stack), depth = (int)atomic_load(&plan->depth);

	for (int i = 0; i < (depth && depth < n ? depth : n) && range_of(stack[i]) == &owner; i++)
		hash = (hash ^ (uint32_t)((uintptr_t)stack[i] - range_of(stack[i])->base)) *
		       16777619U;
	return hash ? hash : 1;
}

static void tell_where(struct origin origin)
{
	void *stack[DEPTH];
	int n = walk(origin, stack);
	size_t used = 0;

	for (int i = 0; i < n; i++)
		used += print_place(plan->where + used, sizeof(plan->where) - used, stack[i]);
}

/* Is it the first call from a place where one is to fail? */
static bool hits_target(uint32_t place)
{
	for (uint32_t i = 0; i < plan->ntargets; i++)
		if (plan->targets[i] == place)
			return atomic_exchange(&plan->hit[i], 1) == 0;
	return false;
}

bool fault_hit(enum fault_kind kind, struct origin origin)
{
	uint64_t number, nth;
	uint32_t place;

	if (!fault_is_ours(origin) || atomic_load(&plan->paused))
		return false;
	number = atomic_fetch_add(&plan->counts[kind], 1) + 1 - atomic_load(&plan->base[kind]);
	place = place_of(origin);
	if (number - 1 < FAULT_POINTS)
		atomic_store(&plan->points[kind][number - 1], place);
	if (atomic_load(&plan->kind) != kind)
		return false;
	nth = atomic_load(&plan->nth);
	if (nth ? nth != number : !hits_target(place))
		return false;
	tell_where(origin);
	atomic_fetch_add(&plan->fired, 1);
	return true;
}

bool fault_hit_object(enum fault_kind kind, struct origin origin, const void *object)
{
	if (plan && object && atomic_load(&plan->stuck) == (uintptr_t)object)
		return true;
	if (!fault_hit(kind, origin))
		return false;
	if (atomic_load(&plan->sticks))
		atomic_store(&plan->stuck, (uintptr_t)object);
	return true;
}

void *fault_real(_Atomic(void *) *cache, const char *name)
{
	void *f = atomic_load_explicit(cache, memory_order_acquire);

	if (!f) {
		f = dlsym(RTLD_NEXT, name);
		if (!f)
			abort();
		atomic_store_explicit(cache, f, memory_order_release);
	}
	return f;
}

/* ---- what is alive ---- */

struct node {
	struct node *next;
	const void *key;
	enum fault_object object;
	void *site;
};

static struct node nodes[NODES], *free_nodes, *buckets[BUCKETS];
static size_t used_nodes;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void lock(void)
{
	while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
		sched_yield();
}

static void unlock(void)
{
	atomic_flag_clear_explicit(&busy, memory_order_release);
}

static struct node **bucket_of(const void *key)
{
	uint64_t h = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15ULL;

	return &buckets[h >> 32 & (BUCKETS - 1)];
}

void fault_created(enum fault_object object, const void *key, struct origin origin)
{
	struct node *node, **bucket = bucket_of(key);

	if (!key || !fault_is_ours(origin))
		return;
	lock();
	node = free_nodes;
	if (node)
		free_nodes = node->next;
	else if (used_nodes < NODES)
		node = &nodes[used_nodes++];
	if (!node)
		abort();
	*node = (struct node){ *bucket, key, object, origin.address };
	*bucket = node;
	unlock();
	atomic_fetch_add(&plan->live[object], 1);
}

void fault_destroyed(enum fault_object object, const void *key)
{
	if (!plan || !key)
		return;
	lock();
	for (struct node **p = bucket_of(key); *p; p = &(*p)->next) {
		struct node *node = *p;

		if (node->key != key || node->object != object)
			continue;
		*p = node->next;
		node->next = free_nodes;
		free_nodes = node;
		atomic_fetch_sub(&plan->live[object], 1);
		break;
	}
	unlock();
}

void fault_unacknowledged(int n)
{
	if (plan)
		atomic_fetch_add(&plan->unacknowledged, n);
}

/* ---- begin and end ---- */

/* Where does this thread hang, or crash? A crash goes on to be one. */
static void tell_stack(int number)
{
	void *stack[64];

	(void)number;
	backtrace_symbols_fd(stack, backtrace(stack, 64), STDERR_FILENO);
}

__attribute__((constructor)) static void begin(void)
{
	const char *file = getenv(FAULT_FILE), *name = getenv(FAULT_OWNER);
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
	void *stack[4], *p;
	int fd;

	if (!file || !name)
		return;
	fd = open(file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return;
	dl_iterate_phdr(look_at_object, (void *)(uintptr_t)name);
	backtrace(stack, 4); /* loads what it needs */
	sigaction(SIGUSR2, &(struct sigaction){ .sa_handler = tell_stack }, NULL);
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		sigaction(crashes[i],
			&(struct sigaction){ .sa_handler = tell_stack, .sa_flags = SA_RESETHAND },
			NULL);
	plan = p;
}

__attribute__((destructor)) static void end(void)
{
	size_t used = 0;

	if (!plan)
		return;
	lock();
	for (size_t i = 0; i < BUCKETS; i++) {
		for (const struct node *n = buckets[i]; n; n = n->next) {
			int len = snprintf(plan->leaks + used, sizeof(plan->leaks) - used,
				" %s:", fault_object_names[n->object]);

			if (len < 0 || used + (size_t)len + 32 >= sizeof(plan->leaks))
				break;
			used += (size_t)len;
			used += print_place(
				plan->leaks + used, sizeof(plan->leaks) - used, n->site);
		}
	}
	unlock();
}
