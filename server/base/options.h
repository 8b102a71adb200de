/* SPDX-License-Identifier: BSD-3-Clause */
/* What rmemd was asked to do on its command line (docs/man/rmemd.8.scd). */
#ifndef RMEM_SERVER_BASE_OPTIONS_H
#define RMEM_SERVER_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/log.h"
#include "common/errinfo.h"
#include "server/base/quota.h"

enum protection { PROTECTION_AUTO, PROTECTION_WINDOW, PROTECTION_REGION };

/* When memory of holders that are gone is taken back. */
enum reclaim_policy {
	RECLAIM_NEVER,
	RECLAIM_PRESSURE, /* when an allocation would fail otherwise */
	RECLAIM_AFTER,    /* also when the holder has been provably gone for reclaim_ms */
};

#define OPTIONS_SESSIONS 16384     /* the default */
#define OPTIONS_MAX_SESSIONS 65536 /* slots of the session table */
#define OPTIONS_MAX_CHANNELS 65536
#define OPTIONS_MAX_OBSERVERS 1024

struct options {
	const char *bind; /* address text, or NULL: all RDMA addresses */
	uint16_t port;
	const char *device; /* or NULL: all */
	const char *size;   /* or NULL: a sensible part of each node */
	char data_dir[108];
	char admin_socket[108];
	bool admin_named; /* by --admin: its directory is the user's matter */
	uint64_t ttl_ms;
	uint64_t courtesy_ms;
	enum reclaim_policy reclaim;
	uint64_t reclaim_ms;
	uint64_t audit_interval_ms; /* 0: only on demand */
	unsigned max_sessions, max_channels, max_observers;
	struct quota_rules
		quotas; /* as rmemd starts: operators may change them (server/ledger/quotas.h) */
	enum protection protection;
	enum log_level log_level;
};

/* OPTIONS_EXIT: --help or --version was answered on stdout. */
enum options_result { OPTIONS_RUN, OPTIONS_EXIT, OPTIONS_WRONG };

/* Fills *o with the defaults and what argv says. OPTIONS_WRONG: *why tells the user what to mend. */
enum options_result options_parse(
	struct options *o, int argc, char **argv, struct errinfo *errinfo);

const char *protection_name(enum protection p); /* "auto", "window", "region" */

/* "never", "pressure" or a duration such as "10m". */
const char *reclaim_text(const struct options *o, char *buf, size_t size);

#endif
