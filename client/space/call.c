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
	/* A full queue is no failure: a program that fills it runs into that all the time. */
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

/* A size beyond this was never set: what would be read, or written, may not be the program's. */
#define STRUCT_SIZE_MAX 4096

int call_check_size(const void *program, size_t v1_size, struct errinfo *errinfo)
{
	size_t size;

	memcpy(&size, program, sizeof(size));
	if (size < v1_size)
		return errinfo_set(errinfo, -EINVAL,
			"the struct's size is %zu: start with the initializer macro", size);
	if (size > STRUCT_SIZE_MAX)
		return errinfo_set(errinfo, -E2BIG,
			"the struct's size is %zu, which no version has: start with the "
			"initializer macro",
			size);
	return 0;
}

int call_copy_attr(
	void *dst, size_t dst_size, const void *src, size_t v1_size, struct errinfo *errinfo)
{
	const unsigned char *bytes = src;
	size_t size;
	int rc = call_check_size(src, v1_size, errinfo);

	if (rc)
		return rc;
	memcpy(&size, src, sizeof(size));
	for (size_t i = dst_size; i < size; i++)
		if (bytes[i])
			return errinfo_set(errinfo, -E2BIG,
				"the struct has a field set, at byte %zu, that "
				"librmem " RMEM_VERSION
				" does not know: leave it 0, or install a newer librmem",
				i);
	memset(dst, 0, dst_size);
	memcpy(dst, src, size < dst_size ? size : dst_size);
	return 0;
}

int call_copy_out(
	void *dst, const void *src, size_t src_size, size_t v1_size, struct errinfo *errinfo)
{
	size_t size;
	int rc = call_check_size(dst, v1_size, errinfo);

	if (rc)
		return rc;
	memcpy(&size, dst, sizeof(size));
	memset(dst, 0, size);
	memcpy(dst, src, size < src_size ? size : src_size);
	memcpy(dst, &size, sizeof(size));
	return 0;
}

int call_check_flags(uint32_t flags, uint32_t known, struct errinfo *errinfo)
{
	if ((flags & ~known) == 0)
		return 0;
	return errinfo_set(errinfo, -EINVAL,
		"the flags 0x%x are not known to librmem " RMEM_VERSION, flags & ~known);
}
