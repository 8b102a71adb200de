/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/plain_text.h"

#include <stdint.h>

/* How many bytes the character takes that begins there; 0: it is none that can be shown. */
static unsigned length_of(const uint8_t *p)
{
	const unsigned n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t code = n == 1 ? p[0] : p[0] & (0x7fU >> n);
	static const uint32_t least[] = { 0, 0x20, 0xa0, 0x800, 0x10000 };

	if ((p[0] >= 0x80 && p[0] < 0xc2) || p[0] > 0xf4 || p[0] == 0x7f)
		return 0;
	for (unsigned i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

void plain_text(char *text)
{
	for (uint8_t *p = (uint8_t *)text; *p;) {
		const unsigned n = length_of(p);

		if (!n)
			*p = '?';
		p += n ? n : 1;
	}
}
