/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 01-hello: keep a text in another machine's memory, and read it back.
 *
 * The six calls that every program makes. Every one returns 0 or a negative errno value, and after a
 * failure rmem_errmsg() says in one sentence what went wrong and what helps.
 *
 *	01-hello [HOST[:PORT]]
 */
#include <stdio.h>
#include <string.h>

#include <rmem/rmem.h>

static int failed(const char *what)
{
	fprintf(stderr, "01-hello: %s: %s\n", what, rmem_errmsg());
	return -1;
}

/* There and back. The server's CPU takes no part in either. */
static int copy(struct rmem *rm, rmem_addr_t page)
{
	static const char text[] = "kept elsewhere";
	char back[sizeof(text)];

	if (rmem_write(rm, page, text, sizeof(text)))
		return failed("writing");
	if (rmem_read(rm, back, page, sizeof(back)))
		return failed("reading");
	puts(back);
	/*
	 * A remote address is a number, with which arithmetic works as with a pointer, as long as it
	 * stays inside the allocation. It may be kept in remote memory too.
	 */
	if (rmem_read(rm, back, page + strlen("kept "), sizeof("elsewhere")))
		return failed("reading a part");
	puts(back);
	return 0;
}

static int run(struct rmem *rm)
{
	/*
	 * Attributes are optional: NULL means the defaults. Begin with the initializer, then change what
	 * you want to have otherwise, so that the program still works with a later library.
	 */
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	rmem_addr_t page;
	int err;

	attr.node = RMEM_NODE_ANY; /* or the number of a NUMA node of the server */
	if (rmem_alloc(rm, 4096, &attr, &page))
		return failed("allocating");
	err = copy(rm, page);
	/* Leave this out, and `rmemctl leaks` names the line of rmem_alloc() above. */
	if (rmem_free(rm, page))
		return failed("freeing");
	return err;
}

int main(int argc, char **argv)
{
	/* Was the library made before the header that this was built with? Then it may lack what is used here. */
	if (rmem_version_check(RMEM_VERSION_NUMBER)) {
		fprintf(stderr, "01-hello: %s\n", rmem_errmsg());
		return 1;
	}

	struct rmem_open_attr attr = RMEM_OPEN_ATTR_INIT;
	struct rmem *rm;
	int err;

	attr.job = "example"; /* what reports call us, beside pid and host */
	/* Without a name the server is $RMEM_SERVER, else this machine. */
	if (rmem_open(argc > 1 ? argv[1] : NULL, &attr, &rm))
		return failed("opening a session") ? 1 : 0;
	printf("librmem %s\n", rmem_version());
	err = run(rm);
	if (rmem_close(rm))
		err = failed("closing");
	return err ? 1 : 0;
}
