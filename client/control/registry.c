/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/control/registry.h"

#include <errno.h>

#include "common/log.h"

/* With the table: channels look at the buffers again. */
static void changed(struct session *s)
{
	s->buffers_version++;
	session_next_epoch(s);
}

/* With the buffers: registered, and in the table. */
static int add_locked(struct session *s, struct buffer *b, struct errinfo *errinfo)
{
	int rc;

	pthread_mutex_lock(&s->table);
	rc = buffers_reserve(&s->buffers, s->buffers.count + 1);
	pthread_mutex_unlock(&s->table);
	if (rc)
		return errinfo_set(errinfo, rc, "out of memory");
	rc = buffers_check(&s->buffers, b, errinfo);
	if (rc == 0)
		rc = buffer_register(b, domain_pd(s->domain), errinfo);
	if (rc)
		return rc;
	pthread_mutex_lock(&s->table);
	buffers_add(&s->buffers, b);
	changed(s);
	pthread_mutex_unlock(&s->table);
	return 0;
}

int registry_add(struct session *s, struct buffer *b, bool map, struct errinfo *errinfo)
{
	int rc = 0;

	/* An empty one is refused below, in one place. */
	if (map && b->bytes)
		rc = buffer_map(b, errinfo);
	if (rc)
		return rc;
	pthread_mutex_lock(&s->buffers_lock);
	rc = add_locked(s, b, errinfo);
	pthread_mutex_unlock(&s->buffers_lock);
	if (rc)
		buffer_unmap(b);
	return rc;
}

static int explain_unknown(const struct session *s, uintptr_t start, struct errinfo *errinfo)
{
	const struct buffer *b = buffers_find_range(&s->buffers, start, 1);

	if (b)
		return errinfo_set(errinfo, -EINVAL,
			"%p is inside the registered buffer at %p, not its beginning",
			(void *)start, (void *)b->start);
	return errinfo_set(errinfo, -EINVAL,
		"%p was released already, or is not what rmem_buf_alloc() returned or "
		"rmem_buf_register() was given",
		(void *)start);
}

int registry_remove(struct session *s, uintptr_t start, struct errinfo *errinfo)
{
	struct buffer *b, gone;
	int rc = 0;

	pthread_mutex_lock(&s->buffers_lock);
	b = buffers_find(&s->buffers, start);
	if (!b) {
		rc = explain_unknown(s, start, errinfo);
	} else {
		gone = *b;
		pthread_mutex_lock(&s->table);
		buffers_remove(&s->buffers, b);
		changed(s);
		pthread_mutex_unlock(&s->table);
		buffer_deregister(&gone);
		buffer_unmap(&gone);
	}
	pthread_mutex_unlock(&s->buffers_lock);
	return rc;
}

/*
 * Channels that still use the old registrations are dead: the control connection they belong to has
 * ended. One that cannot be registered anew is used like any other memory.
 */
void registry_move(struct session *s, struct domain *domain)
{
	struct domain *old = s->domain;
	struct errinfo errinfo;

	pthread_mutex_lock(&s->buffers_lock);
	for (size_t i = 0; i < s->buffers.count; i++) {
		struct buffer *b = &s->buffers.items[i], moved = *b;

		buffer_deregister(&moved);
		if (buffer_register(&moved, domain_pd(domain), &errinfo))
			log_warn("a registered buffer is used by copying: %s", errinfo.text);
		pthread_mutex_lock(&s->table);
		*b = moved;
		pthread_mutex_unlock(&s->table);
	}
	pthread_mutex_lock(&s->table);
	s->domain = domain_hold(domain);
	changed(s);
	pthread_mutex_unlock(&s->table);
	pthread_mutex_unlock(&s->buffers_lock);
	domain_release(old);
}

void registry_clear(struct session *s)
{
	for (size_t i = 0; i < s->buffers.count; i++)
		buffer_deregister(&s->buffers.items[i]);
	domain_release(s->domain);
	s->domain = NULL;
}
