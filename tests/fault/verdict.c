/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/verdict.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fault/plan.h"

/* The errors rmem.h names, beside those of every call; EMFILE where a thread has no channel yet. */
#define EVERY_CALL ETIMEDOUT, ECONNRESET, ENOMEM
static const int any_errors[] = { EVERY_CALL, EMFILE, 0 };
static const int open_errors[] = { EVERY_CALL, ENODEV, EHOSTUNREACH, ECONNREFUSED, EPROTO, EUSERS,
	EAGAIN, EMFILE, EIO, 0 };
static const int alloc_errors[] = { EVERY_CALL, EAGAIN, EMFILE, 0 };
static const int atomic_errors[] = { EVERY_CALL, EREMOTEIO, EMFILE, 0 };
static const int queue_errors[] = { EVERY_CALL, EREMOTEIO, EUSERS, EMFILE, 0 };
static const int server_errors[] = { ENOSPC, EDQUOT, EUSERS, ECONNREFUSED, EPROTO, 0 };
static const int *const errors_of[] = {
	[VERDICT_ANY] = any_errors,
	[VERDICT_OPEN] = open_errors,
	[VERDICT_ALLOC] = alloc_errors,
	[VERDICT_ATOMIC] = atomic_errors,
	[VERDICT_QUEUE] = queue_errors,
};

/* What some faults must be called, where they are more than the library can make up for. */
static const int right_errors[FAULT_KINDS] = {
	[FAULT_malloc] = ENOMEM,
	[FAULT_calloc] = ENOMEM,
	[FAULT_realloc] = ENOMEM,
	[FAULT_aligned_alloc] = ENOMEM,
	[FAULT_strdup] = ENOMEM,
	[FAULT_mmap] = ENOMEM,
	[FAULT_eventfd] = EMFILE,
	[FAULT_getifaddrs] = ENOMEM,
	[FAULT_getaddrinfo] = ENOMEM,
	[FAULT_pthread_create] = EAGAIN,
	[FAULT_ibv_get_device_list] = ENOMEM,
	[FAULT_ibv_query_device] = ENOMEM,
	[FAULT_ibv_alloc_pd] = ENOMEM,
	[FAULT_ibv_reg_mr] = ENOMEM,
	[FAULT_ibv_create_comp_channel] = EMFILE,
	[FAULT_ibv_create_cq] = ENOMEM,
	[FAULT_rdma_create_event_channel] = EMFILE,
	[FAULT_rdma_create_id] = ENOMEM,
	[FAULT_rdma_bind_addr] = ENODEV,
	[FAULT_rdma_resolve_addr] = EHOSTUNREACH,
	[FAULT_rdma_resolve_route] = EHOSTUNREACH,
	[FAULT_rdma_connect] = ENOMEM,
};

static struct fault_plan none, *plan = &none;
static unsigned server_faults;
static unsigned failures;

/* How many failed steps the faults so far explain. */
static unsigned failures_max(void)
{
	if (server_faults)
		return 4 * server_faults;
	return plan->fired > 1 ? plan->fired : 1;
}

static void map_plan(void)
{
	const char *file = getenv(FAULT_FILE);
	int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0)
		return;
	p = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		plan = p;
	close(fd);
}

void verdict_begin(unsigned faults_of_server)
{
	server_faults = faults_of_server;
	map_plan();
}

void verdict_step(const char *name)
{
	snprintf(plan->step, sizeof(plan->step), "%s", name);
}

void verdict_pause(void)
{
	atomic_store(&plan->paused, 1);
}

void verdict_wrong(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "step %s: ", plan->step);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static bool listed(const int *errors, int error)
{
	for (; *errors; errors++)
		if (*errors == error)
			return true;
	return false;
}

void verdict_judge(enum verdict_call call, int rc, const char *text)
{
	const int right = call == VERDICT_OPEN && !server_faults ? right_errors[plan->kind] : 0;

	if (rc > 0)
		verdict_wrong("it returned %d", rc);
	if (!listed(errors_of[call], -rc) && !(server_faults && listed(server_errors, -rc)))
		verdict_wrong("undocumented error %s (%s)", strerrorname_np(-rc), text);
	if (!*text || strchr(text, '\n'))
		verdict_wrong("%s without a sentence: '%s'", strerrorname_np(-rc), text);
	if (right && right != -rc)
		verdict_wrong("%s (%s) where it should be %s", strerrorname_np(-rc), text,
			strerrorname_np(right));
	fprintf(stderr, "(step %s: %s: %s)\n", plan->step, strerrorname_np(-rc), text);
	if (plan->kind == FAULT_cm_refused && call != VERDICT_OPEN)
		verdict_wrong("an open session gave up because nobody listened once");
	if (++failures > failures_max())
		verdict_wrong("%u failed calls, and only %u explained", failures, failures_max());
}

void verdict_compare(const void *got, const void *wanted, size_t n, const char *what)
{
	const uint8_t *a = got, *b = wanted;

	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			verdict_wrong(
				"%s: byte %zu is 0x%02x and should be 0x%02x", what, i, a[i], b[i]);
}
