/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An operation that is planned, carried out on the calling thread's channel while the caller waits: a part of a public
 * call. Any thread.
 */
#ifndef RMEM_CLIENT_SPACE_PERFORM_H
#define RMEM_CLIENT_SPACE_PERFORM_H

#include "client/space/call.h"

/* 0 or as rmem_read() and its like. */
int perform(struct rmem *rm, struct operation *op, struct errinfo *errinfo);

#endif
