/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/errinfo.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void errinfo_fill(struct errinfo *errinfo, const char *fmt, ...)
{
	int saved_errno = errno;
	va_list ap;

	if (!errinfo)
		return;
	va_start(ap, fmt);
	vsnprintf(errinfo->text, sizeof(errinfo->text), fmt, ap);
	va_end(ap);
	errno = saved_errno;
}

const char *errinfo_errno(int err)
{
	const char *text = strerrordesc_np(err);

	return text ? text : "unknown error";
}
