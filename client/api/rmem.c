/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open and close: arguments in, the session's work, an errno and a sentence out.
 */
#include "rmem/rmem.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/api/queues.h"
#include "client/base/mark.h"
#include "client/control/connection.h"
#include "client/control/registry.h"
#include "client/control/request.h"
#include "client/data/fastpath.h"
#include "client/space/access.h"
#include "client/space/checking.h"
#include "client/space/kept.h"
#include "common/clock.h"
#include "common/identity.h"
#include "common/log.h"

#define OPEN_ATTR_V1_SIZE (offsetof(struct rmem_open_attr, channels) + sizeof(int))
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
	rm->slab_thread.collect = kept_collect;
	rm->slab_thread.rm = rm;
	s->exact = a.journal == RMEM_JOURNAL_EXACT;
	rm->channels.no_sites = a.flags & RMEM_OPEN_NO_SITES;
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
	(void)kept_collect(rm, deadline_ns, &errinfo);
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
	now = deadline > now ? now + (deadline - now) / 2 : now;
	queues_destroy(rm, now);
	call_thread_finish(&rm->call_thread, now);
	now = clock_boot_ns();
	names = deadline > now ? (deadline - now) / 2 : 0;
	symbolizer_stop(&rm->symbolizer, now + (names < NAMES_LIMIT_NS ? names : NAMES_LIMIT_NS));
	if (write(s->cancel_fd, &one, sizeof(one)) < 0)
		log_debug("eventfd: %s", errinfo_errno(errno));
	call_thread_stop(&rm->call_thread);
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
	call_thread_destroy(&rm->call_thread);
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
	call_thread_init(&rm->call_thread);
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

RMEM_API const char *rmem_errmsg(void)
{
	return call_errmsg();
}
