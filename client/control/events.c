/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/events.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/denial.h"
#include "common/log.h"

void events_init(struct events *e)
{
	pthread_mutex_init(&e->lock, NULL);
	e->fd = -1;
}

void events_abandon(struct events *e)
{
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}

void events_destroy(struct events *e)
{
	events_abandon(e);
	pthread_mutex_destroy(&e->lock);
}

/* With the lock. For each event anew, so that an edge-triggered loop sees each. */
static void make_readable(const struct events *e)
{
	const uint64_t one = 1;

	if (e->fd >= 0 && write(e->fd, &one, sizeof(one)) < 0)
		log_debug("eventfd: %s", errinfo_errno(errno));
}

/* With the lock. */
static void put(struct events *e, enum rmem_event_kind kind, uint64_t serial, uint64_t addr)
{
	if (e->count == EVENTS_MAX) {
		e->first = (e->first + 1) % EVENTS_MAX;
		e->count--;
		e->lost += e->lost < UINT32_MAX;
	}
	e->ring[(e->first + e->count++) % EVENTS_MAX] = (struct rmem_event){
		.size = sizeof(struct rmem_event),
		.kind = kind,
		.time_ns = clock_boot_ns(),
		.serial = serial,
		.addr = addr,
	};
	make_readable(e);
}

void events_add(struct events *e, enum rmem_event_kind kind, uint64_t serial, uint64_t addr)
{
	pthread_mutex_lock(&e->lock);
	put(e, kind, serial, addr);
	pthread_mutex_unlock(&e->lock);
}

void events_begin(struct events *e, enum rmem_event_kind trouble)
{
	const uint32_t bit = 1U << trouble;

	/* In the ring they are in the order in which open was changed: the last says how it is. */
	pthread_mutex_lock(&e->lock);
	if (!(atomic_fetch_or(&e->open, bit) & bit))
		put(e, trouble, 0, 0);
	pthread_mutex_unlock(&e->lock);
}

void events_end(struct events *e)
{
	/* Without the lock: this is called after every request. */
	if (!atomic_load_explicit(&e->open, memory_order_relaxed))
		return;
	pthread_mutex_lock(&e->lock);
	if (atomic_exchange(&e->open, 0))
		put(e, RMEM_EVENT_CONNECTED, 0, 0);
	pthread_mutex_unlock(&e->lock);
}

bool events_take(struct events *e, struct rmem_event *out)
{
	uint64_t written;
	bool any;

	pthread_mutex_lock(&e->lock);
	any = e->count;
	if (any) {
		*out = e->ring[e->first];
		out->lost = e->lost;
		e->lost = 0;
		e->first = (e->first + 1) % EVENTS_MAX;
		e->count--;
	}
	if (!e->count && e->fd >= 0)
		while (read(e->fd, &written, sizeof(written)) > 0)
			;
	pthread_mutex_unlock(&e->lock);
	return any;
}

int events_descriptor(struct events *e, int *out, struct errinfo *errinfo)
{
	int rc = 0;

	pthread_mutex_lock(&e->lock);
	if (e->fd < 0)
		e->fd = eventfd(e->count, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->fd < 0)
		rc = -errno;
	else
		*out = e->fd;
	pthread_mutex_unlock(&e->lock);
	return rc ? denial_explain(DENIED_FILE, rc, "eventfd", errinfo) : 0;
}
