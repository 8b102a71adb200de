/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fields of a JSON answer, read with suspicion: the first one that is missing or of the wrong type is
 * remembered, later ones read as 0 or "", and the caller asks once at the end. So a renderer reads
 * straight through, and no answer, however broken, can make it crash.
 *
 * Borrowed pointers live as long as the answer does.
 */
#ifndef RMEM_CTL_FIELD_H
#define RMEM_CTL_FIELD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/kind.h"

struct check {
	char what[96]; /* the first bad field; "": none */
};

/* Remember that a field makes no sense: problem is said before its quoted name. */
void field_fail(struct check *c, const char *problem, const char *name);

uint64_t field_uint(struct check *c, const json_t *object, const char *name);
int64_t field_int(struct check *c, const json_t *object, const char *name);

/* 0 if the field is not there: for what older servers do not count. */
uint64_t field_uint_or_0(struct check *c, const json_t *object, const char *name);

/* -1 if the field is null or not there: for what is never negative. */
int64_t field_int_or_null(struct check *c, const json_t *object, const char *name);

bool field_bool(struct check *c, const json_t *object, const char *name);

const char *field_text(struct check *c, const json_t *object, const char *name);

/* NULL if the field is null or not there. */
const char *field_text_or_null(struct check *c, const json_t *object, const char *name);

/* Of a record. KINDS: one that schema 1 does not have, a bad field. */
enum kind field_kind(struct check *c, const json_t *record);

/* After a failure these return NULL, which every field_… function and jansson itself accept. */
const json_t *field_object(struct check *c, const json_t *object, const char *name);
const json_t *field_list(struct check *c, const json_t *object, const char *name);

/* An item of the list of that name. */
const char *item_text(struct check *c, const json_t *item, const char *list);
int64_t item_int(struct check *c, const json_t *item, const char *list);

#endif
