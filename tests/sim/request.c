/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/request.h"

#include <stdbool.h>

static void put_body(struct wire *w, const struct request *q)
{
	switch (q->type) {
	case MESSAGE_HELLO:
		hello_request_put(w, &q->hello);
		break;
	case MESSAGE_JOIN:
		join_request_put(w, &q->join);
		break;
	case MESSAGE_ALLOC:
		alloc_request_put(w, &q->alloc);
		break;
	case MESSAGE_FREE:
		free_request_put(w, &q->free);
		break;
	case MESSAGE_ATTACH:
		attach_request_put(w, &q->attach);
		break;
	case MESSAGE_SHARE:
		share_request_put(w, &q->share);
		break;
	case MESSAGE_LOOKUP:
		lookup_request_put(w, &q->lookup);
		break;
	case MESSAGE_DETACH:
		detach_request_put(w, &q->detach);
		break;
	case MESSAGE_UNSHARE:
		unshare_request_put(w, &q->unshare);
		break;
	case MESSAGE_COPY:
		copy_request_put(w, &q->copy);
		break;
	case MESSAGE_FILL:
		fill_request_put(w, &q->fill);
		break;
	case MESSAGE_OFFER:
		offer_request_put(w, &q->offer);
		break;
	case MESSAGE_ACCEPT:
		accept_request_put(w, &q->accept);
		break;
	case MESSAGE_RELEASE:
		release_request_put(w, &q->release);
		break;
	case MESSAGE_REVISE:
		revise_request_put(w, &q->revise);
		break;
	case MESSAGE_TELL:
		tell_request_put(w, &q->tell);
		break;
	case MESSAGE_FENCE:
		fence_request_put(w, &q->fence);
		break;
	case MESSAGE_SITE:
		site_request_put(w, &q->site);
		break;
	default: /* BYE, RENEW: nothing more */
		break;
	}
}

size_t request_put(const struct request *q, uint8_t bytes[MESSAGE_MAX])
{
	const struct header h = { .type = q->type, .seq = q->seq };
	struct wire w = wire_over(bytes, MESSAGE_MAX);

	header_put(&w, &h);
	put_body(&w, q);
	return w.pos - q->malformed;
}
