/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/base/mark.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/base/wiped.h"
#include "common/presence.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mark *shown; /* a child walks it without the lock: it is whole at every moment */

static void close_own(struct mark *m)
{
	struct stat st;

	if (m->fd >= 0 && fstat(m->fd, &st) == 0 && st.st_dev == m->device && st.st_ino == m->inode)
		close(m->fd);
	m->fd = -1;
}

void mark_show(struct mark *m)
{
	struct stat st;

	*m = (struct mark){ .fd = -1, .place = presence_place() };
	if (m->place)
		m->fd = presence_show(&m->number);
	if (m->fd < 0)
		return;
	if (fstat(m->fd, &st)) {
		close(m->fd);
		m->number = 0;
		return;
	}
	m->device = st.st_dev;
	m->inode = st.st_ino;
	pthread_mutex_lock(&lock);
	m->next = shown;
	__atomic_store_n(&shown, m, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
}

static void take_out(const struct mark *m)
{
	struct mark **at;

	pthread_mutex_lock(&lock);
	for (at = &shown; *at && *at != m; at = &(*at)->next)
		;
	if (*at)
		__atomic_store_n(at, m->next, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
}

void mark_remove(struct mark *m)
{
	if (!m->number)
		return;
	m->number = 0;
	if (!wiped_is_child()) /* after _Fork() or clone(2) the lock may never be released */
		take_out(m);
	close_own(m);
}

void marks_forked(void)
{
	for (struct mark *m = shown; m; m = m->next) {
		close_own(m);
		m->number = 0;
	}
	shown = NULL;
}
