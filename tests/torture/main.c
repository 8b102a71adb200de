/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "tests/torture/chaos.h"
#include "tests/torture/client.h"

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "client") == 0)
		return client_main(argc, (const char *const *)argv);
	if (argc > 1 && strcmp(argv[1], "chaos") == 0)
		return chaos_main(argc, argv);
	fprintf(stderr, "usage: torture chaos OPTION... (see tests/torture/run)\n");
	return 2;
}
