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
	const struct view view = { KINDS_ALL, 0, 0, 0, -1, true, 17 };
	struct errinfo errinfo = { "" };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool leaks;
	int err = 0;

	FUZZ_EXPECT(out);
	if (report == REPORT_LEAKS) {
		err = verdict_leaks(answer, KINDS_FAIL, &leaks, &errinfo);
		FUZZ_EXPECT(err == 0 || err == -EBADMSG);
		err = select_leaks(answer, &view, &errinfo);
		FUZZ_EXPECT(err == 0 || err == -EBADMSG);
	}
	if (err == 0)
		err = render_report(report, answer, &view, out, &errinfo);
	FUZZ_EXPECT(fclose(out) == 0);
	FUZZ_EXPECT(err == 0 || err == -EBADMSG);
	FUZZ_EXPECT((err == 0) == (size > 0));
	FUZZ_EXPECT(err == 0 || errinfo.text[0]);
	for (size_t i = 0; i < size; i++)
		FUZZ_EXPECT((unsigned char)text[i] >= ' ' || text[i] == '\n');
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	struct errinfo errinfo = { "" };
	json_t *answer = NULL;

	if (reply_parse(text, size, &answer, &errinfo)) {
		FUZZ_EXPECT(!answer && errinfo.text[0]);
	} else {
		for (unsigned i = 0; i < REPORTS; i++) {
			if (reply_check(answer, (enum report)i, &errinfo) == 0)
				render((enum report)i, answer);
		}
		json_decref(answer);
	}
	free(text);
	return 0;
}
