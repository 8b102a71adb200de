/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of rmemctl(1). Options may stand before or after the command. */
#ifndef RMEM_CTL_OPTIONS_H
#define RMEM_CTL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/target.h"
#include "common/errinfo.h"
#include "ctl/render.h"
#include "ctl/verdict.h"

enum exit_status {
	STATUS_CLEAN = 0,
	STATUS_LEAKS = 1,
	STATUS_DECLINED = 1, /* an order was not confirmed */
	STATUS_USAGE = 2,
	STATUS_UNCHECKED = 3, /* could not check: wins over clean and leaks */
};

enum action { ACTION_REPORT, ACTION_HELP, ACTION_VERSION, ACTION_COMPLETION };

struct options {
	enum action action;
	/* of ctl/menu.h; MENU_COMMANDS: none, only with ACTION_HELP and ACTION_VERSION */
	unsigned command;
	enum report report; /* of a command that is one */
	const char *admin;  /* NULL: the usual sockets of port */
	const char *server; /* NULL: ask on a socket; then target says the same */
	struct target target;
	uint16_t port;
	uint64_t timeout_ms;
	bool json;
	bool quiet;          /* print nothing but errors */
	struct gate gate;    /* leaks: what makes the exit status 1 */
	uint64_t addr;       /* who-holds, revoke */
	char session[33];    /* evict: its first digits */
	uint64_t allocation; /* revoke: only the one with this number; 0: whichever is there */
	const char *level;   /* log-level */
	const char *size;    /* resize */
	const char *quota_session, *quota_job; /* quota: as they are to be; NULL: as they are */
	bool yes;                              /* an order is confirmed */
	bool preview;                          /* ... or is only to say what it would do */
	uint64_t watch_ms;                     /* the report again and again; 0: once */
	struct view view;
};

/* -EINVAL with a reason that names the offending word. Pointers into argv stay in out. */
int options_parse(int argc, char **argv, struct options *out, struct errinfo *errinfo);

#endif
