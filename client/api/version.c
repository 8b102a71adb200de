/* SPDX-License-Identifier: BSD-3-Clause */
/* Which library this is, which programs it can run, and the names of what it returns. */
#include <errno.h>
#include <string.h>

#include "client/space/call.h"

#define TEXT(x) #x
#define DOTTED(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

RMEM_API const char *rmem_version(void)
{
	return DOTTED(RMEM_VERSION_MAJOR, RMEM_VERSION_MINOR, RMEM_VERSION_PATCH);
}

RMEM_API int rmem_version_check(uint32_t header)
{
	const unsigned major = header >> 16, minor = header >> 8 & 0xff;
	struct errinfo errinfo;

	if (major == RMEM_VERSION_MAJOR && minor <= RMEM_VERSION_MINOR)
		return 0;
	return call_done(
		errinfo_set(&errinfo, -ENOSYS,
			"the program was built for librmem %u.%u, and this is librmem %s: %s",
			major, minor, rmem_version(),
			major == RMEM_VERSION_MAJOR
				? "install the newer one"
				: "install one of the same major version, or build it again"),
		"rmem_version_check", &errinfo);
}

RMEM_API const char *rmem_err_name(int rc)
{
	const char *name;

	if (rc >= 0)
		return "OK";
	/* INT_MIN has no positive counterpart, and is no errno value. */
	name = rc > -4096 ? strerrorname_np(-rc) : NULL;
	return name ? name : "unknown error";
}
