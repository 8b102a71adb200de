/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/space/call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/space/locals.h"
#include "client/base/wiped.h"
#include "common/log.h"
#include "common/denial.h"

const char *call_errmsg(void)
{
	return locals_message ? locals_message : "";
}

/* A failure without a text is one of memory, mostly. */
static void explain(int rc, const struct errinfo *errinfo, char *out)
{
	struct errinfo best = *errinfo;

	if (!best.text[0])
		(void)denial_explain(DENIED_MEMORY, rc, "rmem", &best);
	memcpy(out, best.text, sizeof(best.text));
}

int call_done(int rc, const char *call, const struct errinfo *errinfo)
{
	struct locals *l;

	if (rc >= 0)
		return rc;
	l = locals_get();
	if (l) {
		explain(rc, errinfo, l->message);
		locals_message = l->message;
	} else {
		locals_message = errinfo_errno(-rc);
	}
	/* A full queue is no failure: whoever fills it runs into that all the time. */
	log_at(rc == -EAGAIN ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "%s: %s", call, call_errmsg());
	return rc;
}

int call_check_fork(struct errinfo *errinfo)
{
	if (!wiped_is_child())
		return wiped_mark_process(errinfo);
	/* librdmacm would go on with the devices that the parent has opened, whose memory is not here. */
	return errinfo_set(errinfo, -EPERM,
		"after fork() the RDMA devices are the parent's: only a program that this process "
		"executes can open a session");
}

int call_enter(const struct rmem *rm, struct errinfo *errinfo)
{
	errinfo->text[0] = '\0';
	if (!rm)
		return errinfo_set(errinfo, -EINVAL, "the session is NULL");
	if (!call_is_ours(rm))
		return errinfo_set(errinfo, -EPERM,
			"after fork() the session is the parent's: only a program that this "
			"process executes can open one of its own");
	return 0;
}

int call_check_attr(const void *attr, size_t size, size_t known, struct errinfo *errinfo)
{
	const unsigned char *bytes = attr;

	if (size < known)
		return errinfo_set(errinfo, -EINVAL,
			"attr->size is %zu: start with the initializer macro", size);
	for (size_t i = known; i < size; i++)
		if (bytes[i])
			return errinfo_set(errinfo, -EINVAL,
				"attr uses fields that this version of librmem does not know");
	return 0;
}
