/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mappings of this process, one after the other, as /proc/self/maps or smaps tells them while they change: in the
 * order of addresses, each at most once, with nothing kept but a buffer. One that comes, goes or changes behind the
 * place that was reached is not seen.
 *
 * maps is enough, and costs little. smaps walks all page tables with a lock that mmap() waits for (35 ms per GiB have been
 * measured), and is only for a reader to which the kernel would give the registers of devices (client/scan/reader.h).
 *
 * Names come from the program and from file systems: they are bytes of any value, but for a line feed, as long as they
 * like. A line that fits neither file ends the list with an error, as nothing behind it can be trusted.
 */
#ifndef RMEM_CLIENT_SCAN_MAPPINGS_H
#define RMEM_CLIENT_SCAN_MAPPINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAPPINGS_BUFFER 8192

struct mapping {
	uint64_t start, end; /* whole pages */
	bool readable, writable, shared;
	/*
	 * A device's, or the kernel's own ([vvar], [uprobes], …). To read registers may do something, and the rings that a
	 * device shares with a driver in this process are full of addresses that it has used.
	 */
	bool device;
	bool stack; /* of the thread that the process began with */
};

struct mappings {
	int fd;
	bool pending_there, at_end, cut;
	struct mapping pending; /* what follows may still say more of it */
	uint64_t reached;       /* the end of the last one */
	size_t at, have;
	char buffer[MAPPINGS_BUFFER];
};

/* From a descriptor that stays the caller's, at its beginning. One thread. */
void mappings_begin(struct mappings *m, int fd);

/* 1 and the next, 0: that was all, -EPROTO, or what read() says. */
int mappings_next(struct mappings *m, struct mapping *out);

/* The first line of a mapping, without its line feed. false: it is none. Pure. */
bool mappings_parse(const char *line, size_t len, struct mapping *out);

#endif
