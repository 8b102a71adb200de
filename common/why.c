/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/why.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void why_fill(struct why *why, const char *fmt, ...)
{
	int saved_errno = errno;
	va_list ap;

	if (!why)
		return;
	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	errno = saved_errno;
}

const char *why_errno(int err)
{
	const char *text = strerrordesc_np(err);

	return text ? text : "unknown error";
}
