/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An aligned table, filled cell by cell. The same on a terminal and in a pipe: nothing is cut to the
 * width of a window. The first failure (always -ENOMEM) sticks and is returned by sheet_print().
 */
#ifndef RMEM_CTL_SHEET_H
#define RMEM_CTL_SHEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct sheet_column {
	const char *name;
	bool right; /* aligned right: numbers */
};

struct sheet {
	struct libscols_table *table;
	struct libscols_line *line;
	size_t column; /* where the next cell goes */
	bool failed;
};

/* Always pair with sheet_finish(). */
void sheet_start(struct sheet *s, const struct sheet_column *columns, size_t ncolumns);

/* The cells that follow go into a new row, left to right. */
void sheet_row(struct sheet *s);

/* Control characters are made visible; "" shows as "-", so that every column can be cut(1) out. */
void sheet_text(struct sheet *s, const char *text);
void sheet_number(struct sheet *s, int64_t value);
void sheet_bytes(struct sheet *s, uint64_t bytes);
void sheet_duration(struct sheet *s, uint64_t ms);

/* Print the table (nothing, when it has no rows) and free it. 0 or -ENOMEM. */
int sheet_finish(struct sheet *s, FILE *out);

#endif
