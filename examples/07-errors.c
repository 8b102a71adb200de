/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 07-errors: what errors look like, and what a program can do about them.
 *
 * The return value is for the program, rmem_errmsg() for people who read its log. Of three kinds:
 *
 *	the program is wrong	-EINVAL, -EFAULT: nothing was done, nothing was sent, the session goes on
 *	there is no more	-ENOSPC, -EFBIG, -EDQUOT, -EUSERS: do with less, or free something
 *	the other side is gone	-ECONNRESET, -ETIMEDOUT: the next call tries again; -ESTALE: what was in
 *				that memory is lost; -EREMOTEIO: nobody knows whether an atomic
 *				operation was carried out
 *
 *	07-errors [HOST[:PORT]]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include <rmem/rmem.h>

#define BLOCKS 16
#define ENOUGH ((size_t)4096)

static int wrong;

/* What the library has to say besides: here what is worth a warning, like a connection that is gone for good. */
static void log_line(void *user, int level, const char *text)
{
	fprintf(stderr, "%s: %d: %s\n", (const char *)user, level, text);
}

/* Show an error that had to come. */
static void expect(int wanted, int err)
{
	if (err == wanted)
		printf("%s: %s\n", rmem_err_name(err), rmem_errmsg());
	else
		wrong = printf("%s came, and not %s: %s\n", rmem_err_name(err),
			rmem_err_name(wanted), rmem_errmsg());
}

/* Mistakes that a debugger is for. The library finds them before the device does, so nothing breaks. */
static void make_mistakes(struct rmem *rm)
{
	rmem_addr_t page = 0;
	char buf[16] = "";
	uint64_t old;

	expect(-EINVAL, rmem_alloc(rm, 0, NULL, &page));
	if (rmem_alloc(rm, 4096, NULL, &page))
		return;
	expect(-EFAULT, rmem_read(rm, buf, page + 4090, sizeof(buf)));
	expect(-EFAULT, rmem_write(rm, 0, buf, sizeof(buf)));
	expect(-EINVAL, rmem_fetch_add(rm, page + 4, 1, &old));
	expect(-EINVAL, rmem_free(rm, page + 8));
	if (rmem_free(rm, page) == 0)
		expect(-EINVAL, rmem_free(rm, page));
}

/* The most that can be had in one piece, by asking for less and less. */
static int alloc_some(struct rmem *rm, size_t wanted, size_t *out_bytes, rmem_addr_t *out)
{
	int err;

	for (size_t bytes = wanted; bytes >= ENOUGH; bytes /= 2) {
		err = rmem_alloc(rm, bytes, NULL, out);
		if (err == 0)
			*out_bytes = bytes;
		if (err != -EFBIG && err != -ENOSPC)
			return err; /* got it, or less would not help */
	}
	return -ENOSPC;
}

/* A full pool is no reason to end: say so, free what is not needed, go on. */
static int fill(struct rmem *rm)
{
	rmem_addr_t blocks[BLOCKS] = { 0 };
	size_t bytes = (size_t)1 << 60, first = 0;
	int n = 0, err = 0;

	for (; n < BLOCKS && err == 0; n++) {
		err = alloc_some(rm, bytes, &bytes, &blocks[n]);
		first = first ? first : bytes;
	}
	if (err == -ENOSPC)
		printf("%s\n", rmem_errmsg()); /* says by itself that the pool is full */
	for (int i = 0; i < BLOCKS; i++)
		if (rmem_free(rm, blocks[i])) /* 0, where there is none, is fine */
			return -1;
	/* What was freed can be had again at once. */
	if (first < ENOUGH || rmem_alloc(rm, first, NULL, &blocks[0]))
		return -1;
	return rmem_free(rm, blocks[0]);
}

int main(int argc, char **argv)
{
	struct rmem *rm = NULL;
	static char name[] = "07-errors";
	int err = rmem_set_log(RMEM_LOG_WARN, log_line, name);

	if (err == 0)
		err = rmem_open(argc > 1 ? argv[1] : NULL, NULL, &rm);
	if (err == 0) {
		make_mistakes(rm);
		err = fill(rm);
	}
	if (err)
		fprintf(stderr, "07-errors: %s\n", rmem_errmsg());
	else
		puts(wrong ? "something else happened" : "all as it should be");
	return rmem_close(rm) || err || wrong;
}
