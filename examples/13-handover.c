/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 13-handover: memory that is filled by one session and becomes another's.
 *
 * The bytes stay where they are, and at each instant one of the two owns them, whatever happens to the other: what the
 * producer has offered is its own until the consumer has accepted it. Here both are in one program; the address and the key
 * can go to another process by any way.
 *
 *	13-handover [HOST[:PORT]]
 */
#include <stdio.h>

#include <rmem/rmem.h>

struct parcel {
	rmem_addr_t addr;
	struct rmem_share_key key;
};

static int produce(struct rmem *rm, struct parcel *parcel)
{
	static const char text[] = "made by one, kept by another";
	/* Small allocations share their pages with others; this one has to have its own. */
	struct rmem_alloc_attr attr = RMEM_ALLOC_ATTR_INIT;
	int err;

	attr.flags = RMEM_ALLOC_ISOLATED;
	err = rmem_alloc(rm, sizeof(text), &attr, &parcel->addr);
	if (!err)
		err = rmem_write(rm, parcel->addr, text, sizeof(text));
	if (!err)
		err = rmem_offer(rm, parcel->addr, &parcel->key);
	return err;
}

static int consume(struct rmem *rm, const struct parcel *parcel)
{
	char text[64] = "";
	size_t bytes;
	int err = rmem_accept(rm, parcel->addr, &parcel->key, &bytes);

	if (!err)
		err = rmem_read(rm, text, parcel->addr, bytes);
	if (!err)
		printf("%s\n", text);
	return err ? err : rmem_free(rm, parcel->addr);
}

int main(int argc, char **argv)
{
	const char *server = argc > 1 ? argv[1] : NULL;
	struct rmem *producer = NULL, *consumer = NULL;
	struct parcel parcel;
	int err = rmem_open(server, NULL, &producer) || rmem_open(server, NULL, &consumer) ||
		  produce(producer, &parcel) || consume(consumer, &parcel);

	if (err)
		fprintf(stderr, "13-handover: %s\n", rmem_errmsg());
	/* The producer may still have it: this frees it, or says that it was accepted. */
	else
		rmem_free(producer, parcel.addr);
	return rmem_close(producer) || rmem_close(consumer) || err;
}
