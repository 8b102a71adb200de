/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ledger/numbering.h"

#include <string.h>

void numbering_begin(struct numbering *n, uint64_t max, uint64_t reach)
{
	memset(n, 0, sizeof(*n));
	n->max = max;
	n->reach = reach;
	n->next = 1;
}

/*
 * Numbers of one span are less than a reach apart, so only the gaps between spans need checking.
 */
static uint64_t highest_valid(const struct numbering *n)
{
	uint64_t highest = 0;

	for (uint64_t i = 0; i <= n->max / n->reach; i++) {
		const struct numbering_span *span = &n->spans[i];

		if (span->highest == 0)
			continue;
		if (span->lowest - highest > n->reach)
			break;
		highest = span->highest;
	}
	return highest;
}

void numbering_found(struct numbering *n, uint64_t number)
{
	struct numbering_span *span;

	if (number == 0 || number > n->max)
		return;
	span = &n->spans[number / n->reach];
	if (span->highest == 0 || number < span->lowest)
		span->lowest = number;
	if (number > span->highest)
		span->highest = number;
	if (number < n->next)
		return;
	number = highest_valid(n);
	if (number >= n->next)
		n->next = number + 1;
}

bool numbering_is_valid(const struct numbering *n, uint64_t number)
{
	return number != 0 && number < n->next;
}

uint64_t numbering_next(const struct numbering *n)
{
	return n->next <= n->max ? n->next : 0;
}

uint64_t numbering_give(struct numbering *n)
{
	return n->next <= n->max ? n->next++ : 0;
}
