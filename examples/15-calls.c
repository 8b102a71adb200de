/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 15-calls: allocating, attaching and freeing without waiting.
 *
 * A program with a loop cannot stand still while a server answers. On a queue it starts these calls as it starts copies, and
 * reaps them in the same order. Here one session allocates pages and shares them, and another attaches them, each
 * with all its calls on their way at once.
 *
 *	15-calls [HOST[:PORT]]
 */
#include <inttypes.h>
#include <stdio.h>

#include <rmem/rmem.h>

#define PAGES 8
#define PAGE_BYTES 65536U

struct side {
	struct rmem *rm;
	struct rmem_queue *q;
};

/* The result of each is the address, or the size of what was attached: the program's from here on. */
static int reap_all(struct rmem_queue *q, uint64_t results[PAGES])
{
	struct rmem_completion done[PAGES];
	int n;

	for (int reaped = 0; reaped < PAGES; reaped += n) {
		n = rmem_reap(q, done, PAGES, -1);
		if (n < 0)
			return n;
		for (int i = 0; i < n; i++) {
			if (done[i].status)
				return done[i].status;
			results[done[i].tag] = done[i].result;
		}
	}
	return 0;
}

static int open_side(const char *server, struct side *s)
{
	int err = rmem_open(server, NULL, &s->rm);

	return err ? err : rmem_queue_create(s->rm, NULL, &s->q);
}

static int run(struct side *owner, struct side *guest)
{
	rmem_addr_t pages[PAGES];
	struct rmem_share_key key;
	uint64_t bytes[PAGES], sum = 0;
	int err = 0;

	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = rmem_start_alloc(owner->q, PAGE_BYTES, NULL, i);
	if (!err)
		err = reap_all(owner->q, pages);
	for (uint64_t i = 0; i < PAGES && !err; i++) {
		err = rmem_share(owner->rm, pages[i], &key);
		if (!err) /* the key is copied */
			err = rmem_start_attach(guest->q, pages[i], &key, i);
	}
	if (!err)
		err = reap_all(guest->q, bytes);
	if (err)
		return err;
	for (int i = 0; i < PAGES; i++)
		sum += bytes[i];
	printf("%" PRIu64 " bytes attached\n", sum);
	/* Nothing may be on its way there any more: a free does not wait for operations. */
	for (uint64_t i = 0; i < PAGES && !err; i++)
		err = rmem_start_free(owner->q, pages[i], i);
	return err ? err : reap_all(owner->q, bytes);
}

int main(int argc, char **argv)
{
	const char *server = argc > 1 ? argv[1] : NULL;
	struct side owner = { NULL, NULL }, guest = { NULL, NULL };
	int err = open_side(server, &owner);

	if (!err)
		err = open_side(server, &guest);
	if (!err)
		err = run(&owner, &guest);
	if (err)
		fprintf(stderr, "15-calls: %s\n", rmem_errmsg());
	return rmem_close(guest.rm) || rmem_close(owner.rm) || err;
}
