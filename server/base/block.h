/* SPDX-License-Identifier: BSD-3-Clause */
/* A block is what an allocation takes: a power-of-two run of pages. */
#ifndef RMEM_SERVER_BASE_BLOCK_H
#define RMEM_SERVER_BASE_BLOCK_H

#define BLOCK_MIN_BYTES 4096ULL
#define BLOCK_MAX_BYTES (1ULL << 31) /* mlx5 binds no window larger than 2 GiB */

#endif
