/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/order.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "ctl/field.h"
#include "ctl/reply.h"
#include "ctl/source.h"

static bool takes_memory(enum report report)
{
	return report == REPORT_EVICT || report == REPORT_REVOKE || report == REPORT_RECLAIM;
}

/* From here on it is about what was shown: another session or allocation is not meant. */
static void fix(struct options *o, const json_t *preview, struct check *c)
{
	const json_t *holder = json_array_get(field_list(c, preview, "holders"), 0);

	if (o->report == REPORT_EVICT) {
		const char *id = field_text(c, holder, "session");

		if (strlen(id) != sizeof(o->session) - 1 ||
			strspn(id, "0123456789abcdef") != sizeof(o->session) - 1 ||
			strncasecmp(id, o->session, strlen(o->session)) != 0)
			field_fail(c, "has another session in", "holders");
		else
			memcpy(o->session, id, sizeof(o->session));
	}
	if (o->report == REPORT_REVOKE)
		o->allocation = field_uint(c, field_object(c, preview, "allocation"), "id");
}

static int show(struct options *o, const json_t *preview, struct errinfo *errinfo)
{
	struct check c = { "" };
	int err = reply_check(preview, o->report, errinfo);

	if (err)
		return err;
	if (!field_bool(&c, preview, "preview"))
		field_fail(&c, "was to do nothing, but has no true in", "preview");
	fix(o, preview, &c);
	if (c.what[0])
		return errinfo_set(
			errinfo, -EBADMSG, "the answer %s: this is not what an rmemd says", c.what);
	return render_report(o->report, preview, &o->view, stderr, errinfo);
}

static int ask(struct errinfo *errinfo)
{
	char answer[16];

	fputs("Go on? [y/N] ", stderr);
	fflush(stderr);
	if (fgets(answer, sizeof(answer), stdin) &&
		(strcasecmp(answer, "y\n") == 0 || strcasecmp(answer, "yes\n") == 0))
		return 0;
	return errinfo_set(errinfo, -ECANCELED, "nothing was done");
}

int order_confirm(struct options *o, struct errinfo *errinfo)
{
	json_t *preview = NULL;
	int err;

	if (!takes_memory(o->report) || o->yes)
		return 0;
	if (!isatty(STDIN_FILENO))
		return errinfo_set(errinfo, -EINVAL,
			"%s takes memory away, and there is nobody at a terminal to confirm it: "
			"want --yes",
			report_words(o->report));
	o->preview = true;
	err = source_ask(o, &preview, errinfo);
	o->preview = false;
	if (err == 0)
		err = show(o, preview, errinfo);
	if (err == 0 && !(o->report == REPORT_RECLAIM && json_integer_value(json_object_get(
								 preview, "sessions_total")) == 0))
		err = ask(errinfo);
	json_decref(preview);
	return err;
}
