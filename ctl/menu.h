/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands and options of rmemctl(1), once: parsing, --help and completion are made from these tables.
 *
 * An entry belongs to one or several reports. The same name may have several entries, for different reports: with
 * another help, other words, or as another option.
 */
#ifndef RMEM_CTL_MENU_H
#define RMEM_CTL_MENU_H

#include <stdbool.h>
#include <stddef.h>

#include "ctl/render.h"

enum option_id {
	OPTION_ADMIN,
	OPTION_SERVER,
	OPTION_PORT,
	OPTION_TIMEOUT,
	OPTION_JSON,
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_KINDS,
	OPTION_LIMIT,
	OPTION_OLDER,
	OPTION_MIN_BYTES,
	OPTION_FAIL_ON,
	OPTION_FAIL_OLDER,
	OPTION_FAIL_SHOWN,
	OPTION_SESSION,
	OPTION_JOB,
	OPTION_UID,
	OPTION_HOST,
	OPTION_SITE,
	OPTION_SORT,
	OPTION_COLUMNS,
	OPTION_QUIET,
	OPTION_RECLAIMED,
	OPTION_ACK,
	OPTION_AUDIT,
	OPTION_NODE,
	OPTION_BLOCKS,
	OPTION_WATCH,
	OPTION_YES,
	OPTION_SIZE,
	OPTION_QUOTA_SESSION,
	OPTION_QUOTA_JOB,
};

#define REPORT_BIT(report) (1U << (report))
#define REPORT_BITS_ALL (REPORT_BIT(REPORTS) - 1)

struct menu_option {
	enum option_id id;
	char letter;      /* '\0': none */
	const char *name; /* without "--" */
	/* what it is called in --help, "[…]": it may be missing; NULL: it takes none */
	const char *value;
	unsigned reports;  /* bits */
	const char *help;  /* lines; NULL: an old name, not shown */
	const char *words; /* for completion; "FILE": a path; NULL: anything */
};

struct menu_command {
	const char *name;
	const char *operand; /* "ADDR", or NULL */
	const char *words;   /* for completion of the operand, or NULL */
	const char *summary; /* of the general help */
	const char *about;   /* of its own */
};

/* By enum report, and "completion" behind them. */
#define MENU_COMPLETION REPORT_COMMANDS
#define MENU_COMMANDS (REPORT_COMMANDS + 1)
extern const struct menu_command menu_commands[MENU_COMMANDS];

extern const struct menu_option menu_options[];
extern const size_t menu_noptions;

/* Its words are the only values. */
bool menu_is_choice(const struct menu_option *o);

/* MENU_COMMANDS: there is no such command. */
unsigned menu_find_command(const char *name);

/* Bits: leaks has several reports. None of those that are no reports. */
unsigned menu_reports(unsigned command);

/* The entry of that name, or of that letter if name is NULL, for a report; NULL if it has none. */
const struct menu_option *menu_find(const char *name, char letter, enum report report);

/* Is this one of the words of a list that is separated by blanks? */
bool menu_has_word(const char *words, const char *word, size_t len);

/* "leaks, sessions and map": the reports of all entries of that option. */
void menu_put_owners(const struct menu_option *o, char *buf, size_t size);

#endif
