/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/verbs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

int verbs_err(int ret)
{
	if (ret > 0)
		return -ret;
	if (ret == -1)
		return verbs_errno();
	return ret;
}

int verbs_errno(void)
{
	return errno ? -errno : -EIO;
}

int verbs_wc_errno(enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_SUCCESS:
		return 0;
	case IBV_WC_REM_ACCESS_ERR:
		return -EACCES;
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
		return -ETIMEDOUT;
	case IBV_WC_WR_FLUSH_ERR:
		return -ECANCELED;
	case IBV_WC_LOC_PROT_ERR:
	case IBV_WC_LOC_ACCESS_ERR:
		return -EFAULT;
	case IBV_WC_MW_BIND_ERR:
		return -EINVAL;
	default:
		return -EIO;
	}
}

int verbs_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? verbs_errno() : 0;
}

static bool gid_is_ipv4(const union ibv_gid *gid, struct in_addr addr)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(gid->raw, mapped, sizeof(mapped)) == 0 &&
	       memcmp(gid->raw + sizeof(mapped), &addr, sizeof(addr)) == 0;
}

/* How good a match is: the better one wins, whatever the order of ports and table entries. */
enum match { MATCH_NONE, MATCH_LID, MATCH_ROCE_V1, MATCH_ROCE_V2 };

/* Look through one RoCE port's GID table for something better than best. */
static enum match match_gid(struct ibv_context *ctx, uint8_t port, const struct ibv_port_attr *attr,
	struct in_addr addr, enum match best, struct verbs_port *out)
{
	for (int i = 0; i < attr->gid_tbl_len && i <= UINT8_MAX; i++) {
		struct ibv_gid_entry entry;
		enum match match;

		/* An empty entry is an error, not the end of the table. */
		if (ibv_query_gid_ex(ctx, port, (uint32_t)i, &entry, 0) != 0)
			continue;
		if (!gid_is_ipv4(&entry.gid, addr))
			continue;
		match = entry.gid_type == IBV_GID_TYPE_ROCE_V2 ? MATCH_ROCE_V2 : MATCH_ROCE_V1;
		if (match <= best)
			continue;
		best = match;
		*out = (struct verbs_port){
			.port = port,
			.gid_index = (uint8_t)i,
			.global = true,
			.lid = attr->lid,
			.gid = entry.gid,
			.mtu = attr->active_mtu,
		};
	}
	return best;
}

int verbs_find_port(struct ibv_context *ctx, struct in_addr addr, struct verbs_port *out,
	struct errinfo *errinfo)
{
	struct ibv_device_attr device;
	char text[INET_ADDRSTRLEN] = "?";
	enum match best = MATCH_NONE;
	int err;

	err = verbs_err(ibv_query_device(ctx, &device));
	if (err)
		return errinfo_set(errinfo, err, "cannot query device %s: %s",
			ibv_get_device_name(ctx->device), errinfo_errno(-err));
	for (unsigned port = 1; port <= device.phys_port_cnt; port++) {
		struct ibv_port_attr attr;

		if (ibv_query_port(ctx, (uint8_t)port, &attr) != 0 || attr.state != IBV_PORT_ACTIVE)
			continue;
		if (attr.link_layer == IBV_LINK_LAYER_ETHERNET) {
			best = match_gid(ctx, (uint8_t)port, &attr, addr, best, out);
		} else if (best < MATCH_LID) {
			best = MATCH_LID;
			*out = (struct verbs_port){
				.port = (uint8_t)port, .lid = attr.lid, .mtu = attr.active_mtu
			};
		}
	}
	if (best != MATCH_NONE)
		return 0;
	inet_ntop(AF_INET, &addr, text, sizeof(text));
	return errinfo_set(errinfo, -EADDRNOTAVAIL,
		"device %s has no active port with address %s: check `rdma link` and `ip address`",
		ibv_get_device_name(ctx->device), text);
}

/* What Linux says of soft-RoCE: drivers/infiniband/sw/rxe/rxe_param.h. */
#define VENDOR_RXE 0xffffff

bool verbs_is_rxe(const struct ibv_device_attr *attr)
{
	return attr->vendor_id == VENDOR_RXE;
}

uint64_t verbs_region_max(const struct ibv_device_attr *attr)
{
	const uint64_t most = verbs_is_rxe(attr) ? 1ULL << 30 : 1ULL << 63;
	const uint64_t says = attr->max_mr_size;

	return says && says < most ? 1ULL << (63 - __builtin_clzll(says)) : most;
}
