/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/data/plan.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static int check_lists(const struct iovec *local, int nlocal, const struct rmem_iovec *remote,
	int nremote, struct errinfo *errinfo)
{
	if (nlocal < 0 || nlocal > PLAN_PIECES_MAX || nremote < 0 || nremote > PLAN_PIECES_MAX)
		return errinfo_set(errinfo, -EINVAL,
			"%d local and %d remote pieces: 0 to %d are allowed", nlocal, nremote,
			PLAN_PIECES_MAX);
	if ((nlocal && !local) || (nremote && !remote))
		return errinfo_set(errinfo, -EINVAL, "the list of %s pieces is NULL",
			nlocal && !local ? "local" : "remote");
	return 0;
}

/* Add len to *total; false if it would pass SSIZE_MAX. */
static bool add_length(size_t *total, size_t len)
{
	if (len > (size_t)SSIZE_MAX - *total)
		return false;
	*total += len;
	return true;
}

/* rmem_read() and its like have no pieces that their callers know of. */
static int too_long(const char *side, int i, int n, size_t len, struct errinfo *errinfo)
{
	char which[48] = "";

	if (n > 1)
		snprintf(which, sizeof(which), "%s piece %d is too long: ", side, i);
	return errinfo_set(errinfo, -EINVAL, "%s%zu bytes: at most %zd can be copied at once%s",
		which, len, (ssize_t)SSIZE_MAX, n > 1 ? ", in all pieces together" : "");
}

int plan_start(struct plan *p, const struct iovec *local, int nlocal,
	const struct rmem_iovec *remote, int nremote, struct errinfo *errinfo)
{
	size_t nl = 0, nr = 0;
	int rc;

	rc = check_lists(local, nlocal, remote, nremote, errinfo);
	if (rc)
		return rc;
	for (int i = 0; i < nlocal; i++) {
		size_t len = local[i].iov_len;

		if (len && !local[i].iov_base)
			return nlocal == 1
				       ? errinfo_set(errinfo, -EINVAL, "the local memory is NULL")
				       : errinfo_set(errinfo, -EINVAL, "local piece %d is NULL", i);
		if (!add_length(&nl, len))
			return too_long("local", i, nlocal, len, errinfo);
		if (len > UINTPTR_MAX - (uintptr_t)local[i].iov_base)
			return errinfo_set(errinfo, -EINVAL,
				"%zu bytes of local memory at %p pass the end of the address space",
				len, local[i].iov_base);
	}
	for (int i = 0; i < nremote; i++) {
		size_t len = remote[i].len;

		if (!add_length(&nr, len))
			return too_long("remote", i, nremote, len, errinfo);
	}
	if (nl != nr)
		return errinfo_set(errinfo, -EINVAL,
			"the local pieces hold %zu bytes, the remote pieces %zu: they must be "
			"equal",
			nl, nr);
	*p = (struct plan){
		.local = local, .remote = remote, .nlocal = nlocal, .nremote = nremote, .left = nl
	};
	return 0;
}

bool plan_peek(const struct plan *p, struct plan_segment *out)
{
	int l = p->ilocal, r = p->iremote;
	size_t ol = p->olocal, or = p->oremote;
	size_t len;

	if (p->left == 0)
		return false;
	/* Bytes are left, so both searches end before the lists do. */
	for (; ol == p->local[l].iov_len; ol = 0)
		l++;
	for (; or == p->remote[r].len; or = 0)
		r++;
	len = p->local[l].iov_len - ol;
	if (len > p->remote[r].len - or)
		len = p->remote[r].len - or ;
	out->local = (char *)p->local[l].iov_base + ol;
	out->remote = p->remote[r].base + or ;
	out->len = len < PLAN_SEGMENT_MAX ? len : PLAN_SEGMENT_MAX;
	out->local_piece = l;
	return true;
}

void plan_advance(struct plan *p, size_t n)
{
	size_t step;

	if (n > p->left)
		n = p->left;
	p->left -= n;
	for (size_t todo = n; todo; todo -= step) {
		step = p->local[p->ilocal].iov_len - p->olocal;
		step = step < todo ? step : todo;
		p->olocal += step;
		if (p->olocal == p->local[p->ilocal].iov_len && p->ilocal < p->nlocal - 1) {
			p->ilocal++;
			p->olocal = 0;
		}
	}
	for (size_t todo = n; todo; todo -= step) {
		step = p->remote[p->iremote].len - p->oremote;
		step = step < todo ? step : todo;
		p->oremote += step;
		if (p->oremote == p->remote[p->iremote].len && p->iremote < p->nremote - 1) {
			p->iremote++;
			p->oremote = 0;
		}
	}
}

void plan_copy(struct plan at, uint8_t *memory, size_t bytes, bool out)
{
	struct plan_segment seg;

	for (size_t n = 0; n < bytes && plan_peek(&at, &seg);) {
		size_t take = seg.len < bytes - n ? seg.len : bytes - n;

		if (out)
			memcpy(seg.local, memory + n, take);
		else
			memcpy(memory + n, seg.local, take);
		plan_advance(&at, take);
		n += take;
	}
}
