/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file of fixed-size records, mapped shared: state that survives a kill of rmemd.
 *
 * The file is sparse and on tmpfs, so an untouched record costs nothing. The first page is a header: magic, layout
 * version, record size, count. The next process sees every store that was made. So a record that is filled first and
 * published last by its state word (release) is complete or absent, wherever the process is killed.
 *
 * Sparse files have two pitfalls. A store into a hole of a full tmpfs raises SIGBUS, so table_back() allocates pages
 * first. A read of a hole allocates a page for good, so searches use table_next_extent().
 *
 * ASSUMPTIONS: one process at a time has the file open (it is locked). Kills happen; a power cut also loses the tmpfs.
 * One thread writes.
 *
 * ERRORS: -EBUSY: another process has the file open; -EUCLEAN: not a table, or another layout; -EINVAL: count is 0, or
 * record_bytes is not a positive multiple of 8; errno of open, fallocate, ftruncate, mmap.
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
	uint32_t version;
	uint32_t backed;           /* records below this have their pages */
	struct snapshot *snapshot; /* the open snapshot, or NULL */
};

struct table_layout {
	char magic[8]; /* e.g. "rmemledg" */
	uint32_t version;
	uint32_t oldest;  /* version that is read too; 0: none */
	bool adopt_later; /* an earlier rmemd can still read the file until table_adopt() */
	size_t record_bytes;
	uint32_t count; /* a shorter file grows; a longer one is an error */
};

/*
 * The pool that a table belongs to, and (ledger only) the last run of rmemd: tells files that do not belong together.
 * table_open() keeps both; 0 in an unmarked file.
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

/* Mark a table, open or not. A missing file is created without magic; table_open() completes it. */
int table_mark(int dir, const char *name, const struct table_mark *mark);

/*
 * Read a table's header; changes nothing. -ENOENT: no file; -ENODATA: a new file, not yet opened as a table; -EUCLEAN:
 * not a table.
 */
int table_look(int dir, const char *name, struct table_facts *out);

/* dir is an open directory. *out_created (may be NULL): the table is new. */
int table_open(struct table *t, int dir, const char *name, const struct table_layout *layout,
	bool *out_created);

/*
 * As table_open(), for a file whose loss must not make the other files unusable: whatever is in its place and is not
 * such a table is deleted first, also a symbolic link and an empty directory. -ENOTEMPTY: a directory with contents.
 */
int table_open_or_replace(struct table *t, int dir, const char *name,
	const struct table_layout *layout, bool *out_replaced);
/* Give the header of a file that was there before this version and this number of records. */
void table_adopt(struct table *t);

void table_close(struct table *t); /* zeroed is fine */

/* Allocate a record's pages; call before the first store into it. -ENOSPC: the file system is full. */
int table_back(struct table *t, uint32_t slot);

/* The same for all records at once: from then on no store can find the file system full. */
int table_back_all(struct table *t);

/* The next range [*begin, *end) of records at or after from that may contain data. false: no more. */
bool table_next_extent(const struct table *t, uint32_t from, uint32_t *begin, uint32_t *end);

/*
 * Checksum of a record. bytes is a multiple of 8. Every step is invertible, so records that differ in one word have
 * different sums. (The lower half alone misses one difference in 2^32.)
 */
uint64_t table_sum(const void *record, size_t bytes);

#define TABLE_HEADER_BYTES 4096

/* Words in the header for the owner of the table; 0 in a new file. */
#define TABLE_EXTRA_WORDS 2
uint64_t *table_extra(struct table *t);

/* slot must be below count. */
static inline const void *table_record(const struct table *t, uint32_t slot)
{
	return t->map + TABLE_HEADER_BYTES + (size_t)slot * t->record_bytes;
}

/*
 * The record, for writing. Every change of a record starts here, so that an open snapshot can keep the old record.
 */
void *table_edit(struct table *t, uint32_t slot);

#endif
