/* SPDX-License-Identifier: BSD-3-Clause */
/* A module that uses librmem: a call that fails leaves a sentence for its thread, which ends with that. */
#include "tests/foreign/plugin.h"

#include <errno.h>
#include <string.h>

#include <rmem/rmem.h>

#define BYTES 60000 /* nothing is registered for that */
#define TIMEOUT_MS 90000

static struct {
	struct rmem *rm;
	rmem_addr_t addr;
	unsigned char round, there[BYTES], back[BYTES];
} own;

int plugin_open(void)
{
	struct rmem *rm;

	return rmem_open("", NULL, &rm);
}

const char *plugin_errmsg(void)
{
	return rmem_errmsg();
}

int plugin_begin(const char *server)
{
	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	int rc;

	attr.timeout_ms = TIMEOUT_MS;
	rc = rmem_open(server, &attr, &own.rm);
	return rc ? rc : rmem_alloc(own.rm, BYTES, NULL, &own.addr);
}

static int copy(size_t bytes)
{
	int rc;

	memset(own.there, ++own.round, bytes);
	memset(own.back, 0, bytes);
	rc = rmem_write(own.rm, own.addr, own.there, bytes);
	if (rc == 0)
		rc = rmem_read(own.rm, own.back, own.addr, bytes);
	return rc == 0 && memcmp(own.there, own.back, bytes) ? -EBADMSG : rc;
}

int plugin_copy(void)
{
	uint64_t word = 0, old = 0;
	int rc = copy(BYTES);

	if (rc == 0)
		rc = copy(4096);
	if (rc == 0)
		rc = rmem_write(own.rm, own.addr, &word, sizeof(word));
	if (rc == 0)
		rc = rmem_fetch_add(own.rm, own.addr, 5, NULL);
	if (rc == 0)
		rc = rmem_fetch_add(own.rm, own.addr, 5, &old);
	return rc == 0 && old != 5 ? -EBADMSG : rc;
}

int plugin_end(void)
{
	int rc = rmem_free(own.rm, own.addr);

	return rc ? rc : rmem_close(own.rm);
}
