/* SPDX-License-Identifier: BSD-3-Clause */
/* Is what the server says true, and may it say so? Called by the links, for each request and each answer. */
#ifndef RMEM_SIM_VERDICT_H
#define RMEM_SIM_VERDICT_H

#include <stddef.h>
#include <stdint.h>

struct link;
struct request;

void verdict_begin(void); /* a new seed */

void verdict_asked(struct link *link, const struct request *q);
void verdict_heard(struct link *link, const struct request *q); /* and was not killed meanwhile */
void verdict_answered(struct link *link, const uint8_t *bytes, size_t n);
void verdict_ended(const struct link *link, const char *reason); /* by the server */

#endif
