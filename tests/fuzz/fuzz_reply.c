/* SPDX-License-Identifier: BSD-3-Clause */
/* What rmemctl does with an answer from whoever listens where it asks. */
#include <errno.h>
#include <string.h>

#include "ctl/reply.h"
#include "ctl/select.h"
#include "ctl/verdict.h"
#include "tests/fuzz/fuzz.h"

/* All or nothing, a reason with every failure, and nothing that a terminal would obey. */
static void render(enum report report, json_t *answer)
{
	const struct view view = { .kinds = KINDS_ALL, .node = -1, .blocks = true, .line = 17 };
	struct why why = { "" };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool leaks;
	int err = 0;

	FUZZ_EXPECT(out);
	if (report == REPORT_LEAKS) {
		err = verdict_leaks(answer, KINDS_FAIL, &leaks, &why);
		FUZZ_EXPECT(err == 0 || err == -EBADMSG);
		err = select_leaks(answer, &view, &why);
		FUZZ_EXPECT(err == 0 || err == -EBADMSG);
	}
	if (err == 0)
		err = render_report(report, answer, &view, out, &why);
	FUZZ_EXPECT(fclose(out) == 0);
	FUZZ_EXPECT(err == 0 || err == -EBADMSG);
	FUZZ_EXPECT((err == 0) == (size > 0));
	FUZZ_EXPECT(err == 0 || why.text[0]);
	for (size_t i = 0; i < size; i++)
		FUZZ_EXPECT((unsigned char)text[i] >= ' ' || text[i] == '\n');
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct why why = { "" };
	json_t *answer = NULL;

	if (reply_parse(text, size, &answer, &why)) {
		FUZZ_EXPECT(!answer && why.text[0]);
	} else {
		for (unsigned i = 0; i < REPORTS; i++) {
			if (reply_check(answer, (enum report)i, &why) == 0)
				render((enum report)i, answer);
		}
		json_decref(answer);
	}
	free(text);
	return 0;
}
