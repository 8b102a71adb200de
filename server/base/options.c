/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/base/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rundir.h"
#include "common/units.h"
#include "rmem/rmem.h"

#define TTL_MIN_MS 200ULL
#define TTL_MAX_MS (3600ULL * 1000)

static const char usage[] =
	"Usage: rmemd [OPTION]…\n"
	"Lend this machine's memory over RDMA and account for every byte of it.\n"
	"\n"
	"  --port N               port to listen on (default 7471)\n"
	"  --bind ADDR            listen on this RDMA address only (default: all)\n"
	"  --device NAME          use this RDMA device only (default: all active ones)\n"
	"  --size SIZE            pool size, spread over the NUMA nodes, e.g. 64G; or per node:\n"
	"                         0:32G,1:16G; or on the nodes that are best in capacity,\n"
	"                         bandwidth or latency: capacity:64G,bandwidth:8G\n"
	"                         (default: a quarter of each node's free memory)\n"
	"  --data DIR             where the memory's files are, on tmpfs or hugetlbfs\n"
	"                         (default /dev/shm/rmemd-PORT)\n"
	"  --ttl DURATION         how long a client may be silent (default 10s)\n"
	"  --courtesy DURATION    how long memory is kept after that (default 24h)\n"
	"  --reclaim POLICY       never, pressure (when an allocation would fail; the default), or "
	"a\n"
	"                         DURATION after which memory of dead holders is taken back\n"
	"  --audit-interval DUR   time between audits (default 60s; 0: only on demand)\n"
	"  --max-sessions N       sessions kept at a time, also of clients that are gone\n"
	"                         (default 16384, at most 65536)\n"
	"  --max-channels N       their further connections, for data (default 4096)\n"
	"  --max-observers N      rmemctl over RDMA at a time (default 64)\n"
	"  --quota-session QUOTA  what one session can have, such as bytes=8G,blocks=100000,\n"
	"                         objects=1000000,windows=50000 (default: no limits)\n"
	"  --quota-job [JOB:]QUOTA  ... and all sessions of a job together, but for windows;\n"
	"                         with JOB, of that one; may be given several times\n"
	"  --protection MODE      auto (what the device enforces; the default), window or region\n"
	"  --admin SOCKET         socket for rmemctl (default /run/rmemd/PORT.sock)\n"
	"  --log-level LEVEL      error, warn, info (default) or debug\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 stopped cleanly, 1 failed while running, 2 wrong usage, 3 could not start "
	"here\n"
	"(no RDMA device, memory limit, port in use, …). See rmemd(8).\n";

enum option_key {
	OPT_PORT = 256,
	OPT_BIND,
	OPT_DEVICE,
	OPT_SIZE,
	OPT_DATA,
	OPT_TTL,
	OPT_COURTESY,
	OPT_RECLAIM,
	OPT_AUDIT_INTERVAL,
	OPT_MAX_SESSIONS,
	OPT_MAX_CHANNELS,
	OPT_MAX_OBSERVERS,
	OPT_QUOTA_SESSION,
	OPT_QUOTA_JOB,
	OPT_PROTECTION,
	OPT_ADMIN,
	OPT_LOG_LEVEL,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "port", required_argument, NULL, OPT_PORT },
	{ "bind", required_argument, NULL, OPT_BIND },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "size", required_argument, NULL, OPT_SIZE },
	{ "data", required_argument, NULL, OPT_DATA },
	{ "ttl", required_argument, NULL, OPT_TTL },
	{ "courtesy", required_argument, NULL, OPT_COURTESY },
	{ "reclaim", required_argument, NULL, OPT_RECLAIM },
	{ "audit-interval", required_argument, NULL, OPT_AUDIT_INTERVAL },
	{ "max-sessions", required_argument, NULL, OPT_MAX_SESSIONS },
	{ "max-channels", required_argument, NULL, OPT_MAX_CHANNELS },
	{ "max-observers", required_argument, NULL, OPT_MAX_OBSERVERS },
	{ "quota-session", required_argument, NULL, OPT_QUOTA_SESSION },
	{ "quota-job", required_argument, NULL, OPT_QUOTA_JOB },
	{ "protection", required_argument, NULL, OPT_PROTECTION },
	{ "admin", required_argument, NULL, OPT_ADMIN },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char *const protection_names[] = { "auto", "window", "region" };

const char *protection_name(enum protection p)
{
	return protection_names[p];
}

const char *reclaim_text(const struct options *o, char *buf, size_t size)
{
	if (o->reclaim == RECLAIM_AFTER)
		return units_format_duration(o->reclaim_ms, buf, size);
	snprintf(buf, size, "%s", o->reclaim == RECLAIM_NEVER ? "never" : "pressure");
	return buf;
}

static int parse_port(const char *text, uint16_t *out, struct errinfo *errinfo)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || port < 1 || port > 65535)
		return errinfo_set(
			errinfo, -EINVAL, "--port %s: a port is a number from 1 to 65535", text);
	*out = (uint16_t)port;
	return 0;
}

static int parse_count(
	const char *option, const char *text, unsigned max, unsigned *out, struct errinfo *errinfo)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n < 1 || n > max)
		return errinfo_set(errinfo, -EINVAL, "--%s %s: must be a number from 1 to %u",
			option, text, max);
	*out = (unsigned)n;
	return 0;
}

static int parse_duration(const char *option, const char *text, uint64_t min_ms, uint64_t max_ms,
	uint64_t *out_ms, struct errinfo *errinfo)
{
	char lo[UNITS_TEXT_SIZE], hi[UNITS_TEXT_SIZE];
	uint64_t ms;

	if (units_parse_duration(text, &ms))
		return errinfo_set(errinfo, -EINVAL,
			"--%s %s: a duration is a number and ms, s, m, h or d, such as 10s", option,
			text);
	if (ms < min_ms || ms > max_ms)
		return errinfo_set(errinfo, -EINVAL, "--%s %s: must be between %s and %s", option,
			text, units_format_duration(min_ms, lo, sizeof(lo)),
			units_format_duration(max_ms, hi, sizeof(hi)));
	*out_ms = ms;
	return 0;
}

static int parse_reclaim(
	struct options *o, const char *text, uint64_t max_ms, struct errinfo *errinfo)
{
	char max[UNITS_TEXT_SIZE];

	if (strcmp(text, "never") == 0) {
		o->reclaim = RECLAIM_NEVER;
		return 0;
	}
	if (strcmp(text, "pressure") == 0) {
		o->reclaim = RECLAIM_PRESSURE;
		return 0;
	}
	if (units_parse_duration(text, &o->reclaim_ms))
		return errinfo_set(errinfo, -EINVAL,
			"--reclaim %s: must be never, pressure or a duration such as 10m", text);
	if (o->reclaim_ms > max_ms)
		return errinfo_set(errinfo, -EINVAL, "--reclaim %s: at most %s", text,
			units_format_duration(max_ms, max, sizeof(max)));
	o->reclaim = RECLAIM_AFTER;
	return 0;
}

static int parse_protection(struct options *o, const char *text, struct errinfo *errinfo)
{
	for (unsigned i = 0; i < sizeof(protection_names) / sizeof(protection_names[0]); i++) {
		if (strcmp(text, protection_names[i]) == 0) {
			o->protection = (enum protection)i;
			return 0;
		}
	}
	return errinfo_set(
		errinfo, -EINVAL, "--protection %s: must be auto, window or region", text);
}

static int parse_bind(struct options *o, const char *text, struct errinfo *errinfo)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1)
		return errinfo_set(errinfo, -EINVAL, "--bind %s: an IPv4 address is needed", text);
	/* The connection manager would accept it, and no client could connect. */
	if (ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET)
		return errinfo_set(errinfo, -EINVAL,
			"--bind %s: no RDMA device has a loopback address: see rdma link, ip addr",
			text);
	o->bind = text;
	return 0;
}

static int set_path(
	char *out, size_t size, const char *option, const char *text, struct errinfo *errinfo)
{
	if (!*text || strlen(text) >= size)
		return errinfo_set(errinfo, -EINVAL, "--%s: a path of 1 to %zu bytes is needed",
			option, size - 1);
	snprintf(out, size, "%s", text);
	return 0;
}

static int apply(struct options *o, int key, const char *arg, struct errinfo *errinfo)
{
	const uint64_t year_ms = 366ULL * 86400 * 1000;

	switch (key) {
	case OPT_PORT:
		return parse_port(arg, &o->port, errinfo);
	case OPT_BIND:
		return parse_bind(o, arg, errinfo);
	case OPT_DEVICE:
		o->device = arg;
		return 0;
	case OPT_SIZE:
		o->size = arg;
		return 0;
	case OPT_DATA:
		return set_path(o->data_dir, sizeof(o->data_dir), "data", arg, errinfo);
	case OPT_ADMIN:
		o->admin_named = true;
		return set_path(o->admin_socket, sizeof(o->admin_socket), "admin", arg, errinfo);
	case OPT_TTL:
		return parse_duration("ttl", arg, TTL_MIN_MS, TTL_MAX_MS, &o->ttl_ms, errinfo);
	case OPT_COURTESY:
		return parse_duration("courtesy", arg, 0, year_ms, &o->courtesy_ms, errinfo);
	case OPT_AUDIT_INTERVAL:
		return parse_duration(
			"audit-interval", arg, 0, year_ms, &o->audit_interval_ms, errinfo);
	case OPT_RECLAIM:
		return parse_reclaim(o, arg, year_ms, errinfo);
	case OPT_MAX_SESSIONS:
		return parse_count(
			"max-sessions", arg, OPTIONS_MAX_SESSIONS, &o->max_sessions, errinfo);
	case OPT_MAX_CHANNELS:
		return parse_count(
			"max-channels", arg, OPTIONS_MAX_CHANNELS, &o->max_channels, errinfo);
	case OPT_MAX_OBSERVERS:
		return parse_count(
			"max-observers", arg, OPTIONS_MAX_OBSERVERS, &o->max_observers, errinfo);
	case OPT_QUOTA_SESSION:
		return quota_set_session(&o->quotas, arg, errinfo);
	case OPT_QUOTA_JOB:
		return quota_set_job(&o->quotas, arg, errinfo);
	case OPT_PROTECTION:
		return parse_protection(o, arg, errinfo);
	case OPT_LOG_LEVEL:
		if (log_parse_level(arg, &o->log_level) || o->log_level == LOG_LEVEL_OFF)
			return errinfo_set(errinfo, -EINVAL,
				"--log-level %s: must be error, warn, info or debug", arg);
		return 0;
	default:
		return -EINVAL;
	}
}

static int set_default_paths(struct options *o, struct errinfo *errinfo)
{
	if (!o->data_dir[0] && rundir_data_dir(o->port, o->data_dir, sizeof(o->data_dir)))
		return errinfo_set(
			errinfo, -EINVAL, "no default data directory: name one with --data");
	if (!o->admin_socket[0] &&
		rundir_admin_socket(o->port, o->admin_socket, sizeof(o->admin_socket)))
		return errinfo_set(
			errinfo, -EINVAL, "no default admin socket: name one with --admin");
	return 0;
}

enum options_result options_parse(struct options *o, int argc, char **argv, struct errinfo *errinfo)
{
	int key;

	memset(o, 0, sizeof(*o));
	o->port = RMEM_DEFAULT_PORT;
	o->ttl_ms = 10ULL * 1000;
	o->courtesy_ms = 24ULL * 3600 * 1000;
	o->reclaim = RECLAIM_PRESSURE;
	o->audit_interval_ms = 60ULL * 1000;
	o->max_sessions = OPTIONS_SESSIONS;
	o->max_channels = 4096;
	o->max_observers = 64;
	o->log_level = LOG_LEVEL_INFO;

	opterr = 0;
	while ((key = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (key == OPT_HELP) {
			fputs(usage, stdout);
			return OPTIONS_EXIT;
		}
		if (key == OPT_VERSION) {
			puts("rmemd " RMEM_VERSION);
			return OPTIONS_EXIT;
		}
		if (key == ':') {
			errinfo_set(errinfo, -EINVAL, "%s needs an argument", argv[optind - 1]);
			return OPTIONS_WRONG;
		}
		if (key == '?') {
			errinfo_set(errinfo, -EINVAL, "unknown option %s (rmemd --help lists them)",
				argv[optind - 1]);
			return OPTIONS_WRONG;
		}
		if (apply(o, key, optarg, errinfo))
			return OPTIONS_WRONG;
	}
	if (optind < argc) {
		errinfo_set(errinfo, -EINVAL,
			"%s: rmemd takes options only (rmemd --help lists them)", argv[optind]);
		return OPTIONS_WRONG;
	}
	return set_default_paths(o, errinfo) ? OPTIONS_WRONG : OPTIONS_RUN;
}
