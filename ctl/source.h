/* SPDX-License-Identifier: BSD-3-Clause */
/* Where an answer comes from: a socket or RDMA, as the options say. */
#ifndef RMEM_CTL_SOURCE_H
#define RMEM_CTL_SOURCE_H

#include <jansson.h>

#include "common/errinfo.h"
#include "ctl/options.h"

/* Ask for the report; *out is JSON with our schema, not more checked. Free with json_decref(). */
int source_ask(const struct options *o, json_t **out, struct errinfo *errinfo);

#endif
