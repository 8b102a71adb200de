/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <rdma/rdma_cma.h>

#include "tests/fault/interpose.h"

static int refuse(int error)
{
	errno = error;
	return -1;
}

EXPORT struct rdma_event_channel *rdma_create_event_channel(void)
{
	struct rdma_event_channel *channel;

	if (fault_hit(FAULT_rdma_create_event_channel, ORIGIN)) {
		errno = EMFILE;
		return NULL;
	}
	channel = REAL(rdma_create_event_channel)();
	fault_created(FAULT_OBJECT_event_channel, channel, ORIGIN);
	return channel;
}

EXPORT void rdma_destroy_event_channel(struct rdma_event_channel *channel)
{
	fault_destroyed(FAULT_OBJECT_event_channel, channel);
	REAL(rdma_destroy_event_channel)(channel);
}

EXPORT int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **out, void *user,
	enum rdma_port_space space)
{
	int rc;

	if (fault_hit(FAULT_rdma_create_id, ORIGIN))
		return refuse(ENOMEM);
	rc = REAL(rdma_create_id)(channel, out, user, space);
	if (rc == 0)
		fault_created(FAULT_OBJECT_id, *out, ORIGIN);
	return rc;
}

EXPORT int rdma_destroy_id(struct rdma_cm_id *id)
{
	int rc;

	if (fault_hit(FAULT_rdma_destroy_id, ORIGIN))
		return refuse(EBUSY);
	rc = REAL(rdma_destroy_id)(id);
	if (rc == 0)
		fault_destroyed(FAULT_OBJECT_id, id);
	return rc;
}

EXPORT struct ibv_context **rdma_get_devices(int *count)
{
	struct ibv_context **list;

	if (fault_hit(FAULT_rdma_get_devices, ORIGIN)) {
		errno = ENOMEM;
		return NULL;
	}
	list = REAL(rdma_get_devices)(count);
	fault_created(FAULT_OBJECT_devices, list, ORIGIN);
	return list;
}

EXPORT void rdma_free_devices(struct ibv_context **list)
{
	fault_destroyed(FAULT_OBJECT_devices, list);
	REAL(rdma_free_devices)(list);
}

EXPORT int rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *addr)
{
	if (fault_hit(FAULT_rdma_bind_addr, ORIGIN))
		return refuse(EADDRINUSE);
	return REAL(rdma_bind_addr)(id, addr);
}

EXPORT int rdma_listen(struct rdma_cm_id *id, int backlog)
{
	if (fault_hit(FAULT_rdma_listen, ORIGIN))
		return refuse(EADDRINUSE);
	return REAL(rdma_listen)(id, backlog);
}

EXPORT int rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *source,
	struct sockaddr *destination, int timeout_ms)
{
	if (fault_hit(FAULT_rdma_resolve_addr, ORIGIN))
		return refuse(ENETUNREACH);
	return REAL(rdma_resolve_addr)(id, source, destination, timeout_ms);
}

EXPORT int rdma_resolve_route(struct rdma_cm_id *id, int timeout_ms)
{
	if (fault_hit(FAULT_rdma_resolve_route, ORIGIN))
		return refuse(ENOMEM);
	return REAL(rdma_resolve_route)(id, timeout_ms);
}

EXPORT int rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	int rc;

	if (fault_hit(FAULT_rdma_create_qp, ORIGIN))
		return refuse(ENOMEM);
	rc = REAL(rdma_create_qp)(id, pd, attr);
	if (rc == 0) {
		fault_created(FAULT_OBJECT_qp, id, ORIGIN);
		if (fault_is_ours(ORIGIN))
			fault_hook(id->verbs);
		fault_remember(id->qp);
	}
	return rc;
}

EXPORT void rdma_destroy_qp(struct rdma_cm_id *id)
{
	fault_destroyed(FAULT_OBJECT_qp, id);
	fault_forget(id->qp);
	REAL(rdma_destroy_qp)(id);
}

EXPORT int rdma_set_option(struct rdma_cm_id *id, int level, int name, void *value, size_t size)
{
	if (fault_hit(FAULT_rdma_set_option, ORIGIN))
		return refuse(ENOSYS);
	return REAL(rdma_set_option)(id, level, name, value, size);
}

EXPORT int rdma_connect(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	if (fault_hit(FAULT_rdma_connect, ORIGIN))
		return refuse(ENOMEM);
	return REAL(rdma_connect)(id, param);
}

EXPORT int rdma_accept(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	if (fault_hit(FAULT_rdma_accept, ORIGIN))
		return refuse(ENOMEM);
	return REAL(rdma_accept)(id, param);
}

EXPORT int rdma_reject(struct rdma_cm_id *id, const void *data, uint8_t size)
{
	if (fault_hit(FAULT_rdma_reject, ORIGIN))
		return refuse(ENOMEM);
	return REAL(rdma_reject)(id, data, size);
}

EXPORT int rdma_disconnect(struct rdma_cm_id *id)
{
	if (fault_hit(FAULT_rdma_disconnect, ORIGIN))
		return refuse(EINVAL);
	return REAL(rdma_disconnect)(id);
}

/* What the kernel would have said, had the step failed. */
static void fail_step(struct rdma_cm_event *event)
{
	switch (event->event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		event->event = RDMA_CM_EVENT_ADDR_ERROR;
		event->status = -ETIMEDOUT;
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		event->event = RDMA_CM_EVENT_ROUTE_ERROR;
		event->status = -ETIMEDOUT;
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		event->event = RDMA_CM_EVENT_CONNECT_ERROR;
		event->status = -ECONNABORTED;
		break;
	default:
		break;
	}
}

EXPORT int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **out)
{
	int rc;

	if (fault_hit(FAULT_rdma_get_cm_event, ORIGIN))
		return refuse(ENOMEM);
	rc = REAL(rdma_get_cm_event)(channel, out);
	if (rc || !fault_is_ours(ORIGIN))
		return rc;
	fault_created(FAULT_OBJECT_cm_event, *out, ORIGIN);
	if ((*out)->event == RDMA_CM_EVENT_CONNECT_REQUEST)
		fault_created(FAULT_OBJECT_id, (*out)->id, ORIGIN);
	if (fault_hit(FAULT_cm_event, ORIGIN))
		fail_step(*out);
	return 0;
}

EXPORT int rdma_ack_cm_event(struct rdma_cm_event *event)
{
	fault_destroyed(FAULT_OBJECT_cm_event, event);
	return REAL(rdma_ack_cm_event)(event);
}
