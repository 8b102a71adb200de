/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The public calls that need the server, open and close: arguments in, the session's work, an errno and a sentence
 * out.
 */
#include "rmem/rmem.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/api/placement.h"
#include "client/api/queues.h"
#include "client/base/mark.h"
#include "client/control/connection.h"
#include "client/control/registry.h"
#include "client/control/release.h"
#include "client/control/request.h"
#include "client/data/fastpath.h"
#include "client/space/access.h"
#include "client/space/checking.h"
#include "client/space/memory.h"
#include "client/space/sharing.h"
#include "client/space/objects.h"
#include "common/clock.h"
#include "common/identity.h"
#include "common/log.h"

#define OPEN_ATTR_V1_SIZE (offsetof(struct rmem_open_attr, channels) + sizeof(int))
#define ALLOC_ATTR_V1_SIZE (offsetof(struct rmem_alloc_attr, flags) + sizeof(uint32_t))
#define TIMEOUT_DEFAULT_MS 3000
#define CHANNELS_DEFAULT 8
#define CHANNELS_MAX 32 /* and as many for queues: what a server gives one session */
#define NAMES_LIMIT_NS (3 * NSEC_PER_SEC) /* that rmem_close() waits for call sites' names */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare_once(void)
{
	const char *level = secure_getenv("RMEM_LOG");
	enum log_level threshold;

	/* Another way to make a child leaves it the sign: then rmemd goes by other evidence. */
	pthread_atfork(NULL, NULL, marks_forked);
	if (level && log_parse_level(level, &threshold) == 0)
		log_init("librmem", threshold);
}

static int read_journal(struct rmem_open_attr *out, struct errinfo *errinfo)
{
	const char *asked = out->journal ? NULL : secure_getenv("RMEM_JOURNAL");

	if (out->journal > RMEM_JOURNAL_EXACT)
		return errinfo_set(errinfo, -EINVAL, "there is no journal mode %u", out->journal);
	if (!out->journal)
		out->journal = asked && strcmp(asked, "exact") == 0 ? RMEM_JOURNAL_EXACT
								    : RMEM_JOURNAL_LAZY;
	if (asked && *asked && strcmp(asked, "exact") != 0 && strcmp(asked, "lazy") != 0)
		return errinfo_set(errinfo, -EINVAL,
			"$RMEM_JOURNAL is \"%.40s\": it can be \"lazy\" or \"exact\"", asked);
	return call_check_flags(out->flags, RMEM_OPEN_NO_SITES, errinfo);
}

/* The program's attr, or the defaults, all set. */
static int read_attr(
	const struct rmem_open_attr *attr, struct rmem_open_attr *out, struct errinfo *errinfo)
{
	int rc;

	*out = (struct rmem_open_attr)RMEM_OPEN_ATTR_INIT;
	rc = attr ? call_copy_attr(out, sizeof(*out), attr, OPEN_ATTR_V1_SIZE, errinfo) : 0;
	if (rc)
		return rc;
	if (out->timeout_ms < 0)
		return errinfo_set(errinfo, -EINVAL, "timeout_ms is negative");
	if (out->channels < 0 || out->channels > CHANNELS_MAX)
		return errinfo_set(errinfo, -EINVAL, "%d channels: 1 to %d can be had, 0 means %d",
			out->channels, CHANNELS_MAX, CHANNELS_DEFAULT);
	rc = read_journal(out, errinfo);
	if (rc)
		return rc;
	if (!out->timeout_ms)
		out->timeout_ms = TIMEOUT_DEFAULT_MS;
	if (!out->channels)
		out->channels = CHANNELS_DEFAULT;
	return 0;
}

static int configure(struct rmem *rm, const char *server, const struct rmem_open_attr *attr,
	struct errinfo *errinfo)
{
	struct session *s = &rm->session;
	struct rmem_open_attr a;
	int rc = read_attr(attr, &a, errinfo);

	if (rc)
		return rc;
	thread_channels_init(&rm->channels, s, (unsigned)a.channels);
	slab_thread_init(&rm->slab_thread, s, &rm->channels);
	s->exact = a.journal == RMEM_JOURNAL_EXACT;
	rm->no_sites = a.flags & RMEM_OPEN_NO_SITES;
	rc = checking_open(rm, secure_getenv("RMEM_CHECK"), errinfo);
	if (rc)
		return rc;
	s->timeout_ns = (uint64_t)a.timeout_ms * NSEC_PER_MSEC;
	if (server && !*server)
		return errinfo_set(errinfo, -EINVAL,
			"the server's name is empty: NULL means $RMEM_SERVER, else this machine");
	rc = target_parse(server ? server : secure_getenv("RMEM_SERVER"), &s->target, errinfo);
	if (rc)
		return rc;
	if (a.device) {
		s->device = strdup(a.device);
		if (!s->device)
			return errinfo_set(errinfo, -ENOMEM, "out of memory");
	}
	identity_self(&s->identity, a.job);
	mark_show(&s->mark);
	s->identity.mark = s->mark.number;
	s->identity.mark_place = s->mark.place;
	return 0;
}

/* Say goodbye, if the server knows us. */
static int say_goodbye(struct rmem *rm, uint64_t deadline_ns, struct errinfo *errinfo)
{
	struct session *s = &rm->session;
	int rc = 0;

	if (s->resumable)
		rc = control_call(s,
			&(struct control_call){ .type = MESSAGE_BYE, .deadline_ns = deadline_ns },
			errinfo);
	/* The server knows no such session: most likely it ended it, and only the answer was lost. */
	return rc == -ESTALE ? 0 : rc;
}

/* What nobody holds goes back, and the server gets to know what the rest is. It finds out the hard way if this fails. */
static void leave_slabs(struct rmem *rm, uint64_t deadline_ns)
{
	struct errinfo errinfo = { "" };
	uint64_t now;
	int rc = 0;

	if (!rm->slab_thread.was_started || !rm->session.resumable)
		return;
	now = clock_boot_ns();
	checking_drain(rm, deadline_ns > now ? now + (deadline_ns - now) / 2 : now);
	thread_channels_drain(&rm->channels);
	rc = slab_thread_give_back(&rm->slab_thread, true, deadline_ns, &errinfo);
	if (rc == 0)
		rc = slab_thread_flush(&rm->slab_thread, deadline_ns, &errinfo);
	if (rc)
		log_info("slabs: %s", errinfo.text);
}

/*
 * Until the deadline: half of the time for operations that are outstanding, half of what is left for names, so that
 * there is time for the goodbye.
 */
static int teardown(struct rmem *rm, uint64_t deadline, struct errinfo *errinfo)
{
	uint64_t now = clock_boot_ns(), one = 1, names;
	struct session *s = &rm->session;
	int rc;

	atomic_store(&s->closing_ns, deadline);
	queues_destroy(rm, deadline > now ? now + (deadline - now) / 2 : now);
	now = clock_boot_ns();
	names = deadline > now ? (deadline - now) / 2 : 0;
	symbolizer_stop(&rm->symbolizer, now + (names < NAMES_LIMIT_NS ? names : NAMES_LIMIT_NS));
	if (write(s->cancel_fd, &one, sizeof(one)) < 0)
		log_debug("eventfd: %s", errinfo_errno(errno));
	slab_thread_stop(&rm->slab_thread);
	lease_thread_stop(&rm->lease_thread);
	/* From here on we are alone, and may wait for the server again. */
	while (read(s->cancel_fd, &one, sizeof(one)) > 0)
		;
	leave_slabs(rm, deadline);
	rc = say_goodbye(rm, deadline, errinfo);
	checking_close(rm);
	slab_thread_destroy(&rm->slab_thread);
	thread_channels_destroy(&rm->channels);
	session_disconnect(s);
	registry_clear(s);
	session_destroy(s);
	pthread_mutex_destroy(&rm->queues_lock);
	heap_destroy(s->heap);
	return rc;
}

/* Memory for a session, on the heap that goes with it. */
static struct rmem *make(void)
{
	struct heap *heap = heap_create();
	struct rmem *rm = heap ? heap_alloc(heap, sizeof(*rm)) : NULL;

	if (rm) {
		rm->session.heap = heap;
		rm->sites = sites_create(heap, &rm->session.numbering);
	}
	if (rm && rm->sites)
		return rm;
	heap_destroy(heap);
	return NULL;
}

RMEM_API int rmem_open(const char *server, const struct rmem_open_attr *attr, struct rmem **out)
{
	uint64_t deadline = clock_boot_ns();
	struct errinfo errinfo = { "" };
	struct rmem *rm = NULL;
	int rc;

	pthread_once(&once, prepare_once);
	stack_prepare();
	if (!out)
		return call_done(
			errinfo_set(&errinfo, -EINVAL, "out is NULL"), "rmem_open", &errinfo);
	rc = call_check_fork(&errinfo);
	if (rc)
		return call_done(rc, "rmem_open", &errinfo);
	rm = make();
	if (!rm)
		return call_done(-ENOMEM, "rmem_open", &errinfo);
	pthread_mutex_init(&rm->queues_lock, NULL);
	rm->queues_fd = -1;
	rc = session_init(&rm->session, &errinfo);
	if (rc == 0)
		rc = configure(rm, server, attr, &errinfo);
	deadline += rm->session.timeout_ns;
	if (rc == 0)
		rc = connection_open(&rm->session, deadline, &errinfo);
	if (rc == 0)
		rc = lease_thread_start(&rm->lease_thread, &rm->session, &errinfo);
	if (rc == 0)
		rc = symbolizer_start(&rm->symbolizer, &rm->session, &errinfo);
	if (rc) {
		struct errinfo ignored = { "" };

		teardown(rm, deadline, &ignored);
		return call_done(rc, "rmem_open", &errinfo);
	}
	*out = rm;
	return 0;
}

RMEM_API int rmem_close(struct rmem *rm)
{
	struct errinfo errinfo = { "" };

	if (!rm)
		return 0;
	if (!call_is_ours(rm)) {
		queues_abandon(rm);
		session_abandon(&rm->session);
		heap_destroy(rm->session.heap);
		return 0;
	}
	return call_done(teardown(rm, call_deadline(rm), &errinfo), "rmem_close", &errinfo);
}

/* What rmem_alloc() is asked for, and from where. */
struct alloc_call {
	size_t bytes;
	struct rmem_alloc_attr attr;
	struct placement placement;
	void *caller, *frame;
};

static int read_alloc_attr(
	const struct rmem_alloc_attr *attr, struct alloc_call *call, struct errinfo *errinfo)
{
	struct rmem_alloc_attr *a = &call->attr;
	int rc = attr ? call_copy_attr(a, sizeof(*a), attr, ALLOC_ATTR_V1_SIZE, errinfo) : 0;

	if (rc == 0)
		rc = call_check_flags(a->flags, RMEM_ALLOC_ZERO | RMEM_ALLOC_ISOLATED, errinfo);
	if (rc)
		return rc;
	if (call->bytes == 0)
		return errinfo_set(
			errinfo, -EINVAL, "an allocation of 0 bytes: ask for at least 1");
	if (a->align_bytes > OBJECT_ALIGN_MAX || (a->align_bytes & (a->align_bytes - 1)))
		return errinfo_set(errinfo, -EINVAL,
			"an alignment to %" PRIu64 " bytes: it can be a power of 2 up to %u",
			a->align_bytes, OBJECT_ALIGN_MAX);
	return 0;
}

static inline uint64_t numbering(const struct rmem *rm)
{
	return atomic_load_explicit(&rm->session.numbering, memory_order_relaxed);
}

/* The number of the stack that calls, from the thread's memory or by unwinding it. */
static __attribute__((noinline)) int find_site(struct rmem *rm, const struct alloc_call *call,
	uint64_t version, uint64_t deadline_ns, uint32_t *out, struct errinfo *errinfo)
{
	struct site_cache *cache = thread_channels_sites_now(&rm->channels);
	struct stack stack;
	int rc;

	if (cache && site_cache_find(cache, call->caller, call->frame, version, out))
		return 0;
	stack_capture(&stack, call->caller);
	rc = memory_site(rm, &stack, deadline_ns, out, errinfo);
	if (rc == 0 && cache)
		site_cache_note(cache, call->caller, call->frame, version, &stack, *out);
	return rc;
}

/* The site of the call and a slot, of one session: between the two, the server may have reclaimed the one before. */
static int take_object(struct rmem *rm, const struct alloc_call *call, uint64_t deadline_ns,
	struct object_wish *wish, slab_item *out, struct errinfo *errinfo)
{
	uint64_t version;
	int rc = 0;

	for (;;) {
		version = numbering(rm);
		if (!rm->no_sites)
			rc = find_site(rm, call, version, deadline_ns, &wish->site, errinfo);
		if (rc == 0)
			rc = objects_take(rm, wish->size_class, deadline_ns, out, errinfo);
		if (rc || numbering(rm) == version)
			return rc;
		objects_put_back(rm, *out);
	}
}

static void hand_out(
	struct rmem *rm, slab_item item, const struct object_wish *wish, struct object *out)
{
	const bool checked = checking_is_full(rm);
	const bool clean = !checked || checking_reuse(rm, item, wish->caller);

	objects_hand_out(rm, item, wish, out);
	if (checked)
		checking_guard(rm, out->slab, slab_item_slot(item));
	out->zero &= clean;
}

static int alloc_object_once(struct rmem *rm, const struct alloc_call *call, unsigned size_class,
	rmem_addr_t *out, struct errinfo *errinfo)
{
	const uint64_t deadline_ns = call_deadline(rm);
	struct object_wish wish = {
		.size_class = size_class, .bytes = (uint32_t)call->bytes, .caller = call->caller
	};
	struct object object;
	slab_item item;
	int rc;

	(void)thread_channels_cache(&rm->channels);
	rc = take_object(rm, call, deadline_ns, &wish, &item, errinfo);
	if (rc)
		return rc;
	hand_out(rm, item, &wish, &object);
	if ((call->attr.flags & RMEM_ALLOC_ZERO) && !object.zero)
		rc = objects_zero(rm, &object, wish.bytes, deadline_ns, errinfo);
	if (rc == 0)
		*out = object.addr;
	return rc;
}

/* A small one, in a slab. */
static int alloc_object(struct rmem *rm, const struct alloc_call *call, unsigned size_class,
	rmem_addr_t *out, struct errinfo *errinfo)
{
	int rc = alloc_object_once(rm, call, size_class, out, errinfo);

	/* What was lost with the old session does not matter to a new allocation. */
	return rc == -ESTALE ? alloc_object_once(rm, call, size_class, out, errinfo) : rc;
}

static int alloc_block(
	struct rmem *rm, const struct alloc_call *call, rmem_addr_t *out, struct errinfo *errinfo)
{
	struct memory_wish wish = { .bytes = call->bytes, .placement = call->placement };

	stack_capture(&wish.stack, call->caller);
	return memory_alloc(rm, &wish, call_deadline(rm), out, errinfo);
}

/* A sample that there is no block for is none. */
static int alloc_small(struct rmem *rm, const struct alloc_call *call, unsigned size_class,
	rmem_addr_t *out, struct errinfo *errinfo)
{
	struct errinfo ignored;

	if (checking_draws(rm) && alloc_block(rm, call, out, &ignored) == 0)
		return 0;
	return alloc_object(rm, call, size_class, out, errinfo);
}

static __attribute__((noinline)) int alloc_long(struct rmem *rm, size_t bytes,
	const struct rmem_alloc_attr *attr, rmem_addr_t *out, void *caller, void *frame)
{
	struct alloc_call from = {
		.bytes = bytes, .attr = RMEM_ALLOC_ATTR_INIT, .caller = caller, .frame = frame
	};
	struct alloc_call *const call = &from;
	struct errinfo errinfo;
	unsigned size_class;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0)
		rc = read_alloc_attr(attr, call, &errinfo);
	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	if (rc == 0)
		rc = placement_read(rm, &call->attr, &call->placement, &errinfo);
	if (rc)
		return call_done(rc, "rmem_alloc", &errinfo);
	size_class = checking_size_class(rm, call->bytes, call->attr.align_bytes);
	if (size_class && !(call->attr.flags & RMEM_ALLOC_ISOLATED) &&
		placement_is_any(&call->placement))
		rc = alloc_small(rm, call, size_class, out, &errinfo);
	else
		rc = alloc_block(rm, call, out, &errinfo);
	return call_done(rc, "rmem_alloc", &errinfo);
}

/* The shortest way: a small one, from a stack that was there before, of which a slot is at hand. */
static inline bool alloc_warm(
	struct rmem *rm, size_t bytes, const void *caller, const void *frame, rmem_addr_t *out)
{
	struct object_wish wish = { .bytes = (uint32_t)bytes };
	const uint64_t version = numbering(rm);
	struct site_cache *sites;
	struct object object;
	slab_item item;

	if (bytes - 1 >= OBJECT_BYTES_MAX || !call_is_ours(rm))
		return false;
	wish.size_class = size_class_of_bytes((uint32_t)bytes);
	if (!rm->no_sites) {
		sites = thread_channels_sites_now(&rm->channels);
		if (!sites || !site_cache_find(sites, caller, frame, version, &wish.site))
			return false;
	}
	if (!objects_take_warm(rm, wish.size_class, &item))
		return false;
	if (__builtin_expect(numbering(rm) != version, 0)) {
		objects_put_back(rm, item);
		return false;
	}
	objects_hand_out(rm, item, &wish, &object);
	*out = object.addr;
	return true;
}

/* A stack is told by where its frame ends, which takes no register. */
RMEM_API __attribute__((noinline)) int rmem_alloc(
	struct rmem *rm, size_t bytes, const struct rmem_alloc_attr *attr, rmem_addr_t *out)
{
	void *const caller = __builtin_return_address(0), *const frame = __builtin_dwarf_cfa();

	if (likely(rm && out && !attr && alloc_warm(rm, bytes, caller, frame, out)))
		return 0;
	return alloc_long(rm, bytes, attr, out, caller, frame);
}

static __attribute__((noinline)) int free_long(struct rmem *rm, rmem_addr_t addr, void *caller)
{
	struct errinfo errinfo;
	struct slab *slab;
	int rc;

	rc = call_enter(rm, &errinfo);
	if (rc || addr == 0)
		return call_done(rc, "rmem_free", &errinfo);
	slab = blocks_slab(&rm->session.blocks, addr);
	/* Its slot is for another object only when nobody else reaches it. */
	if (slab && slab_is_shared(slab, addr) && !slab_is_lost(slab))
		rc = sharing_unshare(rm, addr, call_deadline(rm), &errinfo);
	if (rc && rc != -ESTALE)
		return call_done(rc, "rmem_free", &errinfo);
	if (slab)
		rc = objects_free(rm, slab, addr, caller, &errinfo);
	else
		rc = release_block(&rm->session, addr, call_deadline(rm), &errinfo);
	if (rc == -EINVAL && rm->checking)
		checking_bad_free(rm, addr, caller);
	return call_done(rc, "rmem_free", &errinfo);
}

RMEM_API int rmem_free(struct rmem *rm, rmem_addr_t addr)
{
	if (likely(rm && call_is_ours(rm) && objects_free_warm(rm, addr)))
		return 0;
	return free_long(rm, addr, __builtin_return_address(0));
}

RMEM_API const char *rmem_errmsg(void)
{
	return call_errmsg();
}
