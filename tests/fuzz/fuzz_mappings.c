/* SPDX-License-Identifier: BSD-3-Clause */
/* /proc/self/maps, smaps and task/TID/syscall: names are a program's choice, and the form is the kernel's. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/scan/mappings.h"
#include "client/scan/stack_pointer.h"
#include "tests/fuzz/fuzz.h"

#define UNTOUCHED 0x5a5a5a5a5a5a5a5aULL

static void check_stack_pointer(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	uint64_t sp = UNTOUCHED;
	const int rc = stack_pointer_parse(text, &sp);

	FUZZ_EXPECT(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
	FUZZ_EXPECT(rc == 0 || sp == UNTOUCHED);
	free(text);
}

/* As one line, in a buffer that ends where it ends. */
static void check_line(const uint8_t *data, size_t size)
{
	char *line = malloc(size ? size : 1);
	struct mapping m = { .start = UNTOUCHED };

	FUZZ_EXPECT(line);
	if (size)
		memcpy(line, data, size);
	if (mappings_parse(line, size, &m))
		FUZZ_EXPECT(m.start < m.end && m.start % 4096 == 0 && m.end % 4096 == 0);
	else
		FUZZ_EXPECT(m.start == UNTOUCHED);
	free(line);
}

static void check_file(const uint8_t *data, size_t size)
{
	const int fd = memfd_create("maps", MFD_CLOEXEC);
	static struct mappings m;
	uint64_t reached = 0;
	struct mapping got;
	int rc;

	FUZZ_EXPECT(
		fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
	mappings_begin(&m, fd);
	while ((rc = mappings_next(&m, &got)) > 0) {
		FUZZ_EXPECT(got.start >= reached && got.start < got.end);
		FUZZ_EXPECT(got.start % 4096 == 0 && got.end % 4096 == 0);
		reached = got.end;
	}
	FUZZ_EXPECT(rc == 0 || rc == -EPROTO);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_stack_pointer(data, size);
	check_line(data, size);
	check_file(data, size);
	return 0;
}
