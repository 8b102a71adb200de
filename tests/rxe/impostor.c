/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/rxe/impostor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/rxe/rig.h"

#define PEERS_MAX 8

struct impostor {
	struct impostor_manner manner;
	struct rdma_event_channel *channel;
	struct rdma_cm_id *listener;
	struct rdma_cm_id *peers[PEERS_MAX];
	unsigned npeers, asked;
	int stop_fd;
	pthread_t thread;
};

static bool welcome(struct impostor *i, struct rdma_cm_id *id)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 }
	};
	struct rdma_conn_param param = { .private_data = i->manner.data,
		.private_data_len = i->manner.data_bytes,
		.rnr_retry_count = 6 };

	if (i->npeers == PEERS_MAX || rdma_create_qp(id, NULL, &attr))
		return false;
	if (rdma_accept(id, &param)) {
		rdma_destroy_qp(id);
		return false;
	}
	i->peers[i->npeers++] = id;
	return true;
}

static void answer(struct impostor *i, struct rdma_cm_event *event)
{
	enum rdma_cm_event_type type = event->event;
	struct rdma_cm_id *id = event->id;
	bool kept = true;

	if (type == RDMA_CM_EVENT_CONNECT_REQUEST) {
		i->asked++;
		if (i->manner.vanishes)
			kept = false;
		else if (i->manner.accepts)
			kept = welcome(i, id);
		else
			kept = rdma_reject(id, i->manner.data, i->manner.data_bytes) != 0;
	}
	rdma_ack_cm_event(event);
	if (type == RDMA_CM_EVENT_DISCONNECTED)
		rdma_disconnect(id);
	if (!kept)
		rdma_destroy_id(id);
}

static void *serve(void *arg)
{
	struct impostor *i = arg;
	struct pollfd fds[2] = {
		{ .fd = i->channel->fd, .events = POLLIN },
		{ .fd = i->stop_fd, .events = POLLIN },
	};
	struct rdma_cm_event *event;

	while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
		while (rdma_get_cm_event(i->channel, &event) == 0)
			answer(i, event);
	}
	return NULL;
}

struct impostor *impostor_start(uint16_t port, const struct impostor_manner *manner)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct impostor *i = calloc(1, sizeof(*i));

	assert_non_null(i);
	i->manner = *manner;
	i->stop_fd = eventfd(0, EFD_CLOEXEC);
	i->channel = rdma_create_event_channel();
	assert_non_null(i->channel);
	fcntl(i->channel->fd, F_SETFL, O_NONBLOCK);
	assert_int_equal(inet_pton(AF_INET, rig_host(), &address.sin_addr), 1);
	assert_int_equal(rdma_create_id(i->channel, &i->listener, NULL, RDMA_PS_TCP), 0);
	if (rdma_bind_addr(i->listener, (struct sockaddr *)&address) ||
		rdma_listen(i->listener, PEERS_MAX))
		fail_msg("the impostor cannot listen: %s", strerror(errno));
	assert_int_equal(pthread_create(&i->thread, NULL, serve, i), 0);
	return i;
}

unsigned impostor_stop(struct impostor *i)
{
	unsigned asked;

	eventfd_write(i->stop_fd, 1);
	pthread_join(i->thread, NULL);
	while (i->npeers) {
		struct rdma_cm_id *id = i->peers[--i->npeers];

		rdma_disconnect(id);
		rdma_destroy_qp(id);
		rdma_destroy_id(id);
	}
	rdma_destroy_id(i->listener);
	rdma_destroy_event_channel(i->channel);
	close(i->stop_fd);
	asked = i->asked;
	free(i);
	return asked;
}
