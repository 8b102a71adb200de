/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/seats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "client/locals.h"
#include "client/wiped.h"

/* As the header says, or gcc asks the loader for it, which may allocate and lock. */
_Thread_local struct seat seat_now __attribute__((tls_model("initial-exec")));

/* Sessions that are open: an ending thread must know which of its seats still exist. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct seats *open_seats;
static uint64_t last_id;

void seats_stand_up(struct locals *l)
{
	seat_now = (struct seat){ 0 };
	if (wiped_is_child())
		return; /* the parent's locks may never be released in a child */
	pthread_mutex_lock(&open_lock);
	for (size_t i = 0; i < l->count; i++) {
		struct seat *seat = &l->seats[i];
		struct seats *t = open_seats;

		while (t && t->id != seat->id)
			t = t->next;
		if (!t || seat->common)
			continue;
		pthread_mutex_lock(&t->lock);
		LL_PREPEND2(t->free, seat->channel, next_free);
		t->given--;
		pthread_mutex_unlock(&t->lock);
	}
	pthread_mutex_unlock(&open_lock);
}

void seats_init(struct seats *t, struct session *s, unsigned limit)
{
	t->session = s;
	t->limit = limit;
	pthread_mutex_init(&t->lock, NULL);
	turnstile_init(&t->common_lock);
	pthread_mutex_lock(&open_lock);
	t->id = ++last_id;
	LL_PREPEND(open_seats, t);
	pthread_mutex_unlock(&open_lock);
}

void seats_destroy(struct seats *t)
{
	struct channel *ch, *next;

	if (!t->id)
		return;
	pthread_mutex_lock(&open_lock);
	LL_DELETE(open_seats, t);
	pthread_mutex_unlock(&open_lock);
	LL_FOREACH_SAFE (t->all, ch, next)
		channel_destroy(ch);
	turnstile_destroy(&t->common_lock);
	pthread_mutex_destroy(&t->lock);
	t->id = 0;
}

void seats_abandon(struct seats *t)
{
	struct channel *ch, *next;

	LL_FOREACH_SAFE (t->all, ch, next)
		channel_abandon(ch);
}

/* ---- channels ---- */

static void add_stats(struct rmem_stats *sum, const struct traffic *t)
{
	uint64_t *const requests[WAYS] = { &sum->inline_requests, &sum->in_place_requests,
		&sum->registered_requests, &sum->slot_requests };
	uint64_t *const bytes[WAYS] = { &sum->inline_bytes, &sum->in_place_bytes,
		&sum->registered_bytes, &sum->slot_bytes };

	for (int way = 0; way < WAYS; way++) {
		*requests[way] += traffic_get(&t->requests[way]);
		*bytes[way] += traffic_get(&t->bytes[way]);
	}
	sum->registrations += traffic_get(&t->registrations);
	sum->doorbells += traffic_get(&t->doorbells);
	sum->atomics += traffic_get(&t->atomics);
}

void seats_stats(struct seats *t, struct rmem_stats *out)
{
	struct channel *ch;

	pthread_mutex_lock(&t->lock);
	*out = t->retired;
	LL_FOREACH (t->all, ch)
		add_stats(out, &ch->pipeline.traffic);
	pthread_mutex_unlock(&t->lock);
	out->size = sizeof(*out);
}

int seats_add(struct seats *t, struct channel **out, struct why *why)
{
	struct channel *ch = channel_create(t->session);
	int rc;

	if (!ch)
		return why_set(why, -ENOMEM, "out of memory");
	rc = channel_connect(ch, why);
	if (rc) {
		channel_destroy(ch);
		return rc;
	}
	pthread_mutex_lock(&t->lock);
	LL_PREPEND(t->all, ch);
	pthread_mutex_unlock(&t->lock);
	*out = ch;
	return 0;
}

void seats_remove(struct seats *t, struct channel *ch)
{
	pthread_mutex_lock(&t->lock);
	LL_DELETE(t->all, ch);
	add_stats(&t->retired, &ch->pipeline.traffic);
	pthread_mutex_unlock(&t->lock);
	channel_destroy(ch);
}

/* ---- seats ---- */

/* One that an ended thread has left, or leave to make one; false: there are enough. */
static bool claim(struct seats *t, struct channel **out)
{
	bool claimed;

	pthread_mutex_lock(&t->lock);
	claimed = t->given < t->limit;
	t->given += claimed;
	*out = claimed ? t->free : NULL;
	if (*out)
		LL_DELETE2(t->free, *out, next_free);
	pthread_mutex_unlock(&t->lock);
	return claimed;
}

static void unclaim(struct seats *t)
{
	pthread_mutex_lock(&t->lock);
	t->given--;
	pthread_mutex_unlock(&t->lock);
}

/* Among those who share the common channel. */
static int join_common(struct seats *t, struct seat *out, struct why *why)
{
	int rc;

	(void)turnstile_enter(&t->common_lock, TURNSTILE_FOREVER);
	rc = t->common ? 0 : seats_add(t, &t->common, why);
	*out = (struct seat){ t->id, t->common, true };
	turnstile_leave(&t->common_lock);
	return rc;
}

/* A seat of its own, or on the common channel if there are enough, or the server keeps no more. */
static int choose(struct seats *t, struct seat *out, struct why *why)
{
	struct channel *ch;
	int rc = 0;

	if (claim(t, &ch)) {
		if (!ch)
			rc = seats_add(t, &ch, why);
		if (rc)
			unclaim(t);
		if (rc != -EUSERS) {
			*out = (struct seat){ t->id, ch, false };
			return rc;
		}
	}
	return join_common(t, out, why);
}

/* Seats of sessions that are closed make room. */
static void forget_closed(struct locals *l)
{
	size_t kept = 0;

	pthread_mutex_lock(&open_lock);
	for (size_t i = 0; i < l->count; i++) {
		const struct seats *t = open_seats;

		while (t && t->id != l->seats[i].id)
			t = t->next;
		if (t)
			l->seats[kept++] = l->seats[i];
	}
	pthread_mutex_unlock(&open_lock);
	l->count = kept;
}

static bool make_room(struct locals *l)
{
	size_t capacity;
	struct seat *seats;

	if (l->count == l->capacity)
		forget_closed(l);
	if (l->count < l->capacity)
		return true;
	capacity = l->capacity ? l->capacity * 2 : 4;
	seats = realloc(l->seats, capacity * sizeof(*seats));
	if (!seats)
		return false;
	l->seats = seats;
	l->capacity = capacity;
	return true;
}

static int sit_down(struct seats *t, struct why *why)
{
	struct locals *l = locals_get();
	struct seat seat;
	int rc;

	for (size_t i = 0; l && i < l->count; i++)
		if (l->seats[i].id == t->id) {
			seat_now = l->seats[i];
			return 0;
		}
	/* Only what is written down is given back when the thread ends. */
	if (!l || !make_room(l)) {
		rc = join_common(t, &seat, why);
		if (rc == 0)
			seat_now = seat;
		return rc;
	}
	rc = choose(t, &seat, why);
	if (rc)
		return rc;
	l->seats[l->count++] = seat;
	seat_now = seat;
	return 0;
}

int seats_enter(struct seats *t, struct channel **out, struct why *why)
{
	int rc = seat_now.id == t->id ? 0 : sit_down(t, why);

	if (rc)
		return rc;
	if (seat_now.common)
		(void)turnstile_enter(&t->common_lock, TURNSTILE_FOREVER);
	*out = seat_now.channel;
	return 0;
}

void seats_leave(struct seats *t)
{
	if (!seats_mine(t))
		turnstile_leave(&t->common_lock);
}
