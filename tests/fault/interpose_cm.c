/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <rdma/rdma_cma.h>

#include "tests/fault/interpose.h"

#define REJECT_NO_LISTENER \
	8 /* InfiniBand Architecture Specification, 12.6.7.2: invalid service ID */

EXPORT struct rdma_event_channel *rdma_create_event_channel(void)
{
	return MAKE(rdma_create_event_channel, EMFILE, event_channel,
		REAL(rdma_create_event_channel)());
}

EXPORT void rdma_destroy_event_channel(struct rdma_event_channel *channel)
{
	fault_destroyed(FAULT_OBJECT_event_channel, channel);
	REAL(rdma_destroy_event_channel)(channel);
}

EXPORT int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **out, void *user,
	enum rdma_port_space space)
{
	return MAKE_AT(rdma_create_id, fault_refuse(ENOMEM), id, *out,
		REAL(rdma_create_id)(channel, out, user, space));
}

EXPORT int rdma_destroy_id(struct rdma_cm_id *id)
{
	return END(rdma_destroy_id, fault_refuse(EBUSY), id, id, REAL(rdma_destroy_id)(id));
}

EXPORT struct ibv_context **rdma_get_devices(int *count)
{
	return MAKE(rdma_get_devices, ENOMEM, devices, REAL(rdma_get_devices)(count));
}

EXPORT void rdma_free_devices(struct ibv_context **list)
{
	fault_destroyed(FAULT_OBJECT_devices, list);
	REAL(rdma_free_devices)(list);
}

EXPORT int rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *addr)
{
	return CALL(rdma_bind_addr, fault_refuse(EADDRINUSE), REAL(rdma_bind_addr)(id, addr));
}

EXPORT int rdma_listen(struct rdma_cm_id *id, int backlog)
{
	return CALL(rdma_listen, fault_refuse(EADDRINUSE), REAL(rdma_listen)(id, backlog));
}

EXPORT int rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *source,
	struct sockaddr *destination, int timeout_ms)
{
	return CALL(rdma_resolve_addr, fault_refuse(ENETUNREACH),
		REAL(rdma_resolve_addr)(id, source, destination, timeout_ms));
}

EXPORT int rdma_resolve_route(struct rdma_cm_id *id, int timeout_ms)
{
	return CALL(
		rdma_resolve_route, fault_refuse(ENOMEM), REAL(rdma_resolve_route)(id, timeout_ms));
}

EXPORT int rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	int rc = MAKE_AT(
		rdma_create_qp, fault_refuse(ENOMEM), qp, id, REAL(rdma_create_qp)(id, pd, attr));

	if (rc == 0) {
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
	return CALL(rdma_set_option, fault_refuse(ENOSYS),
		REAL(rdma_set_option)(id, level, name, value, size));
}

EXPORT int rdma_connect(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	return CALL(rdma_connect, fault_refuse(ENOMEM), REAL(rdma_connect)(id, param));
}

EXPORT int rdma_accept(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	return CALL(rdma_accept, fault_refuse(ENOMEM), REAL(rdma_accept)(id, param));
}

EXPORT int rdma_reject(struct rdma_cm_id *id, const void *data, uint8_t size)
{
	return CALL(rdma_reject, fault_refuse(ENOMEM), REAL(rdma_reject)(id, data, size));
}

EXPORT int rdma_disconnect(struct rdma_cm_id *id)
{
	return CALL(rdma_disconnect, fault_refuse(EINVAL), REAL(rdma_disconnect)(id));
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

/* What a machine says on which rmemd has just been killed. */
static void refuse(struct rdma_cm_event *event)
{
	event->event = RDMA_CM_EVENT_REJECTED;
	event->status = REJECT_NO_LISTENER;
	event->param.conn.private_data = NULL;
	event->param.conn.private_data_len = 0;
}

/* The side that has asked: it has rmemd's answer. */
static bool is_answer(const struct rdma_cm_event *event)
{
	return event->event == RDMA_CM_EVENT_ESTABLISHED && event->param.conn.private_data_len > 0;
}

EXPORT int rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **out)
{
	int rc = CALL(
		rdma_get_cm_event, fault_refuse(ENOMEM), REAL(rdma_get_cm_event)(channel, out));

	if (rc || !fault_is_ours(ORIGIN))
		return rc;
	fault_created(FAULT_OBJECT_cm_event, *out, ORIGIN);
	if ((*out)->event == RDMA_CM_EVENT_CONNECT_REQUEST)
		fault_created(FAULT_OBJECT_id, (*out)->id, ORIGIN);
	if (fault_hit(FAULT_cm_event, ORIGIN))
		fail_step(*out);
	if (is_answer(*out) && fault_hit(FAULT_cm_refused, ORIGIN))
		refuse(*out);
	return 0;
}

EXPORT int rdma_ack_cm_event(struct rdma_cm_event *event)
{
	fault_destroyed(FAULT_OBJECT_cm_event, event);
	return REAL(rdma_ack_cm_event)(event);
}
