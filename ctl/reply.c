/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctl/reply.h"

#include <errno.h>
#include <string.h>

int reply_parse(const char *text, size_t size, json_t **out, struct errinfo *errinfo)
{
	json_error_t error;
	json_t *answer = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	const json_t *schema = json_object_get(answer, "schema");
	int err;

	if (!answer && json_error_code(&error) == json_error_out_of_memory)
		return errinfo_set(errinfo, -ENOMEM, "out of memory");
	if (json_is_integer(schema) && json_integer_value(schema) == REPLY_SCHEMA) {
		*out = answer;
		return 0;
	}
	if (json_is_integer(schema))
		err = errinfo_set(errinfo, -EBADMSG,
			"the answer has schema %" JSON_INTEGER_FORMAT
			", this rmemctl knows %d: use the one that came with that rmemd",
			json_integer_value(schema), REPLY_SCHEMA);
	else
		err = errinfo_set(errinfo, -EBADMSG,
			"the answer is not an rmemd's report (cut short, or not an rmemd)");
	json_decref(answer);
	return err;
}

int reply_check(const json_t *answer, enum report report, struct errinfo *errinfo)
{
	const json_t *error = json_object_get(answer, "error");
	const char *name = json_string_value(json_object_get(answer, "report"));
	const char *message = json_string_value(json_object_get(error, "message"));

	if (error)
		return errinfo_set(errinfo, -EREMOTEIO, "%s",
			message && message[0] ? message
					      : "the server gives an error and no reason");
	if (!name || strcmp(name, report_answer(report)) != 0)
		return errinfo_set(errinfo, -EBADMSG,
			"the answer is not a %s report: is it an rmemd?", report_answer(report));
	return 0;
}
