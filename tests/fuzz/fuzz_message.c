/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first byte selects a message, the rest is its body. There is one encoding for each content: a
 * body that decodes must encode to the same bytes again.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/support/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static union any_message message;
	const struct message_kind *kind;
	uint8_t *body, *again;
	struct wire w;

	if (size < 1)
		return 0;
	kind = &message_kinds[data[0] % MESSAGE_KINDS];
	size--;
	body = malloc(size + 1);
	again = malloc(size + 1);
	FUZZ_EXPECT(body && again);
	memcpy(body, data + 1, size);
	w = wire_over(body, size);
	memset(&message, 0xa5, sizeof(message));
	kind->get(&w, &message);
	if (wire_finish(&w) == 0) {
		w = wire_over(again, size);
		kind->put(&w, &message);
		FUZZ_EXPECT(wire_finish(&w) == 0);
		FUZZ_EXPECT(memcmp(body, again, size) == 0);
	}
	free(again);
	free(body);
	return 0;
}
