/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shortest way of a short copy in one piece, when everything is as it was the last time: connected, the
 * lease good, the key known. No lock, no allocation, nothing that other threads write; some hundred
 * instructions. Whatever else there is to do, client/channel.h does.
 *
 * rmem_read() and rmem_write() begin here; and queues. The channel's thread.
 */
#ifndef RMEM_CLIENT_SHORTCUT_H
#define RMEM_CLIENT_SHORTCUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/channel.h"

/* Start a copy: op has a kind, a tag and a fence, and nothing else. False: channel_start() does it. */
bool shortcut_start(
	struct channel *ch, struct operation *op, void *local, uint64_t remote, size_t bytes);

#endif
