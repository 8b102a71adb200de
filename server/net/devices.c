/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/net/devices.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <rdma/rdma_cma.h>
#include <stdio.h>
#include <string.h>

#include "common/denial.h"
#include "common/log.h"
#include "common/verbs.h"
#include "server/base/crew.h"
#include "server/base/options.h"
#include "server/net/connection.h"

static bool wanted(const struct options *o, struct ibv_context *verbs)
{
	struct verbs_port port;
	struct in_addr bind;

	if (o->device)
		return strcmp(ibv_get_device_name(verbs->device), o->device) == 0;
	if (o->bind && inet_aton(o->bind, &bind))
		return verbs_find_port(verbs, bind, &port, NULL) == 0;
	return true;
}

static int no_device(const struct options *o, struct ibv_context **list, const struct errinfo *last,
	struct errinfo *errinfo)
{
	char names[256] = "";

	if (last->text[0]) {
		*errinfo = *last;
		return -ENODEV;
	}
	if (!o->device && o->bind)
		return errinfo_set(errinfo, -ENODEV,
			"%s is not the address of an RDMA device here: see rdma link, ip addr",
			o->bind);
	for (; *list; list++) {
		size_t n = strlen(names);

		snprintf(names + n, sizeof(names) - n, " %s", ibv_get_device_name((*list)->device));
	}
	return errinfo_set(
		errinfo, -ENODEV, "there is no RDMA device %s here; there is:%s", o->device, names);
}

int devices_open(struct net *net, const struct options *o, struct errinfo *errinfo)
{
	struct ibv_context **list = rdma_get_devices(NULL);
	struct errinfo last = { "" };
	int err = 0;

	net->region_max = UINT64_MAX;
	if (!list && (errno == ENOMEM || errno == EMFILE || errno == ENFILE))
		return denial_explain(DENIED_DEVICE, -errno, "listing the RDMA devices", errinfo);
	if (!list || !*list) {
		rdma_free_devices(list);
		if (denial_of_devices(errinfo))
			return -ENODEV;
		return errinfo_set(errinfo, -ENODEV,
			"there is no RDMA device here: make one with soft-RoCE (modprobe rdma_rxe; "
			"rdma link add rxe0 type rxe netdev IF) and look with rdma link");
	}
	for (struct ibv_context **verbs = list; *verbs && net->ndevices < DEVICES_MAX; verbs++) {
		struct device *d = &net->devices[net->ndevices];

		if (!wanted(o, *verbs))
			continue;
		if (device_open(d, *verbs, o->protection, &last)) {
			log_warn("%s", last.text);
			continue;
		}
		if (d->region_max < net->region_max)
			net->region_max = d->region_max;
		log_info("%s: protection by %s (other queue pair %s, revoked key %s, outside the "
			 "window %s)",
			device_name(d), protection_name(d->protection),
			probe_outcome_name(d->probe.other_queue_pair),
			probe_outcome_name(d->probe.revoked_key),
			probe_outcome_name(d->probe.outside_window));
		net->ndevices++;
	}
	if (!net->ndevices)
		err = no_device(o, list, &last, errinfo);
	rdma_free_devices(list);
	return err;
}

struct registering {
	struct net *net;
	const struct segment *segment;
	struct progress *progress;
};

static int register_segment(void *item, struct errinfo *errinfo)
{
	struct registering *r = item;
	int err = devices_register_segment(r->net, r->segment, r->progress, errinfo);

	if (err)
		atomic_store(&r->progress->stop, true);
	return err;
}

int devices_register_segment(struct net *net, const struct segment *s, struct progress *progress,
	struct errinfo *errinfo)
{
	int err = 0;

	for (unsigned i = 0; i < net->ndevices && !err; i++)
		err = device_register(&net->devices[i], s, progress, errinfo);
	return err;
}

void devices_unregister_segment(struct net *net, unsigned number)
{
	for (unsigned i = 0; i < net->ndevices; i++)
		device_unregister(&net->devices[i], number);
}

int devices_register(struct net *net, const struct pool *pool, struct errinfo *errinfo)
{
	struct registering items[SEGMENTS_MAX];
	void *list[SEGMENTS_MAX];
	struct progress progress;
	const struct crew crew = {
		.work = register_segment, .watch = progress_watch, .arg = &progress
	};
	uint64_t total_bytes = 0;
	unsigned cursor = 0, n = 0;
	int err;

	for (struct segment *s; (s = pool_next_segment(pool, &cursor)) != NULL; n++) {
		items[n] = (struct registering){ net, s, &progress };
		list[n] = &items[n];
		total_bytes += net->ndevices * s->arena.bytes;
	}
	progress_begin(&progress, "registered", total_bytes);
	err = crew_run(&crew, list, n, errinfo);
	progress_end(&progress);
	return err;
}

static void on_completions(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	connection_poll_device(arg);
}

int devices_watch(struct net *net)
{
	for (unsigned i = 0; i < net->ndevices; i++) {
		struct device *d = &net->devices[i];

		d->event = event_new(
			net->base, d->channel->fd, EV_READ | EV_PERSIST, on_completions, d);
		if (!d->event || event_add(d->event, NULL))
			return -ENOMEM;
	}
	return 0;
}

void devices_close(struct net *net)
{
	for (unsigned i = 0; i < net->ndevices; i++) {
		if (net->devices[i].event)
			event_free(net->devices[i].event);
		device_close(&net->devices[i]);
	}
	net->ndevices = 0;
}
