/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole of rmem_read() and rmem_write(), for what client/shortcut.h leaves over; and of the atomic
 * operations, for the objects that are made of them.
 */
#ifndef RMEM_CLIENT_DATA_H
#define RMEM_CLIENT_DATA_H

#include <stddef.h>

#include "client/operation.h"
#include "rmem/rmem.h"

int data_copy(struct rmem *rm, enum operation_kind kind, void *local, rmem_addr_t remote,
	size_t bytes, const char *call);

int data_operate(struct rmem *rm, struct operation *op, uint64_t *out_old, const char *call);

#endif
