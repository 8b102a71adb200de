/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/holdings.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/fault/verdict.h"

#define LOCAL_TIMEOUT_MS 20000

struct holdings held;

static void find_device(char *out, size_t size)
{
	DIR *dir = opendir("/sys/class/infiniband");
	const struct dirent *entry;

	out[0] = '\0';
	while (dir && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			snprintf(out, size, "%.60s", entry->d_name);
	if (dir)
		closedir(dir);
}

int holdings_open(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	char device[64];

	find_device(device, sizeof(device));
	attr.device = device;
	attr.job = "fault";
	attr.timeout_ms = LOCAL_TIMEOUT_MS;
	return rmem_open(server, &attr, &held.rm);
}

int holdings_buf_alloc(void)
{
	void *p;
	int rc = rmem_buf_alloc(held.rm, 256UL << 10, &p);

	if (rc == 0)
		held.buffer = p;
	return rc;
}

int holdings_buf_register(void)
{
	return rmem_buf_register(held.rm, held.registered, sizeof(held.registered));
}

int holdings_alloc_big(void)
{
	memset(held.model_big, 0, BIG);
	return rmem_alloc(held.rm, BIG, NULL, &held.big);
}

int holdings_alloc_small(void)
{
	memset(held.model_small, 0, SMALL);
	memset(held.words, 0, sizeof(held.words));
	return rmem_alloc(held.rm, SMALL, NULL, &held.small);
}

int holdings_buf_release(void)
{
	return rmem_buf_release(held.rm, held.registered);
}

int holdings_free_small(void)
{
	return rmem_free(held.rm, held.small);
}

int holdings_free_big(void)
{
	return rmem_free(held.rm, held.big);
}

int holdings_finish_atomic(enum holdings_word w, int rc, uint64_t old, uint64_t done)
{
	const uint64_t before = held.words[w];
	uint64_t now = done;

	if (rc == -EREMOTEIO) {
		if (rmem_read(held.rm, &now, held.small + WORD_OFFSET(w), sizeof(now)))
			verdict_wrong("reading word %u: %s", w, rmem_errmsg());
		if (now != before && now != done)
			verdict_wrong("word %u is %" PRIu64 ": it should be %" PRIu64
				      " or %" PRIu64,
				w, now, before, done);
	} else if (rc) {
		return rc;
	} else if (old != before) {
		verdict_wrong(
			"the old word %u was %" PRIu64 " and should be %" PRIu64, w, old, before);
	}
	held.words[w] = now;
	memcpy(held.model_small + WORD_OFFSET(w), &now, sizeof(now));
	return rc;
}
