/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LINE_SIZE 128 /* more than what comes before the path */

/* A line of /proc/self/maps: "7f00-7f10 r-xp 00001000 fe:01 4711 /usr/lib/libx.so". */
struct mapping {
	uintptr_t low, high;
	unsigned major, minor;
	ino_t inode;
};

/* A number, and what follows it. */
static uint64_t take(char **at, int base, char end, bool *failed)
{
	char *begin = *at;
	uint64_t value;

	errno = 0;
	value = strtoull(begin, at, base);
	if (errno || *at == begin || **at != end)
		*failed = true;
	else
		++*at;
	return value;
}

static void skip(char **at, bool *failed)
{
	*at += strcspn(*at, " ");
	if (**at == ' ')
		++*at;
	else
		*failed = true;
}

static bool parse(char *line, struct mapping *out)
{
	bool failed = false;

	out->low = (uintptr_t)take(&line, 16, '-', &failed);
	out->high = (uintptr_t)take(&line, 16, ' ', &failed);
	skip(&line, &failed); /* permissions */
	skip(&line, &failed); /* offset */
	out->major = (unsigned)take(&line, 16, ':', &failed);
	out->minor = (unsigned)take(&line, 16, ' ', &failed);
	out->inode = (ino_t)take(&line, 10, ' ', &failed);
	return !failed;
}

/* Not with stdio: another thread may have its locks, and a malloc() that calls us would be called again. */
static int find_mapping(uintptr_t address, struct mapping *out)
{
	const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	char buf[4096], line[LINE_SIZE];
	size_t length = 0;
	bool found = false;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (!found && (n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n && !found; i++) {
			if (buf[i] != '\n') {
				if (length < sizeof(line) - 1)
					line[length++] = buf[i];
				continue;
			}
			line[length] = '\0';
			length = 0;
			found = parse(line, out) && address >= out->low && address < out->high;
		}
	}
	close(fd);
	return found && out->inode ? 0 : -ENOENT;
}

/* Major number 0: the device is made up, and stat(2) may make up another one. */
static bool same_device(const struct mapping *m, dev_t device)
{
	return m->major == 0 || major(device) == 0 || makedev(m->major, m->minor) == device;
}

int mapped_file_find(uintptr_t address, const char *path, struct mapped_file *out)
{
	struct mapping m = { .inode = 0 };
	struct stat st;
	int rc = find_mapping(address, &m);

	if (rc)
		return rc;
	*out = (struct mapped_file){ .mapped_inode = m.inode };
	if (stat(path, &st) == 0 && st.st_ino == m.inode && same_device(&m, st.st_dev)) {
		out->found = true;
		out->device = st.st_dev;
		out->inode = st.st_ino;
		out->size = st.st_size;
		out->changed = st.st_mtim;
	}
	return 0;
}

bool mapped_file_is(const struct mapped_file *f, int fd)
{
	struct stat st;

	return f->found && fstat(fd, &st) == 0 && st.st_dev == f->device && st.st_ino == f->inode &&
	       st.st_size == f->size && st.st_mtim.tv_sec == f->changed.tv_sec &&
	       st.st_mtim.tv_nsec == f->changed.tv_nsec;
}

uint64_t mapped_file_hash(const struct mapped_file *f)
{
	const uint64_t words[] = { (uint64_t)f->size, (uint64_t)f->changed.tv_sec,
		(uint64_t)f->changed.tv_nsec, f->found ? 0 : f->mapped_inode };
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 29;
	}
	return hash | 1;
}
