/* SPDX-License-Identifier: BSD-3-Clause */
/* What came back, as JSON: is it an answer, to our question, in a schema that we know? Pure. */
#ifndef RMEM_CTL_REPLY_H
#define RMEM_CTL_REPLY_H

#include <jansson.h>
#include <stddef.h>

#include "common/errinfo.h"
#include "ctl/render.h"

#define REPLY_SCHEMA 1
#define REPLY_MAX_BYTES (64U << 20)

/* -EBADMSG: not one JSON object with our schema in it. Free *out with json_decref(). */
int reply_parse(const char *text, size_t size, json_t **out, struct errinfo *errinfo);

/* -EREMOTEIO: the server says that it cannot, and why; -EBADMSG: not the report asked for. */
int reply_check(const json_t *answer, enum report report, struct errinfo *errinfo);

#endif
