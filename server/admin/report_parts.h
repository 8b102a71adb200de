/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of docs/ADMIN.md that several reports share, and functions that fill them. The only failure, out of memory,
 * is remembered in the draft; draft_finish() checks it once.
 */
#ifndef RMEM_SERVER_ADMIN_REPORT_PARTS_H
#define RMEM_SERVER_ADMIN_REPORT_PARTS_H

#include <jansson.h>

#include "server/admin/report_view.h"

struct draft {
	const struct report_view *view;
	bool failed;
};

/* An answer with its first fields. draft_finish() returns the answer, or frees it and returns NULL. */
json_t *draft_begin(struct draft *d, const char *report);
json_t *draft_finish(struct draft *d, json_t *answer);

/* Both take over value; NULL is a failure. */
void draft_set(struct draft *d, json_t *object, const char *key, json_t *value);
void draft_append(struct draft *d, json_t *array, json_t *value);

void draft_set_number(struct draft *d, json_t *object, const char *key, uint64_t value);
/* null if the value is 0. */
void draft_set_known(struct draft *d, json_t *object, const char *key, uint64_t value);
/* Peers' texts may be any bytes: if text is not UTF-8, each byte from 0x80 on becomes '?'. */
void draft_set_text(struct draft *d, json_t *object, const char *key, const char *text);
/* Write a server time as wall-clock time; 0: none. */
void draft_set_time(struct draft *d, json_t *object, const char *key, uint64_t time_ns);
void draft_set_addr(struct draft *d, json_t *object, const char *key, uint64_t addr);

/* A session's lease in the words of docs/ADMIN.md, "none" if unknown, and for how long. */
const char *part_lease(const struct report_view *view, uint32_t slot,
	const struct session_record *r, uint64_t *out_for_ms);

/* r may be NULL: the session is not in the table. */
json_t *part_holder(struct draft *d, uint32_t slot, const struct session_record *r,
	const struct ledger_share *share);

/* "session": 32 hexadecimal digits. */
void part_session_id(struct draft *d, json_t *o, const uint8_t id[ID_SIZE]);

/* The session of that slot and serial number, or NULL. */
const struct session_record *part_session(
	const struct report_view *view, uint32_t slot, uint64_t serial);

/* "journal": which modes some sessions have, "journal_age_ms": how old the records of the lazy ones may be. */
void part_journal(struct draft *d, json_t *o, bool exact, bool lazy, uint64_t age_ns);

json_t *part_node(struct draft *d, const struct audit_node *node);
json_t *part_stack(struct draft *d, uint32_t site);

/* NULL: the server does not have that node. */
const struct report_node *part_find_node(const struct report_view *view, unsigned node);

/* The view as an audit's input; nodes is storage for input.nodes. */
struct audit_input part_audit_input(
	const struct report_view *view, struct audit_node nodes[ADDR_MAX_NODES]);

/* From a server time until view->now_ns. */
uint64_t part_ago_ms(const struct report_view *view, uint64_t since_ns);

#endif
