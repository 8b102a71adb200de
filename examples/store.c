/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store: keep files in remote memory, read them back, check every byte, give the memory back.
 *
 * Each file becomes two pieces of remote memory: an entry (length and SHA-256) in an index that all
 * files share, and a body of its own. Both are written by one rmem_writev() and read back by one
 * rmem_readv(), from and to separate local buffers.
 *
 *	--forget N	do not free every Nth body: a leak to look for with rmemctl leaks
 *	--wait		when everything is stored, wait to be killed
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rmem/rmem.h>

#define MAX_FILES 4096
#define MAX_FILE_BYTES (64U << 20)

struct entry {
	uint64_t bytes;
	uint8_t sha256[crypto_hash_sha256_BYTES];
};

struct item {
	char *path;
	struct entry entry;
	rmem_addr_t body;
	bool forget;
};

static struct item items[MAX_FILES];
static size_t nitems;

static int failed(const char *what, const char *which)
{
	fprintf(stderr, "store: %s %s: %s\n", what, which, rmem_errmsg());
	return -1;
}

/* A whole file in memory, or NULL. Empty files have nothing to store and count as NULL too. */
static uint8_t *slurp(const char *path, size_t *out_bytes)
{
	uint8_t *data = NULL;
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
		st.st_size <= MAX_FILE_BYTES)
		data = malloc((size_t)st.st_size);
	if (data && read(fd, data, (size_t)st.st_size) != st.st_size) {
		free(data);
		data = NULL;
	}
	close(fd);
	if (data)
		*out_bytes = (size_t)st.st_size;
	return data;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int collect(char **roots, size_t limit)
{
	FTS *tree = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_name);
	FTSENT *e;

	if (!tree)
		return -1;
	while (nitems < limit && (e = fts_read(tree))) {
		if (e->fts_info != FTS_F || e->fts_statp->st_size == 0 ||
			e->fts_statp->st_size > MAX_FILE_BYTES || access(e->fts_path, R_OK))
			continue;
		items[nitems].path = strdup(e->fts_path);
		if (!items[nitems].path)
			break;
		nitems++;
	}
	fts_close(tree);
	return nitems ? 0 : -1;
}

static rmem_addr_t slot(rmem_addr_t index, size_t i)
{
	return index + i * sizeof(struct entry);
}

static int store_body(struct rmem *rm, rmem_addr_t index, size_t i)
{
	struct item *item = &items[i];
	size_t bytes = 0;
	uint8_t *data = slurp(item->path, &bytes);
	int err = -1;

	if (!data) {
		fprintf(stderr, "store: cannot read %s\n", item->path);
		return -1;
	}
	item->entry.bytes = bytes;
	crypto_hash_sha256(item->entry.sha256, data, bytes);
	if (rmem_alloc(rm, bytes, NULL, &item->body)) {
		failed("allocating for", item->path);
	} else {
		const struct iovec local[] = { { &item->entry, sizeof(item->entry) },
			{ data, bytes } };
		const struct rmem_iovec remote[] = { { slot(index, i), sizeof(item->entry) },
			{ item->body, bytes } };

		err = rmem_writev(rm, local, 2, remote, 2) ? failed("writing", item->path) : 0;
	}
	free(data);
	return err;
}

static int check_body(struct rmem *rm, rmem_addr_t index, size_t i)
{
	struct item *item = &items[i];
	uint8_t *data = malloc(item->entry.bytes), sha256[crypto_hash_sha256_BYTES];
	const struct rmem_iovec remote[] = { { slot(index, i), sizeof(struct entry) },
		{ item->body, item->entry.bytes } };
	struct entry entry;
	const struct iovec local[] = { { &entry, sizeof(entry) }, { data, item->entry.bytes } };
	int err = -1;

	if (data && rmem_readv(rm, local, 2, remote, 2)) {
		failed("reading", item->path);
	} else if (data) {
		crypto_hash_sha256(sha256, data, item->entry.bytes);
		err = entry.bytes == item->entry.bytes &&
				      memcmp(entry.sha256, sha256, sizeof(sha256)) == 0 &&
				      memcmp(item->entry.sha256, sha256, sizeof(sha256)) == 0
			      ? 0
			      : -1;
		if (err)
			fprintf(stderr, "store: %s came back changed\n", item->path);
	}
	free(data);
	return err;
}

static int for_each(struct rmem *rm, rmem_addr_t index,
	int (*act)(struct rmem *rm, rmem_addr_t index, size_t i))
{
	for (size_t i = 0; i < nitems; i++) {
		if (act(rm, index, i))
			return -1;
	}
	return 0;
}

static int free_all(struct rmem *rm, rmem_addr_t index, size_t forget)
{
	uint64_t bytes = 0, forgotten = 0, forgotten_bytes = 0;

	for (size_t i = 0; i < nitems; i++) {
		bytes += items[i].entry.bytes;
		if (forget && (i + 1) % forget == 0) {
			forgotten++;
			forgotten_bytes += items[i].entry.bytes;
		} else if (rmem_free(rm, items[i].body)) {
			return failed("freeing", items[i].path);
		}
	}
	if (rmem_free(rm, index))
		return failed("freeing", "the index");
	printf("%zu files with %" PRIu64 " bytes stored, read back and checked\n", nitems, bytes);
	printf("leaked %" PRIu64 " blocks %" PRIu64 " bytes\n", forgotten, forgotten_bytes);
	return 0;
}

static _Noreturn void wait_to_be_killed(size_t index_bytes)
{
	uint64_t bytes = index_bytes;

	for (size_t i = 0; i < nitems; i++)
		bytes += items[i].entry.bytes;
	printf("holding %zu blocks %" PRIu64 " bytes\n", nitems + 1, bytes);
	fflush(stdout);
	for (;;)
		pause();
}

static int run(struct rmem *rm, size_t forget, bool wait)
{
	const size_t index_bytes = nitems * sizeof(struct entry);
	rmem_addr_t index;

	if (rmem_alloc(rm, index_bytes, NULL, &index))
		return failed("allocating for", "the index");
	if (for_each(rm, index, store_body) || for_each(rm, index, check_body))
		return -1;
	if (wait)
		wait_to_be_killed(index_bytes);
	return free_all(rm, index, forget);
}

static int usage(FILE *out)
{
	fputs("Usage: store [--server HOST[:PORT]] [--limit FILES] [--forget N] [--wait] PATH…\n"
	      "Keep the files below each PATH in remote memory, read them back and check them.\n"
	      "  --limit FILES  take at most so many files (default 200)\n"
	      "  --forget N     do not free every Nth file's memory\n"
	      "  --wait         when everything is stored, wait to be killed\n",
		out);
	return out == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "server", required_argument, NULL, 's' },
		{ "limit", required_argument, NULL, 'l' },
		{ "forget", required_argument, NULL, 'f' }, { "wait", no_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' }, { 0 } };
	const char *server = NULL;
	size_t limit = 200, forget = 0;
	struct rmem *rm = NULL;
	bool wait = false;
	int c, err;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			server = optarg;
		else if (c == 'l')
			limit = strtoul(optarg, NULL, 10);
		else if (c == 'f')
			forget = strtoul(optarg, NULL, 10);
		else if (c == 'w')
			wait = true;
		else
			return usage(c == 'h' ? stdout : stderr);
	}
	if (optind == argc || sodium_init() < 0)
		return usage(stderr);
	if (collect(argv + optind, limit < MAX_FILES ? limit : MAX_FILES)) {
		fprintf(stderr, "store: no readable files there\n");
		return 1;
	}
	err = rmem_open(server, NULL, &rm);
	if (err)
		failed("opening a session with", server ? server : "the default server");
	else
		err = run(rm, forget, wait);
	rmem_close(rm);
	for (size_t i = 0; i < nitems; i++)
		free(items[i].path);
	return err ? 1 : 0;
}
