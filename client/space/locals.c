/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/locals.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

_Thread_local const char *locals_message __attribute__((tls_model("initial-exec")));

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;

/* A thread ends. Other destructors may call the library after this one: then it begins anew. */
static void leave(void *arg)
{
	struct locals *l = arg;

	if (l->leave)
		l->leave(l);
	locals_message = NULL;
	free(l->channels);
	free(l);
}

static void make_key(void)
{
	have_key = pthread_key_create(&key, leave) == 0;
}

struct locals *locals_get(void)
{
	struct locals *l;

	pthread_once(&once, make_key);
	if (!have_key)
		return NULL;
	l = pthread_getspecific(key);
	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (l && pthread_setspecific(key, l)) {
		free(l);
		return NULL;
	}
	return l;
}
