/* SPDX-License-Identifier: BSD-3-Clause */
/* What rmemctl does with an answer from any process that listens where it asks. */
#include <errno.h>
#include <string.h>

#include "ctl/reply.h"
#include "ctl/select.h"
#include "ctl/verdict.h"
#include "tests/fuzz/fuzz.h"

/* All or nothing, a reason with every failure, and nothing that a terminal would obey. */
static void render(enum report report, json_t *answer, bool plain)
{
	static const struct gate gate = { .kinds = KINDS_FAIL, .older_ms = 1, .shown = true };
	const struct view view = { .kinds = KINDS_ALL,
		.node = -1,
		.blocks = true,
		.line = 17,
		.site = plain ? NULL : "main.c:40",
		.job = plain ? NULL : "etl-992",
		.session = plain ? NULL : "1a",
		.sort = plain ? NULL : "bytes",
		.columns = plain ? NULL : "id,opened,command" };
	struct errinfo errinfo = { "" };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool leaks;
	int err = 0;

	FUZZ_EXPECT(out);
	if (report == REPORT_LEAKS) {
		err = verdict_leaks(answer, &gate, &view, &leaks, &errinfo);
		FUZZ_EXPECT(err == 0 || err == -EBADMSG);
	}
	if (err == 0)
		err = select_items(report, answer, &view, &errinfo);
	FUZZ_EXPECT(err == 0 || err == -EBADMSG);
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

/* With what leaves out and sorts, and without: what is left out is gone from the answer. */
static void render_both(enum report report, json_t *answer)
{
	json_t *copy = json_deep_copy(answer);

	FUZZ_EXPECT(copy);
	render(report, copy, true);
	json_decref(copy);
	render(report, answer, false);
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
				render_both((enum report)i, answer);
		}
		json_decref(answer);
	}
	free(text);
	return 0;
}
