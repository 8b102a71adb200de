/* SPDX-License-Identifier: BSD-3-Clause */
/* rmemd: lend this machine's memory over RDMA and account for every byte of it. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/outlet.h"
#include "common/units.h"
#include "server/notify.h"
#include "server/base/options.h"
#include "server/server.h"

#define MMAP_BYTES (256 * 1024)

enum exit_status { EXIT_STOPPED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_ENVIRONMENT = 3 };

static struct server server;

static void announce(const struct options *o)
{
	char bytes[UNITS_TEXT_SIZE], coming[UNITS_TEXT_SIZE];
	uint64_t ready_bytes, coming_bytes = growth_coming_bytes(&server.growth, &ready_bytes);

	log_info("lending %s on port %u; rmemctl asks at %s",
		units_format_bytes(
			pool_size_bytes(&server.pool, POOL_ALL_NODES), bytes, sizeof(bytes)),
		o->port, o->admin_socket);
	if (coming_bytes)
		log_info("%s more are being made ready",
			units_format_bytes(coming_bytes, coming, sizeof(coming)));
	log_info("ready");
	notify_manager("READY=1");
}

int main(int argc, char **argv)
{
	struct options options;
	struct errinfo errinfo = { "" };
	int err;

	outlet_reserve();
	/* What an audit or a report needed goes back to the system at once, and is zeroed by it only where it is used. */
	mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	signal(SIGXFSZ,
		SIG_IGN); /* a file that may not grow is an error with a remedy, or a lost line */
	log_init("rmemd", LOG_LEVEL_INFO);
	switch (options_parse(&options, argc, argv, &errinfo)) {
	case OPTIONS_EXIT:
		return EXIT_STOPPED;
	case OPTIONS_WRONG:
		log_error("%s", errinfo.text);
		return EXIT_USAGE;
	case OPTIONS_RUN:
		break;
	}
	log_init("rmemd", options.log_level);
	err = server_start(&server, &options, &errinfo);
	if (err == -ECANCELED) {
		log_info("%s", errinfo.text);
		return EXIT_STOPPED;
	}
	if (err) {
		log_error("%s", errinfo.text);
		return err == -EINVAL ? EXIT_USAGE : EXIT_ENVIRONMENT;
	}
	announce(&options);
	err = server_run(&server);
	notify_manager("STOPPING=1");
	server_stop(&server);
	if (err)
		log_error("the event loop failed: %s", strerror(-err));
	return err ? EXIT_FAILED : EXIT_STOPPED;
}
