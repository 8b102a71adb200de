/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A cursor over a message buffer: every put and get is checked against the buffer's end, and the
 * first failure sticks, so that a whole message is coded and then asked once whether it fitted.
 * Integers are in network byte order. Pure; a cursor belongs to one thread.
 */
#ifndef RMEM_COMMON_WIRE_H
#define RMEM_COMMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire {
	uint8_t *data;
	size_t size; /* of the buffer (put) or of the message (get) */
	size_t pos;
	bool failed; /* sticky: something did not fit or was malformed */
};

static inline struct wire wire_over(void *data, size_t size)
{
	return (struct wire){ .data = data, .size = size };
}

void wire_put_u8(struct wire *w, uint8_t v);
void wire_put_u16(struct wire *w, uint16_t v);
void wire_put_u32(struct wire *w, uint32_t v);
void wire_put_u64(struct wire *w, uint64_t v);
void wire_put_bytes(struct wire *w, const void *bytes, size_t n);
/* A 16-bit length, then the bytes without the terminator. */
void wire_put_text(struct wire *w, const char *text);

/* After a failure these return 0 and leave their outputs zeroed. */
uint8_t wire_get_u8(struct wire *w);
uint16_t wire_get_u16(struct wire *w);
uint32_t wire_get_u32(struct wire *w);
uint64_t wire_get_u64(struct wire *w);
void wire_get_bytes(struct wire *w, void *out, size_t n);
/* Fails if the text with its terminator does not fit into size, or has a NUL inside. */
void wire_get_text(struct wire *w, char *out, size_t size);

/* 0 if every byte was used and nothing failed, else -EBADMSG. */
int wire_finish(const struct wire *w);

#endif
