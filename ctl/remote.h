/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One question to an rmemd over RDMA, as an observer: it gets no session, holds nothing and can only
 * read reports (docs/PROTOCOL.md, REPORT).
 */
#ifndef RMEM_CTL_REMOTE_H
#define RMEM_CTL_REMOTE_H

#include <stddef.h>
#include <stdint.h>

#include "common/target.h"
#include "common/errinfo.h"

/* As admin_ask(). Also the errors of endpoint_connect() and endpoint_call(). Free *out. */
int remote_ask(const struct target *server, const char *request, uint64_t deadline_ns, char **out,
	size_t *out_size, struct errinfo *errinfo);

#endif
