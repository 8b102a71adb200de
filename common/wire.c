/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/wire.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* The next n bytes, or NULL (and failed) if there are fewer. */
static uint8_t *take(struct wire *w, size_t n)
{
	uint8_t *p;

	if (w->failed || n > w->size - w->pos) {
		w->failed = true;
		return NULL;
	}
	p = w->data + w->pos;
	w->pos += n;
	return p;
}

void wire_put_bytes(struct wire *w, const void *bytes, size_t n)
{
	uint8_t *p = take(w, n);

	if (p && n)
		memcpy(p, bytes, n);
}

void wire_put_u8(struct wire *w, uint8_t v)
{
	wire_put_bytes(w, &v, sizeof(v));
}

void wire_put_u16(struct wire *w, uint16_t v)
{
	v = htobe16(v);
	wire_put_bytes(w, &v, sizeof(v));
}

void wire_put_u32(struct wire *w, uint32_t v)
{
	v = htobe32(v);
	wire_put_bytes(w, &v, sizeof(v));
}

void wire_put_u64(struct wire *w, uint64_t v)
{
	v = htobe64(v);
	wire_put_bytes(w, &v, sizeof(v));
}

void wire_put_text(struct wire *w, const char *text)
{
	size_t n = strlen(text);

	if (n > UINT16_MAX) {
		w->failed = true;
		return;
	}
	wire_put_u16(w, (uint16_t)n);
	wire_put_bytes(w, text, n);
}

void wire_get_bytes(struct wire *w, void *out, size_t n)
{
	uint8_t *p = take(w, n);

	if (p && n)
		memcpy(out, p, n);
	else if (n)
		memset(out, 0, n);
}

uint8_t wire_get_u8(struct wire *w)
{
	uint8_t v;

	wire_get_bytes(w, &v, sizeof(v));
	return v;
}

uint16_t wire_get_u16(struct wire *w)
{
	uint16_t v;

	wire_get_bytes(w, &v, sizeof(v));
	return be16toh(v);
}

uint32_t wire_get_u32(struct wire *w)
{
	uint32_t v;

	wire_get_bytes(w, &v, sizeof(v));
	return be32toh(v);
}

uint64_t wire_get_u64(struct wire *w)
{
	uint64_t v;

	wire_get_bytes(w, &v, sizeof(v));
	return be64toh(v);
}

void wire_get_text(struct wire *w, char *out, size_t size)
{
	size_t n = wire_get_u16(w);

	memset(out, 0, size);
	if (n >= size)
		w->failed = true;
	if (w->failed)
		return;
	wire_get_bytes(w, out, n);
	if (w->failed || memchr(out, '\0', n)) {
		w->failed = true;
		out[0] = '\0';
	}
}

int wire_finish(const struct wire *w)
{
	return w->failed || w->pos != w->size ? -EBADMSG : 0;
}
