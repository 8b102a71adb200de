/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/table.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/ledger/snapshot.h"

/* Pages are allocated in pieces of this size: few calls, little waste. */
#define BACKING_BYTES ((size_t)64 * 1024)

/* Contents of the first page, in native byte order: the file never leaves the machine. */
struct header {
	char magic[8]; /* stored last: an incomplete header has none */
	uint32_t version;
	uint32_t count;
	uint64_t record_bytes;
	struct table_mark mark;
	uint64_t extra[TABLE_EXTRA_WORDS];
};

static int lock(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

static int allocate(int fd, off_t offset, off_t bytes)
{
	while (fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, bytes) != 0) {
		/* No fallocate: stores go without protection from SIGBUS. */
		if (errno == EOPNOTSUPP || errno == ENOSYS)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static bool reads(const struct table_layout *layout, uint32_t version)
{
	return version == layout->version ||
	       (layout->oldest && version >= layout->oldest && version < layout->version);
}

static int file_bytes(const struct table_layout *layout, uint32_t count, size_t *out)
{
	size_t records;

	if (__builtin_mul_overflow(layout->record_bytes, (size_t)count, &records) ||
		__builtin_add_overflow(records, (size_t)TABLE_HEADER_BYTES, out) ||
		*out > (size_t)INT64_MAX)
		return -EINVAL;
	return 0;
}

/* A file without magic is new if all records are holes; else it is not ours. */
static int check_headerless(int fd, off_t size)
{
	if (size > TABLE_HEADER_BYTES &&
		(lseek(fd, TABLE_HEADER_BYTES, SEEK_DATA) >= 0 || errno != ENXIO))
		return -EUCLEAN;
	return 0;
}

/* Does the file have this layout? *out_created: it has no header yet. */
static int check(int fd, const struct table_layout *layout, bool *out_created)
{
	static const char none[sizeof(layout->magic)];
	struct header h = { .version = 0 };
	struct stat st;
	size_t bytes;
	ssize_t n;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EUCLEAN;
	n = pread(fd, &h, sizeof(h), 0);
	if (n < 0)
		return -errno;
	if (n == 0 || (n == sizeof(h) && memcmp(h.magic, none, sizeof(none)) == 0)) {
		*out_created = true;
		return check_headerless(fd, st.st_size);
	}
	if (n != sizeof(h) || memcmp(h.magic, layout->magic, sizeof(h.magic)) != 0 ||
		!reads(layout, h.version) || h.record_bytes != layout->record_bytes ||
		h.count > layout->count)
		return -EUCLEAN;
	/* Access beyond the end of the file would raise SIGBUS. */
	if (file_bytes(layout, h.count, &bytes) != 0 || st.st_size < (off_t)bytes)
		return -EUCLEAN;
	*out_created = false;
	return 0;
}

static void write_header(struct table *t, const struct table_layout *layout)
{
	struct header *h = (struct header *)t->map;

	h->version = layout->version;
	h->record_bytes = layout->record_bytes;
	h->count = layout->count;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(h->magic, layout->magic, sizeof(h->magic));
}

void table_adopt(struct table *t)
{
	struct header *h = (struct header *)t->map;

	if (h->count != t->count)
		h->count = t->count;
	if (h->version != t->version)
		h->version = t->version;
}

static int open_fd(struct table *t, const struct table_layout *layout, bool *out_created)
{
	int err = lock(t->fd);

	if (!err)
		err = check(t->fd, layout, out_created);
	if (!err)
		err = allocate(t->fd, 0, TABLE_HEADER_BYTES);
	if (err)
		return err;
	if (ftruncate(t->fd, (off_t)t->map_bytes) != 0)
		return -errno;
	t->map = mmap(NULL, t->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
	if (t->map == MAP_FAILED) {
		t->map = NULL;
		return -errno;
	}
	if (*out_created)
		write_header(t, layout);
	return 0;
}

int table_open(struct table *t, int dir, const char *name, const struct table_layout *layout,
	bool *out_created)
{
	bool created = false;
	struct table opened = { .record_bytes = layout->record_bytes,
		.count = layout->count,
		.version = layout->version };
	int err;

	if (layout->count == 0 || layout->record_bytes == 0 || layout->record_bytes % 8 != 0)
		return -EINVAL;
	err = file_bytes(layout, layout->count, &opened.map_bytes);
	if (err)
		return err;
	opened.fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (opened.fd < 0)
		return -errno;
	err = open_fd(&opened, layout, &created);
	if (err) {
		close(opened.fd);
		return err;
	}
	*t = opened;
	if (!layout->adopt_later)
		table_adopt(t);
	if (out_created)
		*out_created = created;
	return 0;
}

int table_open_or_replace(struct table *t, int dir, const char *name,
	const struct table_layout *layout, bool *out_replaced)
{
	int err = table_open(t, dir, name, layout, NULL);
	const bool is_dir = err == -EISDIR;

	*out_replaced = false;
	/* -ELOOP: a symbolic link; -ENXIO: a socket. */
	if (err != -EUCLEAN && err != -ELOOP && err != -ENXIO && !is_dir)
		return err;
	if (unlinkat(dir, name, is_dir ? AT_REMOVEDIR : 0) != 0)
		return -errno;
	*out_replaced = true;
	return table_open(t, dir, name, layout, NULL);
}

int table_mark(int dir, const char *name, const struct table_mark *mark)
{
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	struct header h = { .version = 0 };
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	err = allocate(fd, 0, TABLE_HEADER_BYTES);
	n = err ? 0 : pread(fd, &h, sizeof(h), 0);
	/* No header: write one without magic, so the file is not a table yet. */
	if (!err && n >= 0 && n < (ssize_t)sizeof(h))
		n = pwrite(fd, &(struct header){ .mark = *mark }, sizeof(h), 0);
	else if (!err && n > 0)
		n = pwrite(fd, mark, sizeof(*mark), offsetof(struct header, mark));
	err = err ? err : n < 0 ? -errno : 0;
	close(fd);
	return err;
}

int table_look(int dir, const char *name, struct table_facts *out)
{
	static const char none[sizeof(out->magic)];
	struct header h = { .version = 0 };
	struct stat st;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pread(fd, &h, sizeof(h), 0) : -1;
	if (n >= 0 && (n == 0 || memcmp(h.magic, none, sizeof(none)) == 0))
		err = check_headerless(fd, st.st_size) ? -EUCLEAN : -ENODATA;
	else
		err = n == sizeof(h) ? 0 : -EUCLEAN;
	close(fd);
	if (err)
		return err;
	*out = (struct table_facts){ .version = h.version, .count = h.count, .mark = h.mark };
	memcpy(out->magic, h.magic, sizeof(out->magic));
	return 0;
}

void table_close(struct table *t)
{
	if (!t || !t->map)
		return;
	munmap(t->map, t->map_bytes);
	close(t->fd);
	memset(t, 0, sizeof(*t));
}

int table_back(struct table *t, uint32_t slot)
{
	size_t begin, end;
	int err;

	if (slot < t->backed)
		return 0;
	begin = TABLE_HEADER_BYTES + (size_t)t->backed * t->record_bytes;
	end = TABLE_HEADER_BYTES + ((size_t)slot + 1) * t->record_bytes + BACKING_BYTES;
	if (end > t->map_bytes)
		end = t->map_bytes;
	/* Far beyond the backed records (a file with a hole): back only this record. */
	if (end - begin > 2 * BACKING_BYTES + t->record_bytes)
		return allocate(t->fd, (off_t)(TABLE_HEADER_BYTES + (size_t)slot * t->record_bytes),
			(off_t)t->record_bytes);
	err = allocate(t->fd, (off_t)begin, (off_t)(end - begin));
	if (err)
		return err;
	t->backed = (uint32_t)((end - TABLE_HEADER_BYTES) / t->record_bytes);
	return 0;
}

int table_back_all(struct table *t)
{
	int err = allocate(t->fd, 0, (off_t)t->map_bytes);

	if (!err)
		t->backed = t->count;
	return err;
}

uint64_t *table_extra(struct table *t)
{
	return ((struct header *)t->map)->extra;
}

void *table_edit(struct table *t, uint32_t slot)
{
	if (t->snapshot)
		snapshot_keep(t->snapshot, slot, table_record(t, slot));
	return t->map + TABLE_HEADER_BYTES + (size_t)slot * t->record_bytes;
}

bool table_next_extent(const struct table *t, uint32_t from, uint32_t *begin, uint32_t *end)
{
	off_t data, hole;
	size_t last;

	if (from >= t->count)
		return false;
	data = lseek(
		t->fd, (off_t)(TABLE_HEADER_BYTES + (size_t)from * t->record_bytes), SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		return false;
	hole = data < 0 ? -1 : lseek(t->fd, data, SEEK_HOLE);
	if (data < 0 || hole <= data) {
		/* No SEEK_DATA: search everything. */
		*begin = from;
		*end = t->count;
		return true;
	}
	last = ((size_t)hole - TABLE_HEADER_BYTES + t->record_bytes - 1) / t->record_bytes;
	*begin = (uint32_t)(((size_t)data - TABLE_HEADER_BYTES) / t->record_bytes);
	*end = last < t->count ? (uint32_t)last : t->count;
	return *begin < t->count;
}

uint64_t table_sum(const void *record, size_t bytes)
{
	uint64_t word, sum = 0;

	for (size_t at = 0; at < bytes; at += sizeof(word)) {
		memcpy(&word, (const char *)record + at, sizeof(word));
		sum = (sum ^ word) * 0x9e3779b97f4a7c15ULL;
		sum ^= sum >> 32;
	}
	return sum;
}
