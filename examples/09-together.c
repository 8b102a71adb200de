/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 09-together: processes that share a lock, a counter and a record, each in remote memory.
 *
 * Each takes the lock, adds one to a note, writes the record, and counts. With many ROUNDS there is time to
 * kill or stop one: the others wait until the server says that it is out; nothing is lost or counted twice.
 *
 *	09-together [HOST[:PORT] [ROUNDS]]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rmem/objects.h>

#define PROCESSES 3
#define RECORD_AT (64 + RMEM_COUNTER_BYTES(PROCESSES))

struct last {
	uint64_t process, round, sum; /* the sum of both: see whether it is torn */
};

struct invitation {
	rmem_addr_t addr;
	struct rmem_share_key key;
};

/* Each process has its own. */
static struct rmem *rm;
static struct rmem_lock *lock; /* of the note behind it */
static struct rmem_counter *counter;
static struct rmem_record *record;

static int make_handles(rmem_addr_t addr)
{
	return rmem_lock_create(rm, addr, &lock) ||
	       rmem_counter_create(rm, addr + 64, PROCESSES, &counter) ||
	       rmem_record_create(rm, addr + RECORD_AT, sizeof(struct last), &record);
}

/* Of a process; a guest that was not invited has nothing to say. */
static int end(rmem_addr_t own, int err)
{
	if (err && *rmem_errmsg())
		fprintf(stderr, "09-together: process %d: %s\n", getpid(), rmem_errmsg());
	rmem_record_destroy(record);
	rmem_counter_destroy(counter);
	rmem_lock_destroy(lock);
	return (own && rmem_free(rm, own)) || rmem_close(rm) || err;
}

static int play(rmem_addr_t note_at, const struct last *last)
{
	uint64_t note = 0;
	int err = rmem_lock_acquire(lock, -1);

	/* A note of which its owner wrote a part, or nothing, would be mended now. This one is right either way. */
	if (err == RMEM_LOCK_OWNER_DIED)
		printf("process %d has the lock of one that is out\n", getpid());
	err = err < 0 || rmem_read(rm, &note, note_at, sizeof(note));
	note++;
	return err || rmem_write(rm, note_at, &note, sizeof(note)) || rmem_lock_release(lock) ||
	       rmem_record_write(record, last, -1) || rmem_counter_add(counter, 1);
}

static int guest(const char *server, int from, uint64_t number, uint64_t rounds)
{
	struct invitation in;
	int err = read(from, &in, sizeof(in)) != sizeof(in) || rmem_open(server, NULL, &rm) ||
		  rmem_attach(rm, in.addr, &in.key, NULL) || make_handles(in.addr);

	for (uint64_t i = 0; i < rounds && !err; i++)
		err = play(in.addr + RMEM_LOCK_BYTES, &(struct last){ number, i, number + i });
	return end(0, err);
}

static int host(int to, uint64_t rounds)
{
	const struct rmem_alloc_attr zeroed = {
		.size = sizeof(zeroed), .node = RMEM_NODE_ANY, .flags = RMEM_ALLOC_ZERO
	};
	struct invitation in = { 0 };
	uint64_t note = 0, count = 0;
	struct last last;
	int status, torn = 0, out = 0;
	int err = rmem_alloc(rm, RECORD_AT + RMEM_RECORD_BYTES(sizeof(last)), &zeroed, &in.addr) ||
		  rmem_share(rm, in.addr, &in.key) || make_handles(in.addr);

	for (int i = 0; i < PROCESSES && !err; i++)
		err = write(to, &in, sizeof(in)) != sizeof(in);
	for (pid_t pid; !err && (pid = waitpid(-1, &status, WNOHANG)) >= 0;) {
		out += pid > 0 && status;              /* killed, or failed */
		err = rmem_record_read(record, &last); /* readers take no lock */
		torn += !err && last.sum != last.process + last.round;
		err = err && err != -EAGAIN;
	}
	if (err || rmem_counter_get(counter, &count) ||
		rmem_read(rm, &note, in.addr + RMEM_LOCK_BYTES, sizeof(note)))
		return end(in.addr, -1);
	printf("counter %" PRIu64 ", note %" PRIu64 ", %d records torn\n%d ended early\n", count,
		note, torn, out);
	/* One that was out may not have counted what it had noted; one that counted had noted it. */
	return end(in.addr, 0) || torn || count > note || note > count + out ||
	       (!out && count != PROCESSES * rounds);
}

int main(int argc, char **argv)
{
	const char *server = argc > 1 ? argv[1] : NULL;
	uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 20;
	int ends[2], err = pipe(ends);

	for (uint64_t i = 0; i < PROCESSES && !err; i++)
		if (fork() == 0) {
			close(ends[1]);
			return guest(server, ends[0], i, rounds);
		}
	return err || rmem_open(server, NULL, &rm) ? end(0, -1) : host(ends[1], rounds);
}
