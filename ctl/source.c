/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/rundir.h"
#include "ctl/admin.h"
#include "ctl/remote.h"
#include "ctl/reply.h"
#include "ctl/select.h"

/* What an rmemd lists at most (docs/ADMIN.md). */
#define BLOCKS_MAX 65536
#define LINES_MAX 4096

/* To choose among items or to sort them, all are needed. */
static uint64_t limit_of(const struct options *o)
{
	if (!select_is_choosy(&o->view))
		return o->view.limit;
	return o->report == REPORT_MAP ? BLOCKS_MAX : LINES_MAX;
}

static char *make_request(const struct options *o)
{
	json_t *request = json_pack("{ss}", "cmd", report_request(o->report));
	char addr[24], *text;
	int err = request ? 0 : -1;

	if (err == 0 && (o->report == REPORT_MAP || o->report == REPORT_RECLAIMED))
		err = json_object_set_new(request, "limit", json_integer((json_int_t)limit_of(o)));
	if (err == 0 && (o->report == REPORT_MAP || o->report == REPORT_RESIZE) &&
		o->view.node >= 0)
		err = json_object_set_new(request, "node", json_integer(o->view.node));
	/* an rmemd that does not know the last one makes one */
	if (err == 0 && o->report == REPORT_LEAKS)
		err = json_object_set_new(
			request, "audit", json_string(o->view.audit ? "new" : "last"));
	if (err == 0 && o->report == REPORT_ACKNOWLEDGE)
		err = json_object_set_new(request, "id",
			o->view.line == VIEW_EVERY_LINE ? json_string("all")
							: json_integer((json_int_t)o->view.line));
	if (err == 0 && (o->report == REPORT_WHO_HOLDS || o->report == REPORT_REVOKE)) {
		snprintf(addr, sizeof(addr), "0x%016llx", (unsigned long long)o->addr);
		err = json_object_set_new(request, "addr", json_string(addr));
	}
	if (err == 0 && o->report == REPORT_EVICT)
		err = json_object_set_new(request, "session", json_string(o->session));
	if (err == 0 && o->report == REPORT_REVOKE && o->allocation)
		err = json_object_set_new(request, "id", json_integer((json_int_t)o->allocation));
	if (err == 0 && o->report == REPORT_RESIZE)
		err = json_object_set_new(request, "size", json_string(o->size));
	if (err == 0 && o->quota_session)
		err = json_object_set_new(request, "session", json_string(o->quota_session));
	if (err == 0 && o->quota_job)
		err = json_object_set_new(request, "job", json_string(o->quota_job));
	if (err == 0 && o->report == REPORT_LOG_LEVEL)
		err = json_object_set_new(request, "level", json_string(o->level));
	if (err == 0 && o->preview)
		err = json_object_set_new(request, "preview", json_true());
	text = err ? NULL : json_dumps(request, JSON_COMPACT);
	json_decref(request);
	return text;
}

/* An ordinary user's own rmemd comes first, then the system's. */
static int ask_usual(const struct options *o, const char *request, uint64_t deadline_ns, char **out,
	size_t *out_size, struct errinfo *errinfo)
{
	char own[RUNDIR_PATH_SIZE], system[RUNDIR_PATH_SIZE];
	int err;

	err = rundir_system_socket(o->port, system, sizeof(system));
	if (err)
		return errinfo_set(errinfo, err, "no usual socket: %s", strerror(-err));
	if (rundir_admin_socket(o->port, own, sizeof(own)) == 0 && strcmp(own, system) != 0) {
		err = admin_ask(own, request, deadline_ns, out, out_size, errinfo);
		if (err != -ENOENT)
			return err;
	}
	return admin_ask(system, request, deadline_ns, out, out_size, errinfo);
}

int source_ask(const struct options *o, json_t **out, struct errinfo *errinfo)
{
	uint64_t deadline_ns = clock_boot_ns() + o->timeout_ms * NSEC_PER_MSEC;
	char *request = make_request(o), *text = NULL;
	size_t size = 0;
	int err;

	if (!request)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	if (o->server)
		err = remote_ask(&o->target, request, deadline_ns, &text, &size, errinfo);
	else if (o->admin)
		err = admin_ask(o->admin, request, deadline_ns, &text, &size, errinfo);
	else
		err = ask_usual(o, request, deadline_ns, &text, &size, errinfo);
	if (err == 0)
		err = reply_parse(text, size, out, errinfo);
	free(text);
	free(request);
	return err;
}
