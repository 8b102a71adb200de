/* SPDX-License-Identifier: BSD-3-Clause */
/* The words of a command line, sorted into options and operands, by what is in ctl/menu.h. */
#ifndef RMEM_CTL_WORDS_H
#define RMEM_CTL_WORDS_H

#include <stddef.h>

#include "common/errinfo.h"

#define GIVEN_MAX 64

/* An option as it was given; which one it is depends on the command. */
struct given {
	const char *name; /* NULL: by its letter */
	char letter;
	const char *text; /* its value, or NULL */
};

struct words {
	struct given given[GIVEN_MAX];
	size_t ngiven;
	int noperands;
	char **operands; /* in argv */
};

/* 0, or -EINVAL with a reason that names the offending word. w is zeroed. argv is sorted anew. */
int words_read(struct words *w, int argc, char **argv, struct errinfo *errinfo);

#endif
