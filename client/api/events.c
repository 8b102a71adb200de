/* SPDX-License-Identifier: BSD-3-Clause */
/* What happens to a session, for a program with a loop. */
#include <errno.h>

#include "client/control/events.h"
#include "client/space/call.h"

#define EVENT_V1_SIZE (offsetof(struct rmem_event, addr) + sizeof(rmem_addr_t))

RMEM_API int rmem_event_fd(struct rmem *rm)
{
	struct errinfo errinfo;
	int fd = -1, rc = call_enter(rm, &errinfo);

	if (rc == 0)
		rc = events_descriptor(&rm->session.events, &fd, &errinfo);
	return rc ? call_done(rc, "rmem_event_fd", &errinfo) : fd;
}

RMEM_API int rmem_next_event(struct rmem *rm, struct rmem_event *out)
{
	struct rmem_event event;
	struct errinfo errinfo;
	int rc = call_enter(rm, &errinfo);

	if (rc == 0 && !out)
		rc = errinfo_set(&errinfo, -EINVAL, "out is NULL");
	/* Before it is taken: an event that is refused would be lost. */
	if (rc == 0)
		rc = call_check_size(out, EVENT_V1_SIZE, &errinfo);
	if (rc)
		return call_done(rc, "rmem_next_event", &errinfo);
	if (!events_take(&rm->session.events, &event))
		return 0;
	(void)call_copy_out(out, &event, sizeof(event), EVENT_V1_SIZE, &errinfo);
	return 1;
}
