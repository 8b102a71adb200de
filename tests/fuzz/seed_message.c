/* SPDX-License-Identifier: BSD-3-Clause */
/* seed_message DIR: writes inputs for fuzz_message, two per message: some contents, and all full.
 */
#include <limits.h>
#include <stdio.h>

#include "tests/support/messages.h"

static int write_seed(const char *dir, size_t kind, enum fullness full)
{
	static union any_message message;
	uint64_t seed = kind + 1;
	uint8_t buf[1 + MESSAGE_MAX];
	struct wire w = wire_over(buf, sizeof(buf));
	char path[PATH_MAX];
	size_t written;
	FILE *f;

	message_kinds[kind].fill(&message, &seed, full);
	wire_put_u8(&w, (uint8_t)kind);
	message_kinds[kind].put(&w, &message);
	snprintf(path, sizeof(path), "%s/%s-%s", dir, message_kinds[kind].name,
		full == FULL_TO_THE_BRIM ? "full" : "some");
	f = fopen(path, "wb");
	if (!f)
		return -1;
	written = fwrite(buf, 1, w.pos, f);
	return fclose(f) == 0 && written == w.pos ? 0 : -1;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "Usage: seed_message DIR\n");
		return 2;
	}
	for (size_t kind = 0; kind < MESSAGE_KINDS; kind++) {
		if (write_seed(argv[1], kind, FULL_RANDOMLY) < 0 ||
			write_seed(argv[1], kind, FULL_TO_THE_BRIM) < 0) {
			perror(argv[1]);
			return 1;
		}
	}
	return 0;
}
