/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 10-events: what happens to a session, in an event loop.
 *
 * The library comes back by itself when a connection breaks or a server is replaced, and says -ESTALE where something is
 * lost. A program that wants to know at once, to tell an operator or to fill a cache anew, watches a descriptor.
 *
 * Here another session takes away what it had shared. To see more, give the program 60 seconds without news, and
 * end and start rmemd meanwhile, or stop this program for longer than its lease (Ctrl-Z, then fg).
 *
 *	10-events [HOST[:PORT] [SECONDS]]
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <rmem/rmem.h>

#define BYTES 4096

/* A later library may have more of them. */
static const char *describe(uint32_t kind)
{
	switch (kind) {
	case RMEM_EVENT_CONNECTED:
		return "all is well again";
	case RMEM_EVENT_LATE:
		return "half of the lease is over";
	case RMEM_EVENT_EXPIRED:
		return "the memory may be lent to others";
	case RMEM_EVENT_GONE:
		return "the server cannot be reached";
	case RMEM_EVENT_REVOKED:
		return "an allocation is gone";
	case RMEM_EVENT_RECLAIMED:
		return "all allocations are gone";
	default:
		return "something new";
	}
}

/* The descriptor is readable: take what there is, until there is nothing. */
static int take_events(struct rmem *rm)
{
	struct rmem_event event = RMEM_EVENT_INIT;
	int n;

	while ((n = rmem_next_event(rm, &event)) > 0) {
		if (event.lost)
			printf("%" PRIu32 " events were lost: look at everything\n", event.lost);
		printf("%s", describe(event.kind));
		if (event.kind == RMEM_EVENT_REVOKED)
			printf(": number %" PRIu64 ", at 0x%" PRIx64, event.serial, event.addr);
		printf("\n");
		fflush(stdout);
	}
	return n;
}

/* The loop of a program that has nothing else to do, until nothing has happened for so long. */
static int run(struct rmem *rm, int quiet_ms)
{
	struct pollfd watched = { .fd = rmem_event_fd(rm), .events = POLLIN };
	int err = watched.fd < 0 ? watched.fd : 0;

	while (!err && poll(&watched, 1, quiet_ms) == 1)
		err = take_events(rm);
	return err;
}

/* One session's memory, which another reads; then it is freed, and the reader finds that out. */
static int lose_one(struct rmem *owner, struct rmem *reader)
{
	struct rmem_share_key key;
	rmem_addr_t addr;
	uint64_t word;
	int err;

	err = rmem_alloc(owner, BYTES, NULL, &addr);
	if (err)
		return err;
	if (rmem_share(owner, addr, &key) || rmem_attach(reader, addr, &key, NULL) ||
		rmem_read(reader, &word, addr, sizeof(word)))
		return -1;
	err = rmem_free(owner, addr);
	if (err)
		return err;
	err = rmem_read(reader, &word, addr, sizeof(word));
	printf("a read: %s\n", rmem_err_name(err));
	return err == -ESTALE ? rmem_detach(reader, addr) : -1;
}

int main(int argc, char **argv)
{
	const char *server = argc > 1 ? argv[1] : NULL;
	struct rmem *owner = NULL, *reader = NULL;
	int err;

	err = rmem_open(server, NULL, &owner) || rmem_open(server, NULL, &reader) ||
	      lose_one(owner, reader) || run(reader, argc > 2 ? atoi(argv[2]) * 1000 : 0);
	if (err)
		fprintf(stderr, "10-events: %s\n", rmem_errmsg());
	return rmem_close(reader) || rmem_close(owner) || err;
}
