/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file of fixed-size records, mapped shared: what rmemd must still know after it was killed.
 *
 * The file is sparse and lives on tmpfs, so an untouched record costs nothing. The first page is a
 * header: magic, layout version, record size, count. A store is visible to the next process as soon
 * as it is made, so a record that is filled first and published last by its state word (release) is
 * either wholly there or not there at all, wherever the process is killed.
 *
 * Two traps of sparse files are handled here: a store into a hole of a full tmpfs is a SIGBUS, so
 * table_back() asks for the pages first; and a mere look into a hole costs a page for ever, so who
 * searches a file goes by table_next_extent().
 *
 * ASSUMPTIONS: one process at a time has the file open (it is locked); kills happen, power cuts take
 * the tmpfs with them. One thread writes.
 * ERRORS: -EBUSY somebody else has it open; -EUCLEAN not such a file, or of another layout; -EINVAL
 * a layout without records or with ones that are no multiple of 8 bytes; errno of open, fallocate,
 * ftruncate, mmap.
 */
#ifndef RMEM_SERVER_LEDGER_TABLE_H
#define RMEM_SERVER_LEDGER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct snapshot;

struct table {
	int fd;
	char *map;
	size_t map_bytes;
	size_t record_bytes;
	uint32_t count;
	uint32_t backed;           /* the records below this have their pages */
	struct snapshot *snapshot; /* of this table, being fetched; or NULL */
};

struct table_layout {
	char magic[8]; /* e.g. "rmemledg" */
	uint32_t version;
	size_t record_bytes;
	uint32_t count; /* a file with fewer records is grown, one with more is an error */
};

/*
 * Which pool a table is of, and which run of rmemd last had it: what does not fit together was not kept
 * together. table_open() leaves both alone; of a file that nobody marked both are 0.
 */
struct table_mark {
	uint64_t pool, run;
};

struct table_facts {
	char magic[8];
	uint32_t version;
	uint32_t count;
	struct table_mark mark;
};

/* Mark a table, open or not. If there is none, make a file that table_open() will make one of. */
int table_mark(int dir, const char *name, const struct table_mark *mark);

/*
 * What a file says about itself; changes nothing. -ENOENT there is none, -ENODATA a file that nobody got
 * further with than making it, -EUCLEAN something else.
 */
int table_look(int dir, const char *name, struct table_facts *out);

/* dir is an open directory. *out_created tells whether the file is new (may be NULL). */
int table_open(struct table *t, int dir, const char *name, const struct table_layout *layout,
	bool *out_created);
void table_close(struct table *t); /* of a zeroed struct is fine */

/* Before the first store into a record. 0, or -ENOSPC: the file system is full. */
int table_back(struct table *t, uint32_t slot);

/* The next run [*begin, *end) of records at or after from that may hold anything. false: no more. */
bool table_next_extent(const struct table *t, uint32_t from, uint32_t *begin, uint32_t *end);

/*
 * A sum over a record without its own sum: bytes, a multiple of 8. Records that differ in one word have different
 * ones, because each step can be undone. (In its lower half alone: but for one time in 2^32.)
 */
uint64_t table_sum(const void *record, size_t bytes);

#define TABLE_HEADER_BYTES 4096

/* slot must be below count. */
static inline const void *table_record(const struct table *t, uint32_t slot)
{
	return t->map + TABLE_HEADER_BYTES + (size_t)slot * t->record_bytes;
}

/*
 * The record, to be changed now: the one way to change any. Code that must know of every change to a table is called from
 * here.
 */
void *table_edit(struct table *t, uint32_t slot);

#endif
