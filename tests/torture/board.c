/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/torture/board.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/torture/heart.h"

#define HISTORY_LINES 60
#define COMPLAINTS 12 /* that are printed, of each process */

struct board *board;

int board_open(const char *path, int create)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_TRUNC : 0), 0600);
	void *map;

	if (fd < 0)
		return -errno;
	if (create && ftruncate(fd, sizeof(*board))) {
		close(fd);
		return -errno;
	}
	map = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return -errno;
	board = map;
	if (create)
		board->began_ns = heart_now();
	return 0;
}

void board_event(enum board_event e, uint64_t n)
{
	atomic_fetch_add(&board->counts.events[e], n);
}

void board_result(enum board_call c, int rc)
{
	unsigned i = rc >= 0 ? 0 : (unsigned)-rc;

	atomic_fetch_add(&board->counts.results[c][i < BOARD_RESULTS ? i : BOARD_RESULTS - 1], 1);
}

void board_longest(enum board_call c, uint64_t ms)
{
	uint64_t was = atomic_load(&board->counts.longest_ms[c]);

	while (was < ms && !atomic_compare_exchange_weak(&board->counts.longest_ms[c], &was, ms))
		;
}

const char *board_call_name(enum board_call c)
{
	static const char *const names[CALLS] = {
#define X(name, text) text,
		BOARD_CALLS(X)
#undef X
	};

	return names[c];
}

void board_note(const char *what, unsigned owner, unsigned gen, unsigned seq, uint64_t addr,
	uint64_t bytes, int rc)
{
	uint64_t i = atomic_fetch_add(&board->next_note, 1);
	struct board_note *n = &board->notes[i % BOARD_NOTES];

	n->ns = heart_now();
	n->addr = addr;
	n->bytes = bytes;
	n->owner = owner;
	n->gen = gen;
	n->seq = seq;
	n->rc = rc;
	snprintf(n->what, sizeof(n->what), "%s", what);
}

static int touches(const struct board_note *n, uint64_t addr, uint64_t bytes)
{
	return n->addr < addr + bytes && addr < n->addr + n->bytes;
}

void board_history(FILE *out, uint64_t addr, uint64_t bytes)
{
	uint64_t end = atomic_load(&board->next_note);
	uint64_t begin = end > BOARD_NOTES ? end - BOARD_NOTES : 0;
	uint64_t first = end;
	int64_t now = heart_now();

	for (int found = 0; first > begin && found < HISTORY_LINES; first--)
		found += touches(&board->notes[(first - 1) % BOARD_NOTES], addr, bytes);
	for (uint64_t i = first; i < end; i++) {
		const struct board_note *n = &board->notes[i % BOARD_NOTES];

		if (touches(n, addr, bytes))
			fprintf(out,
				"    %9.3f s ago  %-14s owner %u gen %u seq %u  0x%" PRIx64
				"+%" PRIu64 "  %s\n",
				(double)(now - n->ns) / 1e9, n->what, n->owner, n->gen, n->seq,
				n->addr, n->bytes, n->rc ? strerrorname_np(-n->rc) : "0");
	}
}

void board_complain(
	enum board_event e, uint64_t n, uint64_t addr, uint64_t bytes, const char *fmt, ...)
{
	static _Atomic int told;
	size_t length = 0;
	char *text = NULL;
	FILE *out;
	va_list ap;

	board_event(e, n);
	if (atomic_fetch_add(&told, 1) >= COMPLAINTS)
		return;
	out = open_memstream(&text, &length);
	if (!out)
		return;
	fprintf(out, "torture: %.3f s: process %d: ", (double)(heart_now() - board->began_ns) / 1e9,
		getpid());
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	fputc('\n', out);
	if (bytes)
		board_history(out, addr, bytes);
	fclose(out);
	/* In one piece: others write too. */
	(void)!write(STDERR_FILENO, text, length);
	free(text);
}
