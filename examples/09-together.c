/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 09-together: processes that share a lock, a counter and a record, each in remote memory.
 *
 * Each takes the lock, adds one to a note, writes the record, and counts. Kill or stop one while it goes on:
 * the others wait until the server says that it is out, and nothing is lost or counted twice.
 *
 *	09-together [HOST[:PORT]]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rmem/objects.h>

#define PROCESSES 3
#define ROUNDS 20
#define RECORD_AT (64 + RMEM_COUNTER_BYTES(PROCESSES))

struct last {
	uint64_t process, round, sum; /* the sum of both: see whether it is torn */
};

struct invitation {
	rmem_addr_t addr;
	struct rmem_share_key key;
};

struct tools {
	struct rmem_lock *lock; /* of the note behind it */
	struct rmem_counter *counter;
	struct rmem_record *record;
};

static int make_tools(struct rmem *rm, rmem_addr_t addr, struct tools *t)
{
	return rmem_lock_create(rm, addr, &t->lock) ||
	       rmem_counter_create(rm, addr + 64, PROCESSES, &t->counter) ||
	       rmem_record_create(rm, addr + RECORD_AT, sizeof(struct last), &t->record);
}

static int drop(struct rmem *rm, struct tools *t, rmem_addr_t own)
{
	rmem_record_destroy(t->record);
	rmem_counter_destroy(t->counter);
	rmem_lock_destroy(t->lock);
	return rmem_free(rm, own) || rmem_close(rm);
}

static int play_round(struct rmem *rm, rmem_addr_t addr, struct tools *t, const struct last *last)
{
	rmem_addr_t at = addr + RMEM_LOCK_BYTES;
	uint64_t note = 0;
	int err = rmem_lock_acquire(t->lock, -1);

	/* The note is one word, and so never half written. Else this would be the time to mend it. */
	if (err == RMEM_LOCK_OWNER_DIED)
		printf("process %" PRIu64 " has the lock of one that is out\n", last->process);
	err = err < 0 || rmem_read(rm, &note, at, sizeof(note));
	note++;
	return err || rmem_write(rm, at, &note, sizeof(note)) || rmem_lock_release(t->lock) ||
	       rmem_record_write(t->record, last, -1) || rmem_counter_add(t->counter, 1);
}

static int guest(const char *server, int from, uint64_t number)
{
	struct invitation in;
	struct tools t = { 0 };
	struct rmem *rm = NULL;
	int err = read(from, &in, sizeof(in)) != sizeof(in);

	err = err || rmem_open(server, NULL, &rm) || rmem_attach(rm, in.addr, &in.key, NULL) ||
	      make_tools(rm, in.addr, &t);
	for (uint64_t i = 0; i < ROUNDS && !err; i++)
		err = play_round(rm, in.addr, &t, &(struct last){ number, i, number + i });
	if (err)
		fprintf(stderr, "09-together: %s\n", rmem_errmsg());
	return drop(rm, &t, 0) || err;
}

static int host(struct rmem *rm, int to)
{
	struct invitation in;
	struct tools t = { 0 };
	uint64_t note = 0, count = 0, torn = 0;
	struct last last;
	int err = rmem_alloc(rm, RECORD_AT + RMEM_RECORD_BYTES(sizeof(last)), NULL, &in.addr) ||
		  rmem_share(rm, in.addr, &in.key) || make_tools(rm, in.addr, &t);

	for (int i = 0; i < PROCESSES && !err; i++)
		err = write(to, &in, sizeof(in)) != sizeof(in);
	/* Readers take no lock. */
	while (!err && waitpid(-1, NULL, WNOHANG) >= 0) {
		err = rmem_record_read(t.record, &last);
		torn += !err && last.sum != last.process + last.round;
		err = err && err != -EAGAIN;
	}
	err = err || rmem_counter_get(t.counter, &count) ||
	      rmem_read(rm, &note, in.addr + RMEM_LOCK_BYTES, sizeof(note));
	printf("counter %" PRIu64 ", note %" PRIu64 ", %" PRIu64 " records torn\n", count, note,
		torn);
	return drop(rm, &t, in.addr) || err || count != PROCESSES * ROUNDS || torn;
}

int main(int argc, char **argv)
{
	const char *server = argc > 1 ? argv[1] : NULL;
	struct rmem *rm = NULL;
	int ends[2], err = pipe(ends);

	for (uint64_t i = 0; i < PROCESSES && !err; i++)
		if (fork() == 0) {
			close(ends[1]);
			return guest(server, ends[0], i);
		}
	return err || rmem_open(server, NULL, &rm) || host(rm, ends[1]);
}
