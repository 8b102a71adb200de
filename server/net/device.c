/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/net/device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/denial.h"
#include "common/verbs.h"
#include "server/base/destroy.h"
#include "server/memory/pool.h" /* numa/topology.h */

#define MAX_GIDS 256

const char *device_name(const struct device *d)
{
	return ibv_get_device_name(d->verbs->device);
}

const char *device_caution(const struct device *d)
{
	return verbs_is_rxe(&d->attr) ? "soft-RoCE: no security boundary; on a network that "
					"doubles packets a read can "
					"succeed without its data"
				      : "";
}

static int device_address(struct ibv_context *verbs, struct in_addr *out)
{
	struct ibv_gid_entry entries[MAX_GIDS];
	ssize_t n = ibv_query_gid_table(verbs, entries, MAX_GIDS, 0);

	for (ssize_t i = 0; i < n; i++) {
		const uint8_t *raw = entries[i].gid.raw;
		struct in6_addr in6;

		memcpy(&in6, raw, sizeof(in6));
		if (!IN6_IS_ADDR_V4MAPPED(&in6) || (raw[12] == 169 && raw[13] == 254))
			continue;
		memcpy(out, raw + 12, sizeof(*out));
		return 0;
	}
	return -ENODEV;
}

static void close_chunks(struct ibv_mr **chunks)
{
	for (struct ibv_mr **mr = chunks; mr && *mr; mr++)
		DESTROY("a region of the pool", ibv_dereg_mr(*mr));
	free(chunks);
}

int device_register(struct device *d, const struct segment *s, struct progress *progress,
	struct errinfo *errinfo)
{
	size_t count = (s->arena.bytes + d->region_max - 1) / d->region_max;
	struct ibv_mr **chunks;

	if (d->protection != PROTECTION_WINDOW)
		return 0;
	chunks = calloc(count + 1, sizeof(*chunks));
	if (!chunks)
		return errinfo_set(errinfo, -ENOMEM, "no memory for region handles");
	d->chunks[s->number] = chunks;
	for (size_t i = 0; i < count; i++) {
		uint64_t offset = i * d->region_max, left = s->arena.bytes - offset;
		uint64_t bytes = left < d->region_max ? left : d->region_max;

		chunks[i] = ibv_reg_mr_iova(d->pd, s->arena.base + offset, bytes,
			addr_make(s->number, offset), IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND);
		if (!chunks[i]) {
			char doing[96];

			snprintf(doing, sizeof(doing), "%.60s: registering the memory of node %u",
				device_name(d), s->node);
			return denial_explain(DENIED_PINNED, verbs_errno(), doing, errinfo);
		}
		if (!progress_add(progress, bytes))
			return errinfo_set(errinfo, -ECANCELED,
				"stopped while memory of node %u was being registered", s->node);
	}
	return 0;
}

void device_unregister(struct device *d, unsigned segment)
{
	close_chunks(d->chunks[segment]);
	d->chunks[segment] = NULL;
}

/* Without these no allocation is ever safe to hand on, whatever the user asked for. */
static int check_probe(const struct device *d, struct errinfo *errinfo)
{
	const struct probe_result *p = &d->probe;

	if (p->other_queue_pair == PROBE_ALLOWED)
		return errinfo_set(errinfo, -EOPNOTSUPP,
			"%s lets other queue pairs use a window's key: type-2 windows protect "
			"nothing there",
			device_name(d));
	if (p->revoked_key == PROBE_ALLOWED)
		return errinfo_set(errinfo, -EOPNOTSUPP,
			"%s still accepts a revoked key: memory could not be lent to somebody else "
			"safely",
			device_name(d));
	if (p->outside_window == PROBE_ALLOWED && p->outside_region == PROBE_ALLOWED)
		return errinfo_set(errinfo, -EOPNOTSUPP,
			"%s enforces the bounds of neither windows nor regions: it protects "
			"nothing",
			device_name(d));
	if (p->other_queue_pair != PROBE_REFUSED || p->revoked_key != PROBE_REFUSED ||
		p->remote_address != PROBE_ALLOWED)
		return errinfo_set(errinfo, -EOPNOTSUPP, "%s could not be probed: %s",
			device_name(d), p->note.text);
	return 0;
}

static int choose_protection(struct device *d, enum protection wanted, struct errinfo *errinfo)
{
	bool window = d->probe.outside_window == PROBE_REFUSED;
	bool region = d->probe.outside_region == PROBE_REFUSED;

	d->protection = wanted;
	if (wanted == PROTECTION_AUTO)
		d->protection = window ? PROTECTION_WINDOW : PROTECTION_REGION;
	if (d->protection == PROTECTION_REGION && !region)
		return errinfo_set(errinfo, -EOPNOTSUPP,
			"%s does not enforce the bounds of regions: use --protection auto",
			device_name(d));
	if (d->protection == PROTECTION_WINDOW && !window)
		log_warn("%s does not enforce the bounds of windows: with --protection window, "
			 "clients can reach each other's memory",
			device_name(d));
	return 0;
}

int device_open(struct device *d, struct ibv_context *verbs, enum protection wanted,
	struct errinfo *errinfo)
{
	int err;

	memset(d, 0, sizeof(*d));
	d->node = TOPOLOGY_UNKNOWN;
	d->verbs = verbs;
	err = device_address(verbs, &d->address);
	if (err)
		return errinfo_set(errinfo, err,
			"%s has no IPv4 address: give its network interface one (ip addr add …)",
			device_name(d));
	err = verbs_err(ibv_query_device(verbs, &d->attr));
	if (err)
		return errinfo_set(
			errinfo, err, "%s does not answer: %s", device_name(d), strerror(-err));
	d->region_max = verbs_region_max(&d->attr);
	if (d->region_max > PART_MAX_BYTES)
		d->region_max = PART_MAX_BYTES;
	if (!(d->attr.device_cap_flags &
		    (IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B)))
		return errinfo_set(errinfo, -EOPNOTSUPP,
			"%s has no type-2 memory windows, which rmemd cannot do without",
			device_name(d));
	d->pd = ibv_alloc_pd(verbs);
	if (!d->pd)
		return denial_explain(DENIED_PINNED, verbs_errno(), "a protection domain", errinfo);
	d->channel = ibv_create_comp_channel(verbs);
	if (!d->channel) {
		err = denial_explain(DENIED_PINNED, verbs_errno(), "a completion channel", errinfo);
		goto fail;
	}
	err = verbs_set_nonblocking(d->channel->fd);
	if (err) {
		errinfo_set(errinfo, err, "%s: fcntl: %s", device_name(d), strerror(-err));
		goto fail;
	}
	err = probe_run(verbs, d->pd, d->address, &d->probe, errinfo);
	if (!err)
		err = check_probe(d, errinfo);
	if (!err)
		err = choose_protection(d, wanted, errinfo);
	if (err)
		goto fail;
	return 0;
fail:
	device_close(d);
	return err;
}

void device_close(struct device *d)
{
	if (!d)
		return;
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		device_unregister(d, i);
	if (d->channel)
		DESTROY("a completion channel", ibv_destroy_comp_channel(d->channel));
	if (d->pd)
		DESTROY("a protection domain", ibv_dealloc_pd(d->pd));
	d->channel = NULL;
	d->pd = NULL;
}

struct ibv_mr *device_chunk(const struct device *d, uint64_t addr)
{
	struct ibv_mr **chunks = d->chunks[addr_segment(addr)];

	return chunks ? chunks[addr_offset(addr) / d->region_max] : NULL;
}
