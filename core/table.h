/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file of fixed-size records, mapped shared: what rmemd must still know after it was killed.
 *
 * The file is sparse and lives on tmpfs, so an untouched record costs nothing. The first page is a
 * header: magic, layout version, record size, count. A store is visible to the next process as soon
 * as it is made, so a record that is filled first and published last by its state word (release) is
 * either wholly there or not there at all, wherever the process is killed.
 *
 * ASSUMPTIONS: one process at a time has the file open (it is locked); kills happen, power cuts take
 * the tmpfs with them. One thread writes.
 * ERRORS: -EBUSY somebody else has it open; -EUCLEAN not such a file, or of another layout; errno of
 * open, ftruncate, mmap.
 */
#ifndef RMEM_CORE_TABLE_H
#define RMEM_CORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table {
	int fd;
	char *map;
	size_t map_bytes;
	size_t record_bytes;
	uint32_t count;
};

struct table_layout {
	char magic[8]; /* e.g. "rmemledg" */
	uint32_t version;
	size_t record_bytes;
	uint32_t count; /* a file with fewer records is grown, one with more is an error */
};

/* dir is an open directory. *out_created tells whether the file is new (may be NULL). */
int table_open(struct table *t, int dir, const char *name, const struct table_layout *layout,
	bool *out_created);
void table_close(struct table *t); /* of a zeroed struct is fine */

static inline void *table_record(const struct table *t, uint32_t slot)
{
	return t->map + 4096 + (size_t)slot * t->record_bytes;
}

#endif
