/* SPDX-License-Identifier: BSD-3-Clause */
/* The objects that several reports share (docs/ADMIN.md): nodes, holders, stacks. */
#ifndef RMEM_CTL_PARTS_H
#define RMEM_CTL_PARTS_H

#include <jansson.h>
#include <stdio.h>

#include "ctl/field.h"
#include "ctl/sheet.h"

/* "node0 64.0 GiB: 67108864 KiB = live 480 KiB + …   UNACCOUNTED 0 KiB" and a newline: exact, it adds up. */
void part_conservation(FILE *out, const json_t *node, struct check *c);

/* "2 more records not shown: left out by options" and a newline; nothing for 0. */
void part_hidden(FILE *out, uint64_t n, const char *what);

/* The cells of a table with the columns NODE_COLUMNS. */
#define NODE_COLUMNS \
	{ "NODE", true }, { "SIZE", true }, { "LIVE", true }, { "COURTESY", true }, \
		{ "QUARANTINE", true }, { "ZOMBIE", true }, { "FREE", true }, \
	{ \
		"UNACCOUNTED", true \
	}
void part_node_cells(struct sheet *s, const json_t *node, struct check *c);

/* "ingestd[4411] on n12, uid 1001, job etl-992, dead since 11m (pid gone, boot id same)". */
void part_holder(FILE *out, const json_t *holder, struct check *c);

/* One line per frame, "   at  " before the first and "   by  " before the others. */
void part_stack(FILE *out, const json_t *stack, struct check *c);

/* "rmemd 0.1.0, pid 812 on n12, port 7471". */
void part_server(FILE *out, const json_t *server, struct check *c);

#endif
