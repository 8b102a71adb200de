/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/memory/proof.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/identity.h"

_Static_assert(sizeof(struct proof) == 64, "proofs are 64 bytes");

static uint32_t checksum(const struct proof *p)
{
	struct proof copy = *p;

	copy.check = 0;
	return (uint32_t)table_sum(&copy, sizeof(copy));
}

static bool is_whole(const struct proof *p)
{
	return (p->state == PROOF_MAKING || p->state == PROOF_CLEAN) && p->check == checksum(p);
}

void proof_read(int tables_dir, const char *name, struct proof out[SEGMENTS_MAX])
{
	const size_t bytes = SEGMENTS_MAX * sizeof(*out);
	int fd = openat(tables_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n = fd >= 0 ? pread(fd, out, bytes, TABLE_HEADER_BYTES) : 0;

	if (fd >= 0)
		close(fd);
	n = n > 0 ? n : 0;
	memset((char *)out + n, 0, bytes - (size_t)n);
	for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
		if (!is_whole(&out[i]))
			out[i] = (struct proof){ .state = PROOF_NONE };
	}
}

int proof_open(struct table *t, int tables_dir, const char *name)
{
	const struct table_layout layout = { .magic = { 'r', 'm', 'e', 'm', 'p', 'o', 'o', 'l' },
		.version = PROOF_FORMAT,
		.oldest = PROOF_OLDEST,
		.adopt_later = true,
		.record_bytes = sizeof(struct proof),
		.count = SEGMENTS_MAX };
	int err = table_open(t, tables_dir, name, &layout, NULL);

	if (!err)
		err = table_back(t, SEGMENTS_MAX - 1);
	if (err)
		table_close(t);
	return err;
}

/* Store NONE first and the new state last: a kill in between leaves a record that proves nothing. */
static void store(struct table *t, unsigned segment, struct proof next)
{
	struct proof *p = table_edit(t, segment);

	next.check = checksum(&next);
	__atomic_store_n(&p->state, PROOF_NONE, __ATOMIC_SEQ_CST);
	p->check = next.check;
	p->bytes = next.bytes;
	p->device = next.device;
	p->inode = next.inode;
	p->run = next.run;
	memcpy(p->boot_id, next.boot_id, sizeof(p->boot_id));
	p->ledger_inode = next.ledger_inode;
	__atomic_store_n(&p->state, next.state, __ATOMIC_SEQ_CST);
}

void proof_announce(struct table *t, unsigned segment, uint64_t bytes)
{
	store(t, segment, (struct proof){ .state = PROOF_MAKING, .bytes = bytes });
}

static int make(const struct proof_subject *of, struct proof *out)
{
	uint64_t boot_clock; /* unused: an inode number identifies a file for the whole boot */
	struct stat st;

	if (fstat(of->arena_fd, &st) != 0)
		return -errno;
	*out = (struct proof){ .state = PROOF_CLEAN,
		.bytes = (uint64_t)st.st_size,
		.device = st.st_dev,
		.inode = st.st_ino,
		.run = of->run,
		.ledger_inode = of->ledger_inode };
	identity_boot(out->boot_id, &boot_clock);
	out->check = checksum(out);
	return 0;
}

int proof_give(struct table *t, unsigned segment, const struct proof_subject *of)
{
	struct proof p;
	int err = make(of, &p);

	if (!err)
		store(t, segment, p);
	return err;
}

bool proof_holds(const struct table *t, unsigned segment, const struct proof_subject *of)
{
	struct proof p;

	return of->run != 0 && make(of, &p) == 0 &&
	       memcmp(&p, table_record(t, segment), sizeof(p)) == 0;
}

bool proof_is_known(const struct table *t, unsigned segment)
{
	const struct proof *p = table_record(t, segment);

	return p->state != PROOF_NONE;
}

void proof_drop(struct table *t, unsigned segment)
{
	struct proof *p = table_edit(t, segment);

	__atomic_store_n(&p->state, PROOF_NONE, __ATOMIC_SEQ_CST);
}
